"""Held-out losses in the middle of a run, against `codemix evaluate` on its checkpoints."""

import json
import signal
from pathlib import Path

import pytest

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.tiny import SEQUENCE, VOCABULARY, write_run

STEP = 8 * SEQUENCE
VALIDATE = (
    f"validation={{every_tokens: {8 * STEP}, max_bytes_per_source: 1000, by_position: true,"
    " by_document_length: true}"
)
PADDED = padded_vocabulary_size(VOCABULARY)
SAVE = f"checkpoint.save_every_tokens={5 * STEP}"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A vocabulary that needs no padding: training's losses count such rows, an evaluation does not.
    others = [f"<|{number}|>" for number in range(PADDED - VOCABULARY)]
    model = {"num_layers": 4, "vocabulary_size": PADDED}
    return write_run(tmp_path_factory.mktemp("run"), others, model=model)


LAYOUTS = {
    "one": ["--nproc", "1"],
    "dp3": ["train.global_batch_sequences=6", "--nproc", "3"],
    "tp2-pp2-vpp2": [
        "layout.tensor=2",
        "layout.pipeline=2",
        "layout.virtual_pipeline=2",
        "--nproc",
        "4",
    ],
    "cp2": ["layout.context=2", "--nproc", "2"],
    "ep2": [
        "layout.expert=2",
        "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}",
        "--nproc",
        "2",
    ],
    "dp2-overlap": [
        "layout.overlap_grad_reduce=true",
        "layout.overlap_param_gather=true",
        "--nproc",
        "2",
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_last_validation_is_what_evaluate_finds(
    config: Path, layout: str, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    done = codemix("train", config, VALIDATE, *LAYOUTS[layout], "--run-dir", run.path)
    assert done.returncode == 0, done.stderr
    lines = read_jsonl(run.validation)
    steps = json.loads((run.path / "status.json").read_text())["num_steps"]
    per_validation = 8 if layout != "dp3" else round(8 * 8 / 6)
    due = range(per_validation, steps, per_validation)
    assert [line["step"] for line in lines] == [*due, steps]
    evaluated = codemix("evaluate", run.path, "--max-bytes-per-source", "1000", "--json")
    expected = json.loads(evaluated.stdout)["sources"]
    assert set(lines[-1]["sources"]) == set(expected) == {"code", "text"}
    for name, source in lines[-1]["sources"].items():
        assert (source["tokens"], source["bytes"]) == tuple(
            expected[name][key] for key in ("tokens", "bytes")
        )
        assert source["bits_per_byte"] == pytest.approx(expected[name]["bits_per_byte"], rel=1e-5)
        assert source["bits_per_byte"] < lines[0]["sources"][name]["bits_per_byte"]
        for parts in (source["by_position"], source["by_document_length"]):
            for key in ("tokens", "bytes", "nats"):
                total = sum(part[key] for part in parts.values())
                assert total == pytest.approx(source[key], rel=1e-12)
        assert source["by_position"]["1-1"]["tokens"] == expected[name]["documents"]
    documents = read_jsonl(run.validation_documents)
    evaluated_documents = read_jsonl(run.evaluation / "heldout.jsonl")
    assert len(documents) == len(evaluated_documents) > 2
    for document, wanted in zip(documents, evaluated_documents, strict=True):
        assert document.pop("step") == steps
        assert document == wanted | {"nats": pytest.approx(wanted["nats"], rel=1e-4)}


def test_a_checkpoint_of_a_run_that_is_not_done_can_be_evaluated(
    config: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    keep = f"checkpoint={{save_every_tokens: {8 * STEP}, keep_every_tokens: {8 * STEP}}}"
    arguments = ["train", config, keep, VALIDATE, "--run-dir", run.path]
    stopped = codemix_stopped(arguments, metrics=run.metrics, after_lines=11, by=signal.SIGTERM)
    assert stopped == 75
    asked = ["evaluate", run.path, "--max-bytes-per-source", "1000", "--json"]
    last = codemix(*asked)
    assert last.returncode == 2
    assert "this run is pending" in last.stderr
    wrong = codemix(*asked, "--step", "9")
    assert wrong.returncode == 2
    assert "no complete checkpoint after step 9; there are 8, " in wrong.stderr
    done = codemix(*asked, "--step", "8")
    assert done.returncode == 0, done.stderr
    evaluated, (line, *_) = json.loads(done.stdout), read_jsonl(run.validation)
    assert evaluated["step"] == line["step"] == 8
    for name, source in line["sources"].items():
        expected = evaluated["sources"][name]["bits_per_byte"]
        assert source["bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert (run.evaluation / "iter_0000008/heldout.summary.json").exists()


def test_validation_changes_nothing_and_goes_on_after_a_kill(config: Path, tmp_path: Path) -> None:
    from megatron_codemix.bench.chaos.compare import differences

    plain, whole, stopped = (RunDirectory(tmp_path / name) for name in ("a", "b", "c"))
    nproc = ["--nproc", "2"]
    assert codemix("train", config, SAVE, "--run-dir", plain.path, *nproc).returncode == 0
    assert codemix("train", config, SAVE, VALIDATE, "--run-dir", whole.path, *nproc).returncode == 0
    arguments = ["train", config, SAVE, VALIDATE, "--run-dir", stopped.path, *nproc]
    codemix_stopped(arguments, metrics=stopped.metrics, after_lines=9, by=signal.SIGKILL)
    assert codemix(*arguments).returncode == 0
    assert differences(plain, whole, 20) == []
    assert differences(whole, stopped, 20) == []
    assert stopped.validation.read_bytes() == whole.validation.read_bytes()
    kept = stopped.validation_documents.read_bytes()
    assert kept == whole.validation_documents.read_bytes()
