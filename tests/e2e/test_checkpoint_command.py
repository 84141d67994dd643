"""`codemix checkpoint` on a trained run: list, verify, average."""

import json
from pathlib import Path

import pytest
import torch

from megatron_codemix.bench.chaos.compare import read_tensors
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run

SAVE = [
    f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}",
    f"checkpoint.keep_every_tokens={10 * 8 * SEQUENCE}",
    "checkpoint.keep_last=3",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDirectory]:
    """Checkpoints after 10, 15 and 20 steps on two ranks."""
    folder = tmp_path_factory.mktemp("trained")
    config = write_run(folder / "data")
    run = RunDirectory(folder / "run")
    done = codemix("train", config, *SAVE, "--run-dir", run.path, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    return config, run


def test_list_tells_what_there_is(trained: tuple[Path, RunDirectory]) -> None:
    _, run = trained
    cut = run.checkpoint(19)
    cut.mkdir()
    try:
        rows = json.loads(codemix("checkpoint", "list", run.path, "--json").stdout)
        text = codemix("checkpoint", "list", run.path).stdout
    finally:
        cut.rmdir()
    assert [row["step"] for row in rows] == [10, 15, 19, 20]
    assert [row["complete"] for row in rows] == [True, True, False, True]
    assert [row["kept"] for row in rows] == [True, False, None, True]
    assert [row["tokens"] for row in rows] == [10 * 8 * SEQUENCE, 15 * 8 * SEQUENCE, None, 5120]
    for row in rows[:2]:
        files = [path for path in Path(row["path"]).iterdir() if path.name != "complete.json"]
        assert row["bytes"] == sum(path.stat().st_size for path in files)
    assert "DP2" in text
    assert "incomplete: " in text
    assert "complete, kept for good" in text


def test_verify_names_the_damaged_file(trained: tuple[Path, RunDirectory]) -> None:
    _, run = trained
    done = codemix("checkpoint", "verify", run.path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as written") == 3
    shard = sorted(run.checkpoint(15).glob("*.distcp"))[1]
    whole = shard.read_bytes()
    spoiled = bytearray(whole)
    spoiled[100] ^= 8
    shard.write_bytes(spoiled)
    try:
        found = codemix("checkpoint", "verify", run.path, "--json")
        one = codemix("checkpoint", "verify", run.checkpoint(10))
    finally:
        shard.write_bytes(whole)
    assert found.returncode == 2
    report = json.loads(found.stdout)
    assert not report["ok"]
    problems = {Path(row["path"]).name: row["problems"] for row in report["checkpoints"]}
    said = f"{shard}: its content is not what was written"
    assert problems == {"iter_0000010": [], "iter_0000015": [said], "iter_0000020": []}
    assert one.returncode == 0


def test_average_is_torchs_and_can_be_used_like_a_run(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    config, run = trained
    mean = RunDirectory(tmp_path / "mean")
    folders = [run.checkpoint(step) for step in (10, 15, 20)]
    weights = [1.0, 2.0, 0.5]
    options = [part for value in weights for part in ("--weight", str(value))]
    done = codemix("checkpoint", "average", *folders, *options, "--out", mean.path)
    assert done.returncode == 0, done.stderr
    terms = [read_tensors(folder) for folder in folders]
    found = read_tensors(mean.checkpoint(20))
    names = [name for name in terms[0] if not name.startswith("optimizer.")]
    assert sorted(found) == sorted(names)
    for name in names:
        parts = [w * term[name].double() for w, term in zip(weights, terms, strict=True)]
        expected = (sum(parts) / sum(weights)).to(terms[0][name].dtype)
        assert torch.equal(found[name], expected), name
    assert codemix("checkpoint", "verify", mean.path).returncode == 0
    scored = codemix("evaluate", mean.path, "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["step"] == 20
    child = ["train", config, "--run-dir", tmp_path / "child", "data.restart=true"]
    origin = f"init_from={{run: {mean.path}, load: weights}}"
    done = codemix(*child, origin)
    assert done.returncode == 0, done.stderr
    refused = codemix(
        *child[:-2], tmp_path / "other", origin.replace("weights", "weights+optimizer")
    )
    assert refused.returncode == 2
    assert "has weights alone" in refused.stderr


def test_models_that_are_not_alike_are_not_averaged(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    _, run = trained
    config = write_run(tmp_path / "data", model={"ffn_hidden_size": 96})
    other = tmp_path / "other"
    assert codemix("train", config, "--run-dir", other).returncode == 0
    done = codemix("checkpoint", "average", run.path, other, "--out", tmp_path / "mean")
    assert done.returncode == 2, done.stderr
    assert "only checkpoints of the same model can be averaged" in done.stderr
    assert not (tmp_path / "mean" / "status.json").exists()


def test_the_last_one_named_must_be_the_last_of_its_run(
    trained: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    _, run = trained
    folders = [run.checkpoint(step) for step in (20, 10)]
    done = codemix("checkpoint", "average", *folders, "--out", tmp_path / "mean")
    assert done.returncode == 2
    assert "must be the last of its run (step 20)" in done.stderr
