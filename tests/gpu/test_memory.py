"""Batches on their way to the GPU."""

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
