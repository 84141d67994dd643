import numpy as np
import pytest

from megatron_codemix.backend.devices import CpuBackend, CudaBackend


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.int16])
@pytest.mark.parametrize("shape", [(3, 5), (7,), (1, 4)])
def test_host_memory_starts_at_a_cache_line(shape, dtype):
    array = CpuBackend().allocate_host(shape, dtype)

    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


@pytest.mark.gpu
def test_host_memory_for_a_gpu_is_pinned():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    array = CudaBackend(0).allocate_host((3, 5), np.int16)

    assert (array.shape, array.dtype) == ((3, 5), np.int16)
    assert array.ctypes.data % 64 == 0
    assert torch.from_numpy(array).is_pinned()
