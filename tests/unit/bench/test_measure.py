"""Costs and memory are those of the work, told apart and undone between trials."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.bench.measure import Trial, alternate, cost_of, memory_of

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
