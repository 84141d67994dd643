"""A study whose phase is given another mixture after it was killed: it goes on in place."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.tiny import SEQUENCE, default_config, merge, write_run

STEPS = 60
TOKENS_PER_STEP = 8 * SEQUENCE


def write_study(folder: Path, changes: list[dict[str, object]]) -> Path:
    """Two phases, the second from the first; both read what `write_run` has written."""
    defaults = merge(
        default_config(folder),
        {
            "train": {"train_tokens": STEPS * TOKENS_PER_STEP},
            "checkpoint": {"save_every_tokens": 5 * TOKENS_PER_STEP},
        },
    )
    weights = {"kind": "constant", "weights": {"code": 0.25, "text": 0.75}}
    study = {
        "name": "changed",
        "world_size": 1,
        "defaults": defaults,
        "phases": {
            "first": {"set": {"data.changes": changes}},
            "second": {
                "init_from": {"phase": "first", "load": "weights"},
                "set": {"data.mixture": weights, "train.train_tokens": 5 * TOKENS_PER_STEP},
            },
        },
        "variants": {"only": "second"},
        "compare": {"baseline": "only"},
        "evaluation": {"heldout": {"world_size": 1, "max_bytes_per_source": "1KiB"}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def run_of(out: Path, phase: str) -> RunDirectory:
    """The one directory of the phase."""
    (path,) = (out / "single").glob(f"{phase}-*")
    return RunDirectory(path)


def change_at(step: int) -> dict[str, object]:
    """To a tenth of code."""
    mixture = {"kind": "constant", "weights": {"code": 0.1, "text": 0.9}}
    return {"at_tokens": step * TOKENS_PER_STEP, "mixture": mixture}


LATE = change_at(STEPS - 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_run(folder)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the study with a late change, run at once."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = codemix("study", "run", write_study(data, [LATE]), "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_killed_phase_goes_on_with_its_new_mixture(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    study = write_study(data, [])
    plan = json.loads(codemix("study", "run", study, "--out", killed, "--dry-run", "--json").stdout)
    before = RunDirectory(Path(plan["phases"][0]["run"]))
    code = codemix_stopped(
        ["study", "run", study, "--out", killed],
        metrics=before.metrics,
        after_lines=12,
        by=signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    assert before.complete_steps(), "the kill came after the first checkpoint"

    study = write_study(data, [LATE])
    status = codemix("study", "status", study, "--out", killed)
    assert "first: goes on in place from step " in status.stdout
    done = codemix("study", "run", study, "--out", killed)
    assert done.returncode == 0, done.stderr
    assert "first: its mixture has changed after step " in done.stderr
    assert not before.path.exists(), "the directory is named by the new identity"

    first = [run_of(out, "first") for out in (whole, killed)]
    assert first[0].path.name == first[1].path.name
    assert read_jsonl(first[0].ledger) == read_jsonl(first[1].ledger)
    assert first[1].read_status().attempts > 1
    for phase, step in (("first", STEPS), ("second", 5)):
        last = [run_of(out, phase).checkpoint(step) for out in (whole, killed)]
        assert differing_tensors(*last) == []
    audited = codemix("data", "ledger", run_of(killed, "second").path)
    assert audited.returncode == 0, audited.stderr


def test_what_was_consumed_is_not_changed(data: Path, whole: Path, tmp_path: Path) -> None:
    """A change before the newest checkpoint is another run; the one there stays as it is."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = run_of(out, "first")
    study = write_study(data, [change_at(20)])
    done = codemix("study", "run", study, "--out", out)
    assert done.returncode == 0, done.stderr
    runs = [RunDirectory(path) for path in (out / "single").glob("first-*")]
    assert len(runs) == 2
    assert before.path in [run.path for run in runs]
    assert all(run.read_status().attempts == 1 for run in runs)
