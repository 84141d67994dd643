"""What a CUDA graph keeps of a GPU's memory, in the counts of an allocator as torch's is: tensors
of a recording count while it is made, and its replays count nothing."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from megatron_codemix.backend.devices import CudaBackend

MODEL, CACHED, WORKED, KEPT = 100, 30, 40, 5
"""Bytes: of the model; of what steps before have left in the cache; of what a recorded step takes
and gives back, and of what of it stays a tensor."""


class Allocator:
    """torch.cuda's counts."""

    def __init__(self) -> None:
        self.allocated = self.peak = MODEL
        self.reserved = MODEL + CACHED
        self.replays = 0

    def take(self, size: int) -> None:
        self.allocated += size
        self.reserved = max(self.reserved, self.allocated)
        self.peak = max(self.peak, self.allocated)

    def step(self) -> None:
        """One that is not recorded, beside a graph's memory where there is one."""
        free = self.reserved - self.allocated - self.pool_free
        self.reserved += max(0, WORKED - free)
        self.take(WORKED)
        self.allocated -= WORKED

    pool_free = 0

    def record(self) -> None:
        """In memory of the graph's own."""
        self.reserved = self.allocated + WORKED
        self.take(WORKED)
        self.allocated -= WORKED - KEPT
        self.pool_free = WORKED - KEPT


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    made = Allocator()

    @contextlib.contextmanager
    def graph(*given: Any, **named: Any) -> Iterator[None]:
        made.reserved = made.allocated  # torch's own empties the cache
        yield

    def replay(self: Any) -> None:
        made.replays += 1

    for name, value in {
        "CUDAGraph": type("CUDAGraph", (), {"replay": replay}),
        "graph": graph,
        "current_stream": lambda *device: None,
        "memory_reserved": lambda *device: made.reserved,
        "memory_allocated": lambda *device: made.allocated,
        "max_memory_allocated": lambda *device: made.peak,
        "mem_get_info": lambda *device: (1000 - made.reserved, 1000),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return made


def test_a_graph_s_memory_is_used_and_not_between_blocks(allocator: Allocator) -> None:
    """As the trainer does, which tries a graph beside steps without it."""
    backend = CudaBackend(0)
    allocator.step()
    replay = backend.record(allocator.record)
    replay()
    allocator.step()  # that it is compared with
    taken = MODEL + KEPT + WORKED + (WORKED - KEPT)
    assert allocator.reserved == taken
    assert backend.peak_memory_bytes() == taken
    memory = backend.memory()
    assert memory is not None
    assert (memory.peak_allocated_bytes, memory.unused_bytes) == (taken, 0)
    # Once that is over, as in the benchmark's counted steps:
    allocator.peak = allocator.allocated
    replay()
    assert backend.peak_memory_bytes() == MODEL + WORKED
    assert allocator.replays == 2


def test_a_graph_that_was_given_up_keeps_nothing(allocator: Allocator) -> None:
    backend = CudaBackend(0)
    replay: Callable[[], None] | None = backend.record(allocator.record)
    assert backend.peak_memory_bytes() == MODEL + WORKED + (WORKED - KEPT)
    assert replay is not None
    replay = None
    gc.collect()
    assert backend.peak_memory_bytes() == MODEL + WORKED
