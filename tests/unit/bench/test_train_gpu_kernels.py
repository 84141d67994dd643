"""A trace of the profiler is summed by what kernels are for.

Names are as torch, cuBLAS, cuDNN, Triton, NCCL and Transformer Engine print them in traces that
others have published.
"""

import pytest

from megatron_codemix.backend.devices import CpuBackend
from megatron_codemix.backend.measuring import driver_version
from megatron_codemix.bench.train.gpu.kernels import (
    CLASSES,
    WINDOW,
    class_of,
    kernels_of,
    sum_kernels,
)

KERNELS = {
    "matrix products": [
        "nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NTT",
        "nvjet_sm100_tst_64x32_64x16_2x1_2cta_v_bz_TNN",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute",
        "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x128x128_cgasize1x2x1_stage4",
        "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_64x3_tn",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn>",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float>",
        "triton_tem_fused_mm_0",
    ],
    "attention": [
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128, 64, 64, "
        "4, false, false, cutlass::bfloat16_t>>(pytorch_flash::Flash_fwd_params)",
        "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<...>",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
        "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)",
        "triton_tem_fused_flex_attention_1",
    ],
    "norms and elementwise": [
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>",
        "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<...>>",
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, MeanOps<float>>>",
        "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_2",
        "triton_poi_fused_addmm_mul_silu_3",
        "triton_poi_fused__scaled_dot_product_flash_attention_cat_4",
    ],
    "optimizer": [
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous "
        "namespace)::FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor<float, 4>>",
        "void at::native::lpnorm_cleanup<float, (at::native::NormType)1, float, float>",
    ],
    "copies and casts": [
        "Memcpy HtoD (Pinned -> Device)",
        "Memset (Device)",
        "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(...)>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::bfloat16_copy_kernel_cuda>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>",
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy<at::native::OpaqueType<2u>>",
        "void transformer_engine::detail::cast_transpose_optimized_kernel<true, false, float>",
    ],
    "collectives": [
        "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
    ],
    "embedding": [
        "void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long>",
        "void (anonymous namespace)::embedding_backward_feature_kernel<c10::BFloat16, float>",
        "void at::native::(anonymous namespace)::krn_partial_segment_offset<long>(long*, long "
        "const*, long const*, long const*, long const*)",
        "krn_partials_per_segment",
        "compute_grad_weight",
        "compute_num_of_partial_segments",
        "sum_and_scatter",
        "void cub::CUB_200700_750_NS::DeviceRadixSortOnesweepKernel<cub::CUB_200700_750_NS::...>",
        "DeviceUniqueByKeySweepKernel",
        "DeviceScanInitKernel",
    ],
    "other": [
        "hss_scheme_kernel(unsigned long long *, Particles, int *, int *, curandStateXORWOW *)",
    ],
}


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels_are_sorted_by_name(kind: str) -> None:
    assert {name: class_of(name) for name in KERNELS[kind]} == dict.fromkeys(KERNELS[kind], kind)


def test_all_classes_have_kernels() -> None:
    assert set(CLASSES) == set(KERNELS)


def event(category: str, name: str, begin: float, length: float) -> dict:
    return {"ph": "X", "cat": category, "name": name, "ts": begin, "dur": length}


def test_two_steps_are_summed_and_their_gaps_left_out() -> None:
    """Microseconds 100 to 1,100 are the window."""
    gemm, flash, add = "nvjet_a", "flash_fwd_kernel", "vectorized_elementwise_kernel<add>"
    events = [
        {"ph": "M", "name": "process_name", "ts": 0},
        event("user_annotation", WINDOW, 100, 1000),
        event("gpu_user_annotation", WINDOW, 110, 900),  # the program's range, on the GPU's line
        event("cpu_op", "aten::mm", 110, 50),
        event("kernel", gemm, 50, 40),  # before
        event("kernel", gemm, 200, 100),
        event("kernel", gemm, 300, 100),
        event("kernel", flash, 500, 100),
        event("kernel", add, 550, 100),  # half of it beside the attention, on another stream
        event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 520, 10),  # all of it
        event("kernel", gemm, 1100, 100),  # after
    ]
    found = sum_kernels(events, num_steps=2)
    assert found is not None
    micro = {kind: 1e6 * seconds for kind, seconds in found["class_seconds"].items() if seconds}
    assert micro == pytest.approx(
        {
            "matrix products": 100,
            "attention": 50,
            "norms and elementwise": 50,
            "copies and casts": 5,
        }
    )
    assert found["busy_seconds"] == pytest.approx(1e-6 * (200 + 150) / 2)
    assert found["launches"] == 2.5
    assert [(each["name"], each["launches"]) for each in found["largest"][:2]] == [
        (gemm, 1.0),
        (flash, 0.5),
    ]


def test_without_a_gpu_there_is_nothing_to_sum() -> None:
    events = [event("user_annotation", WINDOW, 0, 10), event("cpu_op", "aten::mm", 1, 2)]
    assert sum_kernels(events, num_steps=1) is None


@pytest.mark.parametrize("error", [RuntimeError("CUPTI_ERROR: busy\nmore"), ValueError("no")])
def test_a_profiler_that_fails_says_why(error: Exception, tmp_path) -> None:
    def step() -> None:
        raise error

    said = f"{type(error).__name__}: {error}".split("\n")[0]
    found = kernels_of(step, CpuBackend(), tmp_path)
    assert found == {"kernels": None, "no_kernels_because": said}


def test_the_driver_s_version_is_read_from_the_kernel_module(tmp_path) -> None:
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
        "GCC version:  gcc version 11.4.0\n"
    )
    assert driver_version(file) == "550.54.15"
    file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\n"
    )
    assert driver_version(file) == "570.124.06"
    assert driver_version(tmp_path / "absent") == "unknown"
