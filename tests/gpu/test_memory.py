"""Batches on their way to the GPU, and checkpoints on theirs from it."""

import mmap
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.gpu


def test_host_memory_is_pinned_and_arrives_whole(gpu: Any) -> None:
    import torch

    from megatron_codemix.data.batches import allocate_batch
    from megatron_codemix.mcore.step import on_device

    batch = allocate_batch(4, 64, with_documents=True, allocate=gpu.allocate_host)
    for name in ("tokens", "labels", "loss_mask", "position_ids", "document_ids", "source_id"):
        array = getattr(batch, name)
        array[:] = np.arange(array.size).reshape(array.shape) % 7
        assert torch.from_numpy(array).is_pinned(), name
        assert array.ctypes.data % 64 == 0, name
        assert np.array_equal(on_device(array, gpu).cpu().numpy(), array), name


def test_peak_memory_counts_what_is_held(gpu: Any) -> None:
    import torch

    held = torch.zeros(2**28, dtype=torch.uint8, device=gpu.device)
    assert gpu.peak_memory_bytes() >= held.numel()


def test_shared_memory_is_filled_by_the_gpu_itself_once_it_is_registered(gpu: Any) -> None:
    import torch

    memory = mmap.mmap(-1, 2**24)
    there = torch.frombuffer(memory, dtype=torch.float32)
    values = torch.randn(2**22, device=gpu.device)
    registered = gpu.register_host(memory)
    assert registered is not None
    assert there.is_pinned()
    there.copy_(values, non_blocking=True)
    gpu.wait()
    assert torch.equal(there, values.cpu())
    registered.release()
    assert not there.is_pinned()


def test_a_refusal_to_register_leaves_no_error_for_the_next_kernel(
    gpu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    memory = mmap.mmap(-1, 2**20)
    registered = gpu.register_host(memory)
    assert registered is not None
    assert gpu.register_host(memory) is None, "it is registered already"
    assert "CUDA cannot pin" in caplog.text
    assert (torch.ones(8, device=gpu.device) + 1).sum().item() == 16
    registered.release()
