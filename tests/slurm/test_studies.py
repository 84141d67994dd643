"""A study as a graph of jobs, on two nodes of two tasks each: it ends as the same study by one
command on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.files import Json, read_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.job_records import records_path
from tests.helpers.commands import codemix
from tests.helpers.tiny import (
    VOCABULARY,
    markov_documents,
    write_held_out,
    write_shard,
    write_tokenizer_into,
)
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job
from tests.slurm.studies import StudyOnCluster, write_site

NAME = "initialization-on-slurm"
STUDY = f"""\
# 200B tokens become 10 steps of 8 samples of 32 tokens.
extends: examples/studies/tiny/initialization.yaml
name: {NAME}
world_size: 4
token_scale: 1.28e-8
defaults:
  model: {{num_layers: 2, hidden_size: 32, ffn_hidden_size: 64, vocabulary_size: {VOCABULARY}}}
  data: {{sequence_length: 32}}
  train: {{global_batch_sequences: 8}}
  layout: {{microbatch_sequences: 2}}
evaluation:
  heldout: {{world_size: 1, max_bytes_per_source: 2KiB}}
"""
PARENTS = {"balanced-then-text": "balanced", "code-then-text": "code"}
STEPS = {
    "text-only": 20,
    "balanced-only": 20,
    "balanced": 10,
    "code": 10,
    "balanced-then-text": 10,
    "code-then-text": 10,
}
MAX_RUNNING = 2
DIFFERENT_BY_NATURE = ("wall_seconds", "timing", "cost")
"""Of two reports of the same study: what depends on the clock."""
NOTING_SECONDS = 60
"""What a job may take besides what is counted: what notes its end starts a Python."""

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class EndedStudy:
    """A study that was submitted three times: anew, while all was queued, at the end."""

    study: StudyOnCluster
    submissions: list[Json]
    records: list[bytes]
    """`slurm.json` behind each."""


@pytest.fixture(scope="module")
def data(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's file, tokenizer and shards."""
    folder = tmp_path_factory.mktemp("study")
    tokenizer = write_tokenizer_into(folder)
    for seed, source in enumerate(("text", "code", "markup")):
        documents = markov_documents(seed, 200)
        write_shard(folder / f"{source}.train", documents, tokenizer=tokenizer, source=source)
        place = folder / f"{source}.validation"
        write_held_out(place, seed + 10, tokenizer=tokenizer, source=source)
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def ended(
    session_cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EndedStudy]:
    out = tmp_path_factory.mktemp("slurm") / "out"
    study = StudyOnCluster(
        cluster=session_cluster,
        name=NAME,
        file=data / "study.yaml",
        site=write_site(data, tasks_per_node=2, max_running=MAX_RUNNING),
        out=out,
        options=["--data", data],
    )
    submissions, records = [], []
    try:
        for wait in (False, True, False):
            submissions.append(study.submit())
            records.append(records_path(out).read_bytes())
            if wait:
                study.wait_for_end(900)
        yield EndedStudy(study, submissions, records)
    finally:
        session_cluster.restore()


@pytest.fixture(scope="module")
def here(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same study, by one command."""
    out = tmp_path_factory.mktemp("here") / "out"
    done = codemix("study", "run", data / "study.yaml", "--data", data, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def trainings(study: StudyOnCluster) -> dict[str, Job]:
    return {phase: study.jobs()[f"{phase}:train"] for phase in STEPS}


@pytest.mark.parametrize("phase", STEPS)
def test_each_phase_ends_as_by_one_command(ended: EndedStudy, here: Path, phase: str) -> None:
    """Weights, optimizer, ledger, losses and what held-out documents say."""
    run = ended.study.run(phase)
    other = RunDirectory(here / "single" / run.path.name)
    assert differences(run, other, STEPS[phase]) == []
    heldout = (read_json(one.evaluation / "heldout.summary.json") for one in (run, other))
    one, two = ({**summary, "seconds": 0} for summary in heldout)
    assert one == two
    status = run.require_status()
    assert (status.attempts, status.failures) == (1, 0)


def test_the_report_is_that_of_one_command(ended: EndedStudy, here: Path) -> None:
    report, other = ended.study.report(), read_json(here / "report.json")
    assert len(report["variants"]) == 4
    for key in DIFFERENT_BY_NATURE:
        report.pop(key, None)
        other.pop(key, None)
    assert report == other


def test_all_was_submitted_at_once_and_nothing_again(ended: EndedStudy) -> None:
    first, while_queued, at_the_end = ended.submissions
    names = {f"{NAME}:{phase}:{kind}" for phase in STEPS for kind in ("train", "evaluate")}
    assert {job["name"] for job in first["submitted"]} == {*names, f"{NAME}:report"}
    assert len(while_queued["kept"]) == len(first["submitted"])
    for again in (while_queued, at_the_end):
        assert (again["submitted"], again["cancelled"]) == ([], [])
    assert len(set(ended.records)) == 1
    assert set(ended.study.states().values()) == {"COMPLETED"}


def test_trainings_are_four_tasks_on_two_nodes(ended: EndedStudy) -> None:
    for job in trainings(ended.study).values():
        assert (job.field("NumNodes"), job.field("NumTasks")) == ("2", "4")
        assert job.field("Restarts") == "0"


def test_children_begin_when_their_parents_have_ended(ended: EndedStudy) -> None:
    jobs = ended.study.jobs()
    waits = {f"{child}:train": f"{parent}:train" for child, parent in PARENTS.items()}
    waits |= {f"{phase}:evaluate": f"{phase}:train" for phase in STEPS}
    for job, before in waits.items():
        assert jobs[job].time("StartTime") >= jobs[before].time("EndTime"), job
    last = max(job.time("EndTime") for name, job in jobs.items() if name != "report")
    assert jobs["report"].time("StartTime") >= last


def test_no_more_trainings_ran_at_once_than_the_cluster_file_lets(ended: EndedStudy) -> None:
    jobs = trainings(ended.study).values()
    times = [(job.time("StartTime"), job.time("EndTime")) for job in jobs]
    most = max(sum(began <= moment < over for began, over in times) for moment, _ in times)
    assert most == MAX_RUNNING


def test_what_was_taken_is_what_slurm_says(ended: EndedStudy) -> None:
    """Less what a job does when its end has been noted."""
    record, jobs = ended.study.record(), ended.study.jobs()
    first, last = float("inf"), 0.0
    for phase in STEPS:
        wall = record.phases[f"single/{phase}"]
        for kind, seconds in (("train", wall.train), ("evaluate", wall.evaluate)):
            job = jobs[f"{phase}:{kind}"]
            began, over = job.time("StartTime"), job.time("EndTime")
            assert -2 <= over - began - seconds <= NOTING_SECONDS, job
            assert seconds > 1, "to import takes longer"
            first, last = min(first, began), max(last, over)
    assert -2 <= last - first - record.wall_seconds <= NOTING_SECONDS
    assert ended.study.report()["wall_seconds"] == record.wall_seconds
