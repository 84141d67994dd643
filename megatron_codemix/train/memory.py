"""What a rank's memory was planned to be, beside what its device has."""

import contextlib
import logging
import math
import os
from collections.abc import Iterator

import torch

from megatron_codemix.backend.devices import Backend, DeviceMemory
from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.train.memory_plan import MemoryPlan
from megatron_codemix.units import format_bytes

log = logging.getLogger(__name__)

SURE = 1.15
"""The planner's formulas are 2% below to 11% above what was measured (docs/planner.md): a plan that
is so many times what there is will not fit."""
_MUCH = 0.1
"""Of the device; CUDA and NCCL take less before a model is built."""
_ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_GROWING_SEGMENTS = "expandable_segments:True"


def require_memory(plan: MemoryPlan, memory: DeviceMemory, *, stage: int, device_name: str) -> None:
    """Compares the plan with what is free before anything is built. Raises UnavailableError where
    the device is too small for the step, RetryableError where it is only because of what others
    hold, and warns where it may be."""
    planned = plan.bytes_of_stage[stage]
    if planned <= memory.free_bytes:
        return
    others = memory.total_bytes - memory.free_bytes
    message = (
        f"a step is planned to take {format_bytes(planned)} of this GPU ({device_name}), and "
        f"{format_bytes(memory.free_bytes)} of its {format_bytes(memory.total_bytes)} are free "
        f"({format_bytes(others)} are CUDA's or other processes': nvidia-smi lists them); "
        f"{plan.change_for(memory.free_bytes, device_name)}"
    )
    if plan.is_exact and planned > SURE * memory.total_bytes:
        raise UnavailableError(message)
    if plan.is_exact and planned > SURE * memory.free_bytes and others > _MUCH * memory.total_bytes:
        raise RetryableError(f"{message}; where those processes end, the same command goes on")
    log.warning("memory may not be enough: %s", message)


@contextlib.contextmanager
def out_of_memory_told(plan: MemoryPlan | None, backend: Backend, *, stage: int) -> Iterator[None]:
    """While entered, torch's error becomes an UnavailableError with what was planned, what there
    was and what to do. plan: absent where none was made."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        memory = backend.memory()
        asked = str(error).split(". ")
        tried = next((text for text in asked if text.startswith("Tried to allocate")), "")
        raise UnavailableError(
            out_of_memory_text(
                plan, memory, stage=stage, device_name=backend.device_name, tried=tried
            )
        ) from error


def out_of_memory_text(
    plan: MemoryPlan | None,
    memory: DeviceMemory | None,
    *,
    stage: int,
    device_name: str,
    tried: str = "",
) -> str:
    """tried: what torch says of the allocation that was too much."""
    parts = [f"the device ({device_name}) is out of memory"]
    if tried:
        parts[0] += f": {tried[0].lower()}{tried[1:]}"
    if plan is not None:
        parts.append(f"a step was planned to take {format_bytes(plan.bytes_of_stage[stage])}")
    if memory is not None:
        parts.append(
            f"tensors took up to {format_bytes(memory.peak_allocated_bytes)}, the allocator holds "
            f"{format_bytes(memory.reserved_bytes)} of {format_bytes(memory.total_bytes)}, and "
            f"{format_bytes(memory.free_bytes)} are free"
        )
        if memory.unused_bytes > _MUCH * memory.total_bytes:
            parts.append(f"{format_bytes(memory.unused_bytes)} lie between its blocks{_advice()}")
    if plan is not None:
        parts.append(_remedy(plan, memory, stage, device_name))
    return "; ".join(parts)


def _advice() -> str:
    """Where segments cannot grow already, as they do unless the environment says otherwise."""
    if any(_GROWING_SEGMENTS in os.environ.get(name, "") for name in _ALLOCATOR_SETTINGS):
        return ""
    return f": set {_ALLOCATOR_SETTINGS[0]}={_GROWING_SEGMENTS}"


def _remedy(plan: MemoryPlan, memory: DeviceMemory | None, stage: int, device_name: str) -> str:
    """The plan was too low, or other processes have come: one that is lower by its error."""
    there = math.inf if memory is None else memory.free_bytes + memory.reserved_bytes
    wanted = min(plan.bytes_of_stage[stage], there) / SURE
    return plan.change_for(int(wanted), device_name)
