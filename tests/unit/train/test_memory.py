"""What is said where a device has less memory than a step was planned to take."""

import logging
from pathlib import Path

import pytest
import torch

from megatron_codemix.backend.devices import CpuBackend, DeviceMemory
from megatron_codemix.cli.memory_plan import memory_plan
from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.planner.hardware import find_gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import estimate_memory
from megatron_codemix.train.memory import out_of_memory_text, out_of_memory_told, require_memory
from megatron_codemix.train.memory_plan import MemoryPlan
from megatron_codemix.train.phase import prepare_phase
from tests.helpers.tiny import write_run

GB = 2**30
GPU = "NVIDIA H100 80GB HBM3"


def plan(*, is_exact: bool = True) -> MemoryPlan:
    """Of two pipeline stages. What it is asked for stands in its answer."""
    return MemoryPlan(
        bytes_of_stage=(70 * GB, 40 * GB),
        is_exact=is_exact,
        change_for=lambda size, name: f"take what needs {size / GB:.1f} GiB of {name}",
    )


def memory(free: int, reserved: int = 0, peak: int = 0, total: int = 85) -> DeviceMemory:
    return DeviceMemory(
        free_bytes=free * GB,
        total_bytes=total * GB,
        reserved_bytes=reserved * GB,
        peak_allocated_bytes=peak * GB,
    )


def test_a_step_that_fits_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    require_memory(plan(), memory(70), stage=0, device_name=GPU)
    require_memory(plan(), memory(40), stage=1, device_name=GPU)
    assert caplog.messages == []


def test_a_plan_that_may_be_wrong_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """70 of 62 GiB is within the planner's error; experts and Muon have no such bound."""
    with caplog.at_level(logging.WARNING):
        require_memory(plan(), memory(62), stage=0, device_name=GPU)
        require_memory(plan(is_exact=False), memory(20), stage=0, device_name=GPU)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "memory may not be enough",
        "memory may not be enough",
    ]


def test_a_plan_far_above_what_a_gpu_has_ends_the_run() -> None:
    with pytest.raises(UnavailableError) as told:
        require_memory(plan(), memory(57, total=60), stage=0, device_name=GPU)
    assert str(told.value) == (
        f"a step is planned to take 70.0 GiB of this GPU ({GPU}), and 57.0 GiB of its 60.0 GiB are "
        "free (3.0 GiB are CUDA's or other processes': nvidia-smi lists them); take what needs "
        f"57.0 GiB of {GPU}"
    )


def test_what_others_hold_may_be_free_later(caplog: pytest.LogCaptureFixture) -> None:
    """70 GiB are too much for 60 that are free, and not for a GPU of 85, or one of 61."""
    with pytest.raises(
        RetryableError, match=r"25\.0 GiB are .*; where those processes end, the sam"
    ):
        require_memory(plan(), memory(60), stage=0, device_name=GPU)
    require_memory(plan(), memory(60, total=61), stage=0, device_name=GPU)
    assert "1.0 GiB are CUDA's or other processes'" in caplog.text  # there is nobody to wait for


def test_torchs_error_becomes_one_with_plan_and_remedy() -> None:
    """A plan that was too low is asked for one that is lower by the planner's error."""
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"
    with (
        pytest.raises(UnavailableError) as told,
        out_of_memory_told(plan(), CpuBackend(), stage=1),
    ):
        raise torch.OutOfMemoryError(text)
    assert str(told.value) == (
        "the device (CPU) is out of memory: tried to allocate 2.00 GiB; a step was planned to take "
        f"40.0 GiB; take what needs {40 / 1.15:.1f} GiB of CPU"
    )
    assert isinstance(told.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_pass() -> None:
    with (
        pytest.raises(RuntimeError, match="another"),
        out_of_memory_told(None, CpuBackend(), stage=0),
    ):
        raise RuntimeError("another")


def test_what_the_device_held_is_told_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    told = out_of_memory_text(plan(), memory(1, 60, 58), stage=0, device_name=GPU)
    assert "; tensors took up to 58.0 GiB, the allocator holds 60.0 GiB of 85.0 GiB, and 1" in told
    assert "expandable_segments" not in told
    # Another process holds 24 GiB: what there is decides, and not the plan.
    assert told.endswith(f"take what needs {61 / 1.15:.1f} GiB of {GPU}")
    told = out_of_memory_text(None, memory(1, 60, 40), stage=0, device_name=GPU)
    assert told.endswith(
        "20.0 GiB lie between its blocks: set PYTORCH_ALLOC_CONF=expandable_segments:True"
    )
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:128,expandable_segments:True")
    told = out_of_memory_text(None, memory(1, 60, 40), stage=0, device_name=GPU)
    assert told.endswith("20.0 GiB lie between its blocks")


def test_a_run_is_planned_with_what_the_planner_says(tmp_path: Path) -> None:
    phase = prepare_phase(write_run(tmp_path), [], tmp_path / "run", world_size=1)
    made = memory_plan(phase)
    estimate = estimate_memory(Job.of_config(phase.config, 1), find_gpu("h100"))
    assert made.bytes_of_stage == (estimate.peak_bytes - estimate.stages[0].context,)
    assert made.is_exact
    told = made.change_for(made.bytes_of_stage[0] - 1, "a GPU that the planner does not know")
    assert told.startswith("the smallest change that fits, by the planner: layout.")
    assert made.change_for(0, GPU).startswith("no layout of 1 such GPUs takes less")
