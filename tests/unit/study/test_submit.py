"""Submitting, again and again: only what is missing, whatever SLURM says of the rest. The queue is
one in memory; the scripts and run directories are real."""

import json
from pathlib import Path

import pytest

from megatron_codemix.checkpoints import remove_checkpoint
from megatron_codemix.errors import ConfigError, RetryableError, RunError, UnavailableError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.launch.slurm.starts import Stretch
from megatron_codemix.locks import exclusive
from megatron_codemix.study.damaged_ends import phases_to_be_done
from megatron_codemix.study.job_records import add_job_times, read_records, records_path
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.record import StudyRecord, read_record, write_record
from megatron_codemix.study.slurm_jobs import frozen_study
from megatron_codemix.study.submit import (
    cancel_jobs,
    plan_submission,
    queued_jobs,
    submission_problems,
    submit_study,
)
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.queue_in_memory import QueueInMemory, options_of
from tests.helpers.study_files import (
    small_tree,
    with_changed_shard,
    write_evaluated,
    write_trained,
)

CLUSTER = ClusterSpec.model_validate(
    {"partition": "gpu", "gpus_per_node": 2, "cpus_per_task": 4, "time_limit": "1h"}
)
ALL = [
    "small:text:train",
    "small:text:evaluate",
    "small:balanced:train",
    "small:balanced:evaluate",
    "small:balanced-then-text:train",
    "small:balanced-then-text:evaluate",
    "small:cooldown:train",
    "small:cooldown:evaluate",
    "small:report",
]


def submit(tree: StudyTree, out: Path, queue: QueueInMemory) -> list[str]:
    """Names of what was submitted."""
    before = len(queue.submitted)
    submit_study(tree, out, CLUSTER, queue)
    return queue.submitted[before:]


def finish(tree: StudyTree, out: Path, queue: QueueInMemory, phase: str) -> None:
    """A phase is trained and evaluated, and its jobs leave the queue."""
    run = write_trained(tree, out, tree.nodes[f"single/{phase}"])
    write_evaluated(tree, run, {"text": 1000.0})
    queue.end(f"small:{phase}:train")
    queue.end(f"small:{phase}:evaluate")


def test_all_is_submitted_with_its_edges(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    assert submit(tree, out, queue) == ALL
    numbers = {job.name: job.id for job in queue.jobs()}
    edges = queue.dependencies
    assert edges["small:text:train"] == ""
    assert edges["small:text:evaluate"] == f"afterok:{numbers['small:text:train']}"
    assert edges["small:cooldown:train"] == f"afterok:{numbers['small:balanced-then-text:train']}"
    last = [numbers[name] for name in ALL if name.endswith(":evaluate")]
    assert edges["small:report"] == ":".join(["afterany", *last])
    assert {name: record.id for name, record in read_records(out).items()} == numbers
    assert len(queue.checked) == 3, "one of each kind was shown to SLURM first"


def test_a_second_submission_while_all_is_queued_submits_nothing(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    before = records_path(out).read_bytes()
    assert submit(tree, out, queue) == []
    queue.set_state("small:balanced:train", "RUNNING")
    assert submit(tree, out, queue) == []
    assert queue.cancelled == []
    assert records_path(out).read_bytes() == before


def test_what_is_lost_from_the_records_is_found_in_slurm(tmp_path: Path) -> None:
    """A kill between sbatch and the note of its number must not submit the job twice."""
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    records = read_json(records_path(out))
    for name in ALL[4:]:
        del records["jobs"][name]
    write_json(records_path(out), records)
    assert submit(tree, out, queue) == []
    records_path(out).unlink()
    assert submit(tree, out, queue) == []


def test_jobs_of_other_folders_and_studies_are_others(tmp_path: Path) -> None:
    tree, queue = small_tree(tmp_path), QueueInMemory()
    submit(tree, tmp_path / "one", queue)
    assert submit(tree, tmp_path / "two", queue) == ALL
    assert len(queued_jobs("small", tmp_path / "one", queue)) == len(ALL)
    assert queued_jobs("smaller", tmp_path / "three", queue) == []


def test_after_a_failure_the_failed_phase_and_its_descendants_are_submitted(tmp_path: Path) -> None:
    """SLURM has cancelled those that waited for its success; the others go on."""
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    finish(tree, out, queue, "text")
    failed = [name for name in ALL if "balanced" in name or "cooldown" in name]
    for name in [*failed, "small:report"]:
        queue.end(name)
    assert submit(tree, out, queue) == [*failed, "small:report"]
    assert queue.dependencies["small:balanced:train"] == ""


def test_jobs_that_wait_in_vain_are_cancelled_and_submitted_anew(tmp_path: Path) -> None:
    """Before SLURM has noticed that what they wait for has failed, and after."""
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    old = queue.number("small:cooldown:train")
    queue.end("small:balanced:train")
    queue.let_wait_in_vain("small:balanced:evaluate")
    anew = [name for name in ALL if "balanced" in name or "cooldown" in name]
    assert submit(tree, out, queue) == [*anew, "small:report"]
    assert sorted(queue.cancelled) == sorted([*anew[1:], "small:report"])
    assert queue.number("small:cooldown:train") != old
    parent = queue.number("small:balanced-then-text:train")
    assert queue.dependencies["small:cooldown:train"] == f"afterok:{parent}"
    assert submit(tree, out, queue) == []


def test_what_is_added_to_a_running_study_waits_for_its_present_jobs(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    queue.set_state("small:balanced:train", "RUNNING")
    running = queue.number("small:balanced:train")
    queue.cancel([queue.number("small:balanced-then-text:train")])
    for name in ALL[5:8]:
        queue.let_wait_in_vain(name)
    assert "small:balanced-then-text:train" in submit(tree, out, queue)
    assert queue.dependencies["small:balanced-then-text:train"] == f"afterok:{running}"


def test_a_study_that_is_done_is_reported_once(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    for node in tree.nodes.values():
        finish(tree, out, queue, node.name)
    assert submit(tree, out, queue) == [], "the report is still queued"
    queue.end("small:report")
    assert submit(tree, out, queue) == ["small:report"], "it has failed: nothing was written"
    queue.end("small:report")
    (out / "report.json").write_text("{}")
    assert submit(tree, out, queue) == []


def test_a_refusal_of_any_kind_of_job_submits_nothing(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    queue = QueueInMemory(refuses=":report")
    with pytest.raises(UnavailableError, match="Invalid account"):
        submit(tree, out, queue)
    assert (queue.submitted, read_records(out)) == ([], {})


def test_all_problems_come_together_and_nothing_is_submitted(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    for name in ("text", "balanced"):
        run = write_trained(tree, out, tree.nodes[f"single/{name}"])
        status = read_json(run.status)
        write_json(run.status, status | {"identity": "f" * 64})
    missing = tmp_path / "data" / "markup_train.manifest.json"
    missing.unlink()
    bare = identify(expand(load_study(tmp_path / "study.yaml", data_root=tmp_path / "data")))
    with pytest.raises(ConfigError) as raised:
        submit(tree, out, queue)
    assert len(raised.value.problems) == 2
    assert all("another identity" in problem for problem in raised.value.problems)
    problems = submission_problems(bare, out)
    assert any("markup_train" in problem for problem in problems)
    assert queue.submitted == []


def test_jobs_of_the_study_before_it_was_changed_stand_in_the_way(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    queue.set_state("small:text:train", "RUNNING")
    with_changed_shard(tmp_path / "data", "text")
    changed = identify(expand(load_study(tmp_path / "study.yaml", data_root=tmp_path / "data")))
    with pytest.raises(ConfigError) as raised:
        submit(changed, out, queue)
    assert "the study was changed since" in raised.value.problems[0]
    assert len(raised.value.problems) == 8, "every job works on what the study was"


def test_a_local_run_of_the_study_stands_in_the_way(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    with (
        exclusive(out / ".study.lock", "a study"),
        pytest.raises(RunError, match="a study is already running here"),
    ):
        submit(tree, out, queue)
    assert queue.submitted == []


def test_the_report_reads_the_study_as_it_was_submitted(tmp_path: Path) -> None:
    """The same identities from the frozen file, whatever becomes of the one it was made of."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    submit(tree, out, QueueInMemory())
    (tmp_path / "study.yaml").unlink()
    frozen = identify(expand(load_study(frozen_study(out))))
    assert {key: node.identity for key, node in frozen.nodes.items()} == {
        key: node.identity for key, node in tree.nodes.items()
    }
    assert frozen.spec.evaluation == tree.spec.evaluation
    assert frozen.spec.variants == tree.spec.variants


def test_scripts_ask_for_what_the_study_needs(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    submit(tree, out, QueueInMemory())
    run = tree.run_directory(out, tree.nodes["single/cooldown"])
    training = options_of((run.path / "train.sbatch").read_text())
    assert training["--nodes"] == "1"
    assert training["--ntasks-per-node"] == "2"
    assert training["--gpus-per-node"] == "2"
    assert training["--output"] == str(run.path / "train.log")
    evaluation = options_of((run.path / "evaluate.sbatch").read_text())
    assert evaluation["--ntasks-per-node"] == "1"
    report = options_of((out / "slurm" / "report.sbatch").read_text())
    assert "--gpus-per-node" not in report
    assert "--signal" not in report
    parent = tree.run_directory(out, tree.nodes["single/balanced-then-text"])
    assert str(parent.path) in run.config.read_text()


def took(began: float, ended: float) -> list[Stretch]:
    return [Stretch(began_unix=began, ended_unix=ended)]


def test_times_of_several_jobs_add_up_in_the_record(tmp_path: Path) -> None:
    """Seconds for each phase; for the study, all from the first start to the last end."""
    tree, out = small_tree(tmp_path), tmp_path / "out"
    submit(tree, out, QueueInMemory())
    add_job_times(out, "small", "single/text", took(1000, 1002), is_training=True)
    add_job_times(out, "small", "single/balanced", took(1001, 1009), is_training=True)
    add_job_times(out, "small", "single/text", took(1004, 1007), is_training=True)
    add_job_times(out, "small", "single/text", took(1020, 1021), is_training=False)
    record = read_record(out, "small")
    wall = record.phases["single/text"]
    assert (wall.train, wall.evaluate) == (5.0, 1.0)
    assert record.phases["single/balanced"].train == 8.0
    assert record.wall_seconds == 21.0
    runs = json.loads((out / "study.json").read_text())["runs"]
    assert sorted(runs) == sorted(tree.nodes)


def test_time_on_this_machine_and_time_in_slurm_add_up(tmp_path: Path) -> None:
    write_record(tmp_path, StudyRecord(name="small", wall_seconds=100.0, starts=1))
    for began, ended in ((1000, 1002), (990, 995), (1000, 1005)):
        add_job_times(tmp_path, "small", "single/text", took(began, ended), is_training=True)
    assert read_record(tmp_path, "small").wall_seconds == 115.0


def cancel(queue: QueueInMemory, out: Path, names: list[str] | None = None) -> list[str]:
    """Names of what was cancelled; what is still ending has ended at the second look."""
    found = cancel_jobs(
        "small", out, queue, names=names, pause=lambda seconds: queue.finish_ending()
    )
    return [job.name for job in found]


def test_cancelled_jobs_are_waited_for_and_not_cancelled_again(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    queue = QueueInMemory(takes_its_time=True)
    submit(tree, out, queue)
    assert cancel(queue, out, names=[ALL[0], ALL[1]]) == ALL[:2]
    assert cancel(queue, out) == ALL[2:]
    assert queue.cancelled == ALL
    assert cancel(queue, out) == []


@pytest.mark.parametrize("takes_its_time", [False, True])
def test_a_job_that_is_put_back_behind_the_cancellation_is_cancelled_again(
    tmp_path: Path, takes_its_time: bool
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    queue = QueueInMemory(comes_back="small:balanced:train", takes_its_time=takes_its_time)
    submit(tree, out, queue)
    queue.set_state("small:balanced:train", "RUNNING")
    assert sorted(cancel(queue, out)) == sorted(ALL)
    assert queue.cancelled == [*ALL, "small:balanced:train"]
    assert queue.live == {}


def test_jobs_that_do_not_end_are_named(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    queue = QueueInMemory(takes_its_time=True)
    submit(tree, out, queue)
    with pytest.raises(RetryableError, match=r"still has 100 COMPLETING \(small:text:train\)"):
        cancel_jobs(
            "small", out, queue, names=ALL[:1], patience_seconds=0.0, pause=lambda seconds: None
        )


def test_a_parents_ledger_that_was_lost_is_put_back_before_its_child_is_sent(
    tmp_path: Path,
) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    runs = {}
    for name in ("text", "balanced"):
        runs[name] = write_trained(tree, out, tree.nodes[f"single/{name}"])
        write_evaluated(tree, runs[name], {"text": 1000.0})
        whole = runs[name].ledger.read_text()
        record = {"files": {}, "is_scheduled": True, "ledger": json.loads(whole)}
        write_json(runs[name].checkpoint(10) / "complete.json", record)
        runs[name].ledger.unlink()
    remove_checkpoint(runs["text"].checkpoint(10))
    plan, numbers = submit_study(tree, out, CLUSTER, queue)
    assert runs["balanced"].ledger.read_text() == whole
    assert "small:balanced-then-text:train" in numbers
    text, balanced = plan.notes
    assert text.startswith("text: ")
    assert "restore the file from a copy" in text
    assert balanced.endswith("put back from its checkpoints: the lines of step 10")
    assert len(submit_study(tree, out, CLUSTER, queue)[0].notes) == 1


def test_a_lost_configuration_is_written_again(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path), tmp_path / "out", QueueInMemory()
    run = write_trained(tree, out, tree.nodes["single/text"])
    whole = run.config.read_bytes()
    run.config.unlink()
    [note] = submit_study(tree, out, CLUSTER, queue)[0].notes
    assert note.startswith(f"text: {run.config}: is missing; written again")
    assert run.config.read_bytes() == whole


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    plan = plan_submission(tree, out, CLUSTER, phases_to_be_done(tree, out), [])
    assert [job.name for job in plan.missing] == ALL
    assert not out.exists()
