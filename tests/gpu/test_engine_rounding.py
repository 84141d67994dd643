"""What Transformer Engine computes in place of ours, where it is installed on a machine with a GPU:
its cross-entropy beside ours, its MXFP8 beside the emulated one."""

from typing import Any

import pytest

pytestmark = pytest.mark.gpu


@pytest.fixture
def engine(gpu: Any) -> Any:
    import megatron_codemix.mcore  # noqa: F401  # before megatron.core

    return pytest.importorskip("transformer_engine.pytorch", exc_type=Exception)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_cross_entropy_passes_its_trial(dtype: str, engine: Any, gpu: Any) -> None:
    import torch
    from torch.distributed import group

    from megatron_codemix.mcore.engine_loss import require_right_losses

    require_right_losses(50_176, group.WORLD, gpu.device, getattr(torch, dtype))


@pytest.mark.parametrize("batch", [1, 3])
def test_its_losses_do_not_depend_on_strides(batch: int, engine: Any, gpu: Any) -> None:
    """Labels as the model has them: turned, with any stride where a microbatch has one sample."""
    import torch
    import torch.nn.functional as F
    from torch.distributed import group

    from megatron_codemix.mcore.engine_loss import engine_entropies

    generator = torch.Generator("cuda").manual_seed(0)
    logits = torch.randn(64, batch, 1024, generator=generator, device=gpu.device)
    labels = torch.randint(1024, (batch, 64), generator=generator, device=gpu.device)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.T.flatten(), reduction="none")
    found = engine_entropies(logits.clone().requires_grad_() * 1, labels.T, group.WORLD)
    torch.testing.assert_close(found.detach().flatten(), expected, atol=1e-4, rtol=0)


def test_mxfp8_is_rounded_as_it_is_emulated(engine: Any, gpu: Any) -> None:
    import torch

    from megatron_codemix.backend.devices import compute_capability
    from megatron_codemix.config.precision_checks import check_capability
    from megatron_codemix.config.schema import Fp8Config
    from megatron_codemix.mcore.fp8.scaling import MicroScaling

    capability = compute_capability(gpu.device)
    if problems := check_capability(Fp8Config(recipe="mxfp8"), capability):
        pytest.skip(problems[0])
    from transformer_engine.pytorch.tensor.mxfp8_tensor import MXFP8Quantizer, TE_DType

    generator = torch.Generator("cuda").manual_seed(0)
    sizes = torch.logspace(-6, 4, 256, device=gpu.device).unsqueeze(1)
    values = sizes * torch.randn(256, 512, generator=generator, device=gpu.device)
    matrix = values.bfloat16()
    theirs = MXFP8Quantizer(TE_DType.kFloat8E4M3, rowwise=True, columnwise=False)(matrix)
    ours, _ = MicroScaling().of_input(matrix)
    torch.testing.assert_close(theirs.dequantize().float(), ours.values(), atol=0, rtol=0)
