"""Costs and memory are those of the work, told apart and undone between trials."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.bench.measure import Cost, Trial, alternate, cost_of, memory_of

MEGABYTE = 10**6


def test_trials_take_turns() -> None:
    order: list[str] = []
    trials = {name: Trial(lambda name=name: order.append(name)) for name in ("ours", "peer")}
    costs = alternate(trials, 3, min_seconds=0.0)
    assert order == ["ours", "peer"] * 3
    assert list(costs) == ["ours", "peer"]


def test_what_prepares_a_trial_runs_once_before_it() -> None:
    order: list[str] = []
    trial = Trial(lambda: order.append("run"), before=lambda: order.append("before"))
    alternate({"ours": trial}, 2, min_seconds=10.0)
    assert order == ["before", "run", "before", "run"]


def test_short_work_is_repeated_and_its_cost_is_that_of_one_call() -> None:
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1

    cost = cost_of(Trial(run, calls=2), min_seconds=0.01)
    assert calls > 10
    assert 0.01 <= (cost.user + cost.system) * calls * 2 < 1


def test_work_goes_on_until_the_kernel_has_seen_user_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's split, as it comes late: 0.1 s a call, the first three of system time."""
    moments = iter(
        [Cost(max(0.0, round(0.1 * (n - 3), 1)), min(0.3, 0.1 * n), 0.1 * n) for n in range(9)]
    )
    monkeypatch.setattr("megatron_codemix.bench.measure._now", lambda: next(moments))
    cost = cost_of(Trial(lambda: None), min_seconds=0.2)
    assert cost.user == pytest.approx(0.1 / 4)
    assert cost.system == pytest.approx(0.3 / 4)


def test_work_without_user_time_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = (Cost(0.0, 0.1 * n, 0.1 * n) for n in range(100))
    monkeypatch.setattr("megatron_codemix.bench.measure._now", lambda: next(moments))
    assert cost_of(Trial(lambda: None), min_seconds=0.2).user == 0


def test_work_too_short_for_the_kernels_clock_goes_on_until_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rates are divided by user time; here it comes after a hundred times the least."""
    moments = (Cost(0.004 * (n // 10), 0.0002 * n, 0.001 * n) for n in range(100))
    monkeypatch.setattr("megatron_codemix.bench.measure._now", lambda: next(moments))
    assert cost_of(Trial(lambda: None), min_seconds=0.00002).user > 0


def allocation(is_kept: bool) -> Callable[[], object]:
    def allocate() -> object:
        pages = np.ones(100 * MEGABYTE, np.uint8)
        return pages if is_kept else pages.sum()

    return allocate


@pytest.mark.parametrize("is_kept", [True, False])
def test_memory_that_was_given_back_counts_for_the_peak_only(
    is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)  # where a new process finds this module
    memory = memory_of(f"{Path(__file__).stem}:allocation", is_kept=is_kept)
    assert 95 * MEGABYTE < memory.peak < 110 * MEGABYTE
    assert memory.held < 5 * MEGABYTE or is_kept
    assert memory.held > 95 * MEGABYTE or not is_kept


def test_memory_is_measured_in_a_process_of_its_own(tmp_path) -> None:
    memory = memory_of(
        "megatron_codemix.bench.data.memory_jobs:our_index",
        folder=str(tmp_path),
        num_documents=10_000,
    )
    assert (tmp_path / "ours.idx").stat().st_size == 34 + 20 * 10_000 + 8
    assert 0 < memory.peak < 10 * MEGABYTE
