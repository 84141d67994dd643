"""Which jobs a study needs, and which waits for which."""

import itertools
import random
from pathlib import Path

import pytest

from megatron_codemix.study.job_graph import StudyJob, job_graph
from megatron_codemix.study.state import study_progress
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained


def graph(folder: Path, text: str = STUDY, **options: int) -> dict[str, StudyJob]:
    tree = small_tree(folder, text)
    return {job.name: job for job in job_graph(tree, study_progress(tree, folder), **options)}


def test_a_phase_is_a_training_behind_its_parents_and_an_evaluation_behind_it(
    tmp_path: Path,
) -> None:
    jobs = graph(tmp_path)
    assert {name: job.needs for name, job in jobs.items() if job.kind != "report"} == {
        "small:text:train": (),
        "small:text:evaluate": ("small:text:train",),
        "small:balanced:train": (),
        "small:balanced:evaluate": ("small:balanced:train",),
        "small:balanced-then-text:train": ("small:balanced:train",),
        "small:balanced-then-text:evaluate": ("small:balanced-then-text:train",),
        "small:cooldown:train": ("small:balanced-then-text:train",),
        "small:cooldown:evaluate": ("small:cooldown:train",),
    }
    report = jobs["small:report"]
    assert list(jobs)[-1] == report.name
    assert sorted(report.follows) == sorted(name for name in jobs if name.endswith(":evaluate"))


def test_what_is_done_has_no_job_and_nothing_waits_for_it(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/text"])
    write_evaluated(tree, run, {"text": 1000.0})
    write_trained(tree, out, tree.nodes["single/balanced"])
    jobs = {job.name: job for job in job_graph(tree, study_progress(tree, out))}
    assert "small:text:train" not in jobs
    assert "small:text:evaluate" not in jobs
    assert "small:balanced:train" not in jobs
    assert jobs["small:balanced:evaluate"].needs == ()
    assert jobs["small:balanced-then-text:train"].needs == ()


def test_validations_need_no_jobs(tmp_path: Path) -> None:
    text = STUDY.replace(
        "heldout: {world_size: 1, max_bytes_per_source: 1KiB}", "heldout: {kind: validation}"
    ).replace(
        "  precision: {kind: fp32}",
        "  precision: {kind: fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
    )
    jobs = graph(tmp_path, text)
    assert [job.kind for job in jobs.values()] == ["train"] * 4 + ["report"]
    assert sorted(jobs["small:report"].follows) == ["small:cooldown:train", "small:text:train"]


def test_a_study_that_is_done_needs_no_job(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    for node in tree.nodes.values():
        write_evaluated(tree, write_trained(tree, out, node), {"text": 1000.0})
    assert job_graph(tree, study_progress(tree, out)) == []


SEEDS = "matrix: {train.seed: ['1', '2', '3']}\nphases:\n"


@pytest.mark.parametrize("num_lanes", [1, 2, 3, 5, 20])
def test_no_more_trainings_run_at_once_than_there_are_lanes(num_lanes: int, tmp_path: Path) -> None:
    """Played through with random times, each job begun as soon as its edges let it: the number that
    run at once is never above the limit, and all come to their end."""
    jobs = graph(tmp_path, STUDY.replace("phases:\n", SEEDS, 1), max_running=num_lanes)
    rng = random.Random(num_lanes)
    for _ in range(20):
        waiting, running, ended = dict(jobs), dict[str, float](), set[str]()
        now, most = 0.0, 0
        while waiting or running:
            ready = [
                name
                for name, job in waiting.items()
                if ended.issuperset((*job.needs, *job.follows))
            ]
            for name in ready:
                running[name] = now + rng.expovariate(1.0)
                del waiting[name]
            assert running, f"nothing can begin any more: {sorted(waiting)}"
            most = max(most, sum(jobs[name].kind == "train" for name in running))
            first = min(running, key=running.__getitem__)
            now = running.pop(first)
            ended.add(first)
        assert most <= num_lanes
        assert ended == set(jobs)


def test_lanes_use_what_they_may(tmp_path: Path) -> None:
    """Six chains begin; with two lanes two trainings can begin at once, and a child never waits for
    a stranger when its parent's lane is as good."""
    jobs = graph(tmp_path, STUDY.replace("phases:\n", SEEDS, 1), max_running=2)
    trainings = [job for job in jobs.values() if job.kind == "train"]
    assert len([job for job in trainings if not job.needs and not job.follows]) == 2
    one = graph(tmp_path, max_running=1)
    order = [job for job in one.values() if job.kind == "train"]
    for before, job in itertools.pairwise(order):
        assert before.name in (*job.needs, *job.follows)
