"""Submitting studies that share a store: one job for what is equal, and edges to it. The queue is
one in memory; the scripts and run directories are real."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.cli import study_job_begins
from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, EXIT_RETRY, ConfigError, RunError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.launch.slurm.cluster import ApptainerContainer, ClusterSpec
from megatron_codemix.launch.slurm.script import NO_STORE
from megatron_codemix.locks import exclusive, try_lock
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.damaged_ends import phases_to_be_done
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.noted_jobs import NotedJob, note_job, noted_job
from megatron_codemix.study.record import read_record
from megatron_codemix.study.slurm_jobs import slurm_job
from megatron_codemix.study.store import read_trainers
from megatron_codemix.study.submit import plan_submission, queued_jobs, submit_study
from megatron_codemix.study.tree import StudyTree
from tests.helpers.queue_in_memory import QueueInMemory, options_of
from tests.helpers.study_files import CELLS, STUDY, small_tree, write_evaluated, write_trained
from tests.unit.study.test_damaged_ends import shorten, trained

CLUSTER = ClusterSpec.model_validate(
    {"partition": "gpu", "gpus_per_node": 2, "cpus_per_task": 4, "time_limit": "1h"}
)
OTHER_STUDY = STUDY.replace("name: small", "name: other").replace(
    "text: 0.75, code: 0.25", "text: 0.5, code: 0.5"
)
"""Has `text` and `balanced` with STUDY in common."""
OWN = ["balanced-then-text:train", "balanced-then-text:evaluate", "cooldown:train",
       "cooldown:evaluate", "report"]  # fmt: skip


def stored(folder: Path, text: str = STUDY) -> StudyTree:
    return replace(small_tree(folder, text), store=folder / "store")


def submit(tree: StudyTree, out: Path, queue: QueueInMemory) -> list[str]:
    """Names of what was submitted, without the study's."""
    before = len(queue.submitted)
    submit_study(tree, out, CLUSTER, queue)
    return [name.partition(":")[2] for name in queue.submitted[before:]]


def test_a_second_study_waits_for_the_jobs_of_the_first(tmp_path: Path) -> None:
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    assert len(submit(one, tmp_path / "one", queue)) == 9
    assert submit(two, tmp_path / "two", queue) == OWN
    parent = queue.number("small:balanced:train")
    assert queue.dependencies["other:balanced-then-text:train"] == f"afterok:{parent}"
    report = queue.dependencies["other:report"]
    assert queue.number("small:text:evaluate") in report, "its results are waited for too"
    assert submit(two, tmp_path / "two", queue) == []
    assert submit(one, tmp_path / "one", queue) == []
    assert queue.cancelled == []
    theirs = {job.name for job in queued_jobs("other", tmp_path / "two", queue)}
    assert theirs == {f"other:{name}" for name in OWN}, "what 'study cancel' ends"


def test_what_another_study_makes_again_is_waited_for(tmp_path: Path) -> None:
    """A training that was done, and whose last checkpoint is damaged."""
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    shorten(trained(one, tmp_path / "one", "text", "balanced")["balanced"])
    assert "balanced:train" in submit(one, tmp_path / "one", queue)
    assert submit(two, tmp_path / "two", queue) == OWN
    parent = queue.number("small:balanced:train")
    assert queue.dependencies["other:balanced-then-text:train"] == f"afterok:{parent}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "a list, and an object is wanted"),
        ({"id": "1"}, "'name' is missing"),
        ({"id": 1, "name": "small:text:train"}, "'id' is 1"),
        ({"id": "1", "name": "a", "validates": 3}, "'validates' is 3"),
        ({"id": "1", "name": "a", "colour": 3}, "'colour' is unknown"),
    ],
)
def test_a_note_of_another_form_is_named(content: Any, words: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    note_job(tmp_path, run, "train", NotedJob(id="1", name="small:text:train"))
    [path] = (tmp_path / ".jobs").iterdir()
    write_json(path, {"id": "1", "name": "a"})
    assert noted_job(tmp_path, run, "train") == NotedJob(id="1", name="a")
    write_json(path, content)
    with pytest.raises(RunError) as told:
        noted_job(tmp_path, run, "train")
    assert str(told.value) == f"{path}: not readable ({words}); remove it"


def test_jobs_of_another_user_count_too(tmp_path: Path) -> None:
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    submit(one, tmp_path / "one", queue)
    queue.of_others = set(queue.live)
    assert submit(two, tmp_path / "two", queue) == OWN
    parent = queue.number("small:balanced:train")
    assert queue.dependencies["other:balanced-then-text:train"] == f"afterok:{parent}"


def validated(text: str) -> str:
    """A study whose trainings validate themselves."""
    return text.replace(
        "heldout: {world_size: 1, max_bytes_per_source: 1KiB}", "heldout: {kind: validation}"
    ).replace(
        "precision: {kind: fp32}",
        "precision: {kind: fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
    )


def test_what_another_study_s_job_validates_otherwise_is_evaluated_behind_it(
    tmp_path: Path,
) -> None:
    """At the first submission: its report would have nothing of these phases."""
    one, queue = stored(tmp_path, validated(STUDY)), QueueInMemory()
    text = validated(OTHER_STUDY)
    same = stored(tmp_path, text)
    more = stored(tmp_path, text.replace("name: other", "name: more").replace("1KiB", "2KiB"))
    submit(one, tmp_path / "one", queue)
    trainings = ["balanced-then-text:train", "cooldown:train", "report"]
    assert submit(same, tmp_path / "same", queue) == trainings
    evaluations = ["text:evaluate", "balanced:evaluate"]
    expected = [*evaluations, "balanced-then-text:evaluate", "cooldown:evaluate", "report"]
    assert submit(more, tmp_path / "more", queue) == expected
    training = queue.number("small:text:train")
    assert queue.dependencies["more:text:evaluate"] == f"afterok:{training}"
    assert submit(more, tmp_path / "more", queue) == []
    queue.end("small:text:train")
    write_trained(one, tmp_path / "one", one.nodes["single/text"])
    assert submit(more, tmp_path / "more", queue) == []


def test_another_evaluation_of_a_shared_run_is_a_job_of_its_own(tmp_path: Path) -> None:
    one, queue = stored(tmp_path), QueueInMemory()
    two = stored(tmp_path, OTHER_STUDY.replace("1KiB", "2KiB"))
    submit(one, tmp_path / "one", queue)
    assert submit(two, tmp_path / "two", queue) == ["text:evaluate", "balanced:evaluate", *OWN]
    training = queue.number("small:text:train")
    assert queue.dependencies["other:text:evaluate"] == f"afterok:{training}"


def test_what_another_study_has_failed_to_train_is_submitted(tmp_path: Path) -> None:
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    submit(one, tmp_path / "one", queue)
    submit(two, tmp_path / "two", queue)
    queue.end("small:balanced:train")
    queue.let_wait_in_vain("small:balanced:evaluate")
    queue.let_wait_in_vain("other:balanced-then-text:train")
    anew = submit(two, tmp_path / "two", queue)
    assert anew[:3] == ["balanced:train", "balanced:evaluate", "balanced-then-text:train"]
    assert not [name for name in queue.cancelled if name.startswith("small:")]
    parent = queue.number("other:balanced:train")
    assert queue.dependencies["other:balanced-then-text:train"] == f"afterok:{parent}"


def test_a_number_that_slurm_gave_to_another_job_counts_for_nothing(tmp_path: Path) -> None:
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    submit(one, tmp_path / "one", queue)
    number = queue.number("small:balanced:train")
    queue.live[number] = replace(queue.live[number], name="somebody's")
    assert "balanced:train" in submit(two, tmp_path / "two", queue)


def test_what_another_study_has_finished_has_no_job(tmp_path: Path) -> None:
    one, two, queue = stored(tmp_path), stored(tmp_path, OTHER_STUDY), QueueInMemory()
    for name in ("text", "balanced"):
        run = write_trained(one, tmp_path / "one", one.nodes[f"single/{name}"])
        write_evaluated(one, run, {"text": 1000.0})
    assert submit(two, tmp_path / "two", queue) == OWN
    assert queue.dependencies["other:balanced-then-text:train"] == ""


def test_scripts_and_configurations_lie_with_the_study_and_results_in_the_store(
    tmp_path: Path,
) -> None:
    """Two studies must not write over each other's; and nothing but a training may write what a
    run's directory is known by."""
    tree, out, queue = stored(tmp_path), tmp_path / "out", QueueInMemory()
    submit(tree, out, queue)
    assert not list((tmp_path / "store").glob("[0-9a-f]*"))
    node = tree.nodes["single/cooldown"]
    run = tree.run_directory(out, node)
    record = read_records(out)["small:cooldown:train"]
    assert record.run == str(run.path)
    script = Path(record.script).read_text()
    assert Path(record.script).is_relative_to(out)
    assert Path(options_of(script)["--output"]).parent.is_dir()
    parent = tree.run_directory(out, tree.nodes["single/balanced-then-text"])
    config = out / "slurm" / "single" / "cooldown" / "config.yaml"
    assert str(parent.path) in config.read_text()
    assert f"train {config} --run-dir {run.path}" in script
    evaluation = Path(read_records(out)["small:cooldown:evaluate"].script).read_text()
    assert f"--out {run.evaluation} --held-out-of {config}" in evaluation
    assert read_record(out, "small").store == str(tmp_path / "store")


def test_a_container_sees_the_store(tmp_path: Path) -> None:
    tree, out = stored(tmp_path), tmp_path / "out"
    cluster = CLUSTER.model_copy(
        update={"container": ApptainerContainer(kind="apptainer", image="a.sif")}
    )
    for job in plan_submission(tree, out, cluster, phases_to_be_done(tree, out), []).jobs:
        assert tmp_path / "store" in slurm_job(tree, out, cluster, job).mounts


def test_a_run_of_another_identity_in_the_store_is_refused(tmp_path: Path) -> None:
    tree, out, queue = stored(tmp_path), tmp_path / "out", QueueInMemory()
    run = write_trained(tree, out, tree.nodes["single/text"])
    write_json(run.status, read_json(run.status) | {"identity": "f" * 64})
    with pytest.raises(ConfigError, match="another identity"):
        submit(tree, out, queue)
    assert queue.submitted == []


def test_cells_that_have_a_phase_in_common_have_one_job_for_it(tmp_path: Path) -> None:
    tree, out, queue = small_tree(tmp_path, CELLS), tmp_path / "out", QueueInMemory()
    names = submit(tree, out, queue)
    assert names.count("little/base:train") == 1
    assert "much/base:train" not in names
    parent = queue.number("small:little/base:train")
    assert queue.dependencies["small:much/mixed:train"] == f"afterok:{parent}"
    assert submit(tree, out, queue) == []


# What a job finds when it begins and when its processes have ended. squeue's answer is a recorded
# one.


@pytest.fixture
def in_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the number 100, which runs."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho RUNNING\n")
    (tmp_path / "bin" / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "100")
    monkeypatch.setattr(study_job_begins, "PATIENCE_SECONDS", 0.0)


def words_of(tree: StudyTree, out: Path, name: str) -> tuple[list[str], list[str]]:
    """What the script of a job asks before and after its processes; the latter still without their
    exit code."""
    submit(tree, out, QueueInMemory())
    [job] = [
        job
        for job in plan_submission(tree, out, CLUSTER, phases_to_be_done(tree, out), []).jobs
        if job.name == name
    ]
    made = slurm_job(tree, out, CLUSTER, job)
    return [*(made.before or ())], [*(made.after or ()), "--since", "0", "--code"]


def begin(tree: StudyTree, run: RunDirectory, job: str) -> Status:
    """Leaves what a start of `job` does that has begun to train, of the phase `text`."""
    identity = tree.nodes["single/text"].identity
    assert identity is not None
    attempts = (run.read_status() or Status(identity=identity)).attempts + 1
    write_json(run.attempt(attempts) / "provenance.json", {"slurm_job": job})
    return run.write_status(
        Status(identity=identity, state="running", step=3, num_steps=10, attempts=attempts)
    )


@pytest.mark.usefixtures("in_job")
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_job_whose_run_another_process_trains_looks_again(
    is_stored: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And leaves its status alone: that it ended is no failure of the run."""
    tree, out = stored(tmp_path) if is_stored else small_tree(tmp_path), tmp_path / "out"
    before, told = words_of(tree, out, "small:text:train")
    assert bool(before) == is_stored
    run = tree.run_directory(out, tree.nodes["single/text"])
    status = begin(tree, run, "99")
    handle = try_lock(run.path / ".lock")
    assert handle is not None
    for code in (EXIT_RETRY, 143, EXIT_INPUT):
        assert main([*told, str(code)]) == EXIT_RETRY
        assert "another process trains" in capsys.readouterr().out
    if is_stored:
        assert main(before) == EXIT_RETRY
        assert "(time 4, the first " in capsys.readouterr().out
    assert run.require_status() == status
    assert read_trainers(run) == []
    handle.close()
    assert not is_stored or main(before) == EXIT_DONE
    begin(tree, run, "100")
    assert main([*told, "143"]) == EXIT_RETRY
    assert run.require_status().failures == 1, "now it is the job's own"
    assert [one.study for one in read_trainers(run)] == (["small"] if is_stored else [])


@pytest.mark.usefixtures("in_job")
@pytest.mark.parametrize("is_mount_point", [False, True])
def test_a_job_whose_store_is_gone_says_so_and_makes_none(
    is_mount_point: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a node where its disk is not mounted."""
    tree, out = stored(tmp_path), tmp_path / "out"
    before, _ = words_of(tree, out, "small:text:train")
    store = tree.run_directory(out, tree.nodes["single/text"]).path.parent
    assert main(before) == EXIT_DONE, "the run itself need not be there"
    store.rename(tmp_path / "elsewhere")
    if is_mount_point:
        store.mkdir()
    assert main(before) == NO_STORE
    assert f"{store}: the store of this run is not there on " in capsys.readouterr().out
    assert list(store.iterdir() if is_mount_point else tmp_path.glob("store")) == []
    if is_mount_point:
        store.rmdir()
    (tmp_path / "elsewhere").rename(store)
    assert main(before) == EXIT_DONE


@pytest.mark.usefixtures("in_job")
def test_an_evaluation_that_meets_the_same_one_looks_again_and_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, out = stored(tmp_path), tmp_path / "out"
    before, told = words_of(tree, out, "small:text:evaluate")
    run = tree.run_directory(out, tree.nodes["single/text"])
    handle = try_lock(run.evaluation / ".evaluate.lock")
    assert handle is not None
    for restarts in range(5):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        words = before if restarts == 3 else [*told, str(EXIT_RETRY)]
        assert main(words) == EXIT_RETRY
        assert f"another process evaluates {run.evaluation} now" in capsys.readouterr().out
    handle.close()
    codes = []
    for restarts in range(5, 5 + CLUSTER.max_failures + 1):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        codes.append(main([*told, "143"]))
    assert codes == [EXIT_RETRY] * CLUSTER.max_failures + [EXIT_INPUT]


@pytest.mark.usefixtures("in_job")
def test_the_hours_of_a_job_count_though_another_study_has_taken_its_run_over(
    tmp_path: Path,
) -> None:
    tree, out = stored(tmp_path), tmp_path / "out"
    _, told = words_of(tree, out, "small:text:train")
    run = tree.run_directory(out, tree.nodes["single/text"])
    begin(tree, run, "100")
    begin(tree, run, "200")
    with exclusive(run.path / ".lock", "a test"):
        assert main([*told, "143"]) == EXIT_RETRY
    [trainer] = read_trainers(run)
    assert (trainer.study, trainer.phase) == ("small", "single/text")
    assert trainer.seconds > 0


@pytest.mark.usefixtures("in_job")
def test_a_job_that_found_its_run_done_has_not_trained_it(tmp_path: Path) -> None:
    tree, out = stored(tmp_path), tmp_path / "out"
    _, told = words_of(tree, out, "small:text:train")
    run = write_trained(tree, out, tree.nodes["single/text"])
    for code in (EXIT_DONE, EXIT_RETRY):  # the latter: it became so while its ranks waited
        assert main([*told, str(code)]) == EXIT_DONE
    assert read_trainers(run) == []


@pytest.mark.usefixtures("in_job")
def test_what_cannot_be_noted_does_not_end_a_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is in the way of each file, as a full disk would be."""
    tree, out = stored(tmp_path), tmp_path / "out"
    _, told = words_of(tree, out, "small:text:train")
    run = tree.run_directory(out, tree.nodes["single/text"])
    begin(tree, run, "100")
    run.studies.mkdir()
    Path(told[told.index("--starts") + 1]).mkdir()
    assert main([*told, "143"]) == EXIT_RETRY
    assert capsys.readouterr().out.count("note: ") == 2
