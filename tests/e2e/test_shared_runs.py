"""Two studies on one store, as processes: what they have in common is trained once, whatever
becomes of the one that trains it, and is what each would have trained alone."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import Command, codemix, count_lines, start_codemix
from tests.helpers.tiny import SEQUENCE, default_config, merge, write_run

STEPS = {"base": 60, "branch": 5}
Start = Callable[..., Command]
"""Starts a command, whose words are given."""

TOKENS_PER_STEP = 8 * SEQUENCE
SECONDS = 240


def write_study(
    folder: Path, name: str, *, share: float, size: str = "1KiB", code_held_out: str = "code.held"
) -> Path:
    """Two phases: a base, which all such studies have, and a branch with this share of code."""
    defaults = merge(
        default_config(folder),
        {
            "data": {"sources": {"code": {"validation": str(folder / code_held_out)}}},
            "train": {"train_tokens": STEPS["base"] * TOKENS_PER_STEP},
            "checkpoint": {"save_every_tokens": 5 * TOKENS_PER_STEP},
        },
    )
    weights = {"kind": "constant", "weights": {"code": share, "text": 1 - share}}
    tokens = STEPS["branch"] * TOKENS_PER_STEP
    study = {
        "name": name,
        "world_size": 1,
        "defaults": defaults,
        "phases": {
            "base": {},
            "branch": {
                "init_from": {"phase": "base", "load": "weights"},
                "set": {"data.mixture": weights, "train.train_tokens": tokens},
            },
        },
        "variants": {"branch": "branch", "base": "base"},
        "compare": {"baseline": "base"},
        "evaluation": {"heldout": {"world_size": 1, "max_bytes_per_source": size}},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def wait_for(what: str, condition: Callable[[], bool], *processes: Command) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not condition():
        for process in processes:
            assert process.poll() is None, f"ended before {what}: {process.said()}"
        assert time.monotonic() < give_up_at, what
        time.sleep(0.01)


def suspend(process: Command) -> list[psutil.Process]:
    """The command, and all processes that it has started: a few steps are soon made."""
    study = psutil.Process(process.pid)
    found = [study, *study.children(recursive=True)]
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.suspend()
    return found


def kill_suspended(process: Command, found: list[psutil.Process]) -> None:
    """Kills the command alone; the others go on to what they do then."""
    process.kill()
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.resume()


def end_of(process: Command) -> str:
    """What it said, of one that succeeds."""
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    return output


def base_of(study: Path, out: Path, store: Path) -> RunDirectory:
    words = ["study", "run", study, "--out", out, "--store", store, "--dry-run", "--json"]
    plan = yaml.safe_load(codemix(*words).stdout)
    return RunDirectory(Path(plan["phases"][0]["run"]))


def report_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(out / "report.json")
    return found


@pytest.fixture
def start() -> Iterator[Start]:
    """What it has started ends with the test."""
    commands: list[Command] = []

    def begin(*words: str | Path) -> Command:
        commands.append(start_codemix(words))
        return commands[-1]

    yield begin
    for command in commands:
        command.end()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the first study, run by itself without a store."""
    out = tmp_path_factory.mktemp("alone") / "one"
    done = codemix("study", "run", write_study(data, "one", share=0.9), "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def run_alone(out: Path, phase: str) -> RunDirectory:
    (path,) = (out / "single").glob(f"{phase}-*")
    return RunDirectory(path)


def require_equal(run: RunDirectory, reference: RunDirectory, steps: int) -> None:
    """Weights and ledger."""
    assert differing_tensors(run.checkpoint(steps), reference.checkpoint(steps)) == []
    assert read_jsonl(run.ledger) == read_jsonl(reference.ledger)


def test_two_studies_at_once_train_what_is_equal_once(
    data: Path, alone: Path, tmp_path: Path, start: Start
) -> None:
    """They ask for different evaluations, and each has its own."""
    store = tmp_path / "store"
    one = write_study(data, "one", share=0.9)
    two = write_study(data, "two", share=0.1, size="2KiB", code_held_out="text.held")
    processes = {
        name: start("study", "run", study, "--out", tmp_path / name, "--store", store, "--json")
        for name, study in (("one", one), ("two", two))
    }
    for process in processes.values():
        end_of(process)
    base = base_of(one, tmp_path / "one", store)
    runs = [RunDirectory(path) for path in store.iterdir() if path.name[0] != "."]
    assert len(runs) == 3
    assert all(run.require_status().attempts == 1 for run in runs), "nobody was in another's way"
    require_equal(base, run_alone(alone, "base"), STEPS["base"])
    reports = {name: report_of(tmp_path / name) for name in processes}
    sizes = {name: report["evaluation"]["max_bytes_per_source"] for name, report in reports.items()}
    assert sizes == {"one": 1024, "two": 2048}
    expected = {row["name"]: row["heldout"] for row in report_of(alone)["variants"]}
    assert {row["name"]: row["heldout"] for row in reports["one"]["variants"]} == expected
    for row in reports["two"]["variants"]:
        losses = {name: value["bits_per_byte"] for name, value in row["heldout"].items()}
        assert losses["code"] == losses["text"], "the study's documents, not those of the trainer"
    parts = [report["timing"]["phases"]["single/base"]["own_part"] for report in reports.values()]
    assert sorted(parts) == [0.0, 1.0], "one of them has trained it, and its seconds count there"
    for name, study in (("one", one), ("two", two)):
        status = codemix("study", "status", study, "--out", tmp_path / name, "--json")
        states = [phase["state"] for phase in yaml.safe_load(status.stdout)["phases"]]
        assert states == ["done", "done"]


def test_when_the_one_that_trains_is_killed_the_other_goes_on(
    data: Path, alone: Path, tmp_path: Path, start: Start
) -> None:
    """Killed while it stands still after some steps, so that there are more to be made."""
    store = tmp_path / "store"
    one, two = write_study(data, "one", share=0.9), write_study(data, "two", share=0.1)
    base = base_of(one, tmp_path / "one", store)
    first = start("study", "run", one, "--out", tmp_path / "one", "--store", store)
    wait_for("the first trains", lambda: count_lines(base.metrics) >= 6, first)
    suspended = suspend(first)
    assert count_lines(base.metrics) < STEPS["base"]
    second = start("study", "run", two, "--out", tmp_path / "two", "--store", store)
    wait_for("the second waits", lambda: "under way by study one" in second.said(), second)
    kill_suspended(first, suspended)
    end_of(second)
    assert base.require_status().attempts >= 2, "it went on from where the first was"
    require_equal(base, run_alone(alone, "base"), STEPS["base"])
    assert {line["study"] for line in read_jsonl(base.studies)} == {"one", "two"}
    trained = [line["study"] for line in read_jsonl(base.studies) if line["seconds"]]
    assert trained == ["two"]
    end_of(start("study", "run", one, "--out", tmp_path / "one"))  # it knows its store
    branch = report_of(tmp_path / "one")["variants"][0]
    assert branch["heldout"] == report_of(alone)["variants"][0]["heldout"]
    audited = codemix("data", "ledger", base.path)
    assert audited.returncode == 0, audited.stderr


def test_held_out_documents_of_another_tokenizer_are_refused(alone: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", special_tokens=["<|more|>"])
    done = codemix("evaluate", run_alone(alone, "base").path, "--held-out-of", other)
    assert done.returncode == 2
    assert "which is another; give a configuration with the run's" in done.stderr


def test_a_study_without_a_store_is_told_of_one_beside_it(
    data: Path, alone: Path, start: Start
) -> None:
    study = write_study(data, "three", share=0.5)
    process = start("study", "run", study, "--out", alone.parent / "three")
    wait_for("it says so", lambda: "base has been trained in" in process.said(), process)
    process.kill()
    assert "--store" in process.said()
