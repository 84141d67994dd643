"""Wrong input ends with exit code 2 and one readable block, before any process group is started."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers.commands import codemix
from tests.helpers.tiny import (
    default_config,
    markov_documents,
    merge,
    write_run,
    write_shard,
    write_tokenizer_into,
)


def refused(config: Path, *arguments: str) -> str:
    """The message of a `codemix train` that must be refused, and must have started nothing."""
    run = config.parent / "run"
    done = codemix("train", config, *arguments, "--run-dir", run)
    assert done.returncode == 2, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    assert not run.exists(), "something was written"
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.sed=1"], ["train.sed", "did you mean", "seed"]),
        (["train.train_tokens=many"], ["train.train_tokens", "many"]),
        (["data.mixture.weights={code: 0.6, text: 0.3}"], ["weights", "0.9"]),
        (["data.mixture.weights={code: 0.6, txt: 0.4}"], ["txt", "did you mean", "text"]),
        (["layout.tensor=3", "--nproc", "4"], ["4", "3"]),
        (["layout.tensor=2", "model.num_query_groups=1", "--nproc", "2"], ["num_query_groups"]),
        (["layout.pipeline=2", "model.num_layers=3", "--nproc", "2"], ["num_layers", "3"]),
        (["data.sequence_length=1M"], ["sequence_length"]),
        (["model.vocabulary_size=300"], ["vocabulary_size", "257"]),
        (["tokenizer.path=nowhere.json"], ["nowhere.json"]),
        (["data.sources.text.train=nowhere/text"], ["nowhere/text"]),
        (["backend.device=cuda"], ["cuda"]),
        (["model.transformer_overrides={hidden_dropout: 0.1}"], ["hidden_dropout"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in value[0] else "",
)
def test_wrong_configuration(tmp_path: Path, arguments: list[str], expected: list[str]) -> None:
    message = refused(write_run(tmp_path), *arguments)
    for part in expected:
        assert part in message


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    message = refused(
        write_run(tmp_path), "train.sed=1", "optimizer.weight_decay=heavy", "layout.tensr=2"
    )
    assert all(part in message for part in ("sed", "heavy", "tensr"))


def test_shard_of_another_tokenizer(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_shard(tmp_path / "text", markov_documents(1, 50), tokenizer="f" * 64)
    message = refused(config)
    assert "ffffffff" in message
    assert "text" in message


@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_truncated_shard(tmp_path: Path, suffix: str) -> None:
    config = write_run(tmp_path)
    path = tmp_path / f"text{suffix}"
    path.write_bytes(path.read_bytes()[:-10])
    assert f"text{suffix}" in refused(config)


def test_flipped_bit_of_an_index_is_refused_where_the_index_is_read(tmp_path: Path) -> None:
    """The default order reads windows of tokens and no index; document masks need it."""
    config = write_run(tmp_path)
    flip_bit(tmp_path / "text.idx")
    train = ("train", config, "data.document_mask=true", "--run-dir", tmp_path / "run")
    for done in (codemix(*train), codemix("data", "verify", tmp_path / "text")):
        assert done.returncode == 2, done.stderr
        assert "text.idx" in done.stderr
        assert "Traceback" not in done.stderr


def test_flipped_bit_of_tokens_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """Only reading the block can tell; then the run ends with the block's name, not a traceback."""
    config = write_run(tmp_path)
    flip_bit(tmp_path / "text.bin")
    done = codemix("train", config, "--run-dir", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert "text.bin" in done.stderr
    assert "block 0" in done.stderr
    assert "Traceback" not in done.stderr


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_run_directory_of_another_identity(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    run = tmp_path / "run"
    short = "train.train_tokens=1024"
    assert codemix("train", config, short, "--run-dir", run).returncode == 0
    before = (run / "config.yaml").read_bytes()
    done = codemix("train", config, short, "train.seed=2", "--run-dir", run)
    assert done.returncode == 2
    assert "another identity" in done.stderr
    assert (run / "config.yaml").read_bytes() == before


def test_parent_that_is_not_done(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    message = refused(config, f"init_from={{run: {tmp_path}/parent, load: weights}}")
    assert "parent" in message


def test_model_that_does_not_fit_its_parent(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    short = "train.train_tokens=1024"
    assert codemix("train", config, short, "--run-dir", tmp_path / "parent").returncode == 0
    init_from = f"init_from={{run: {tmp_path}/parent, load: weights}}"
    message = refused(config, short, init_from, "model.num_layers=4")
    assert "num_layers" in message


def test_less_free_disk_than_the_checkpoints_need(tmp_path: Path) -> None:
    """A trillion parameters: their checkpoints fit on no machine that runs this test."""
    folder = tmp_path / "data"
    tokenizer = write_tokenizer_into(folder)
    for source in ("code", "text"):
        write_shard(folder / source, [np.arange(200)] * 20, tokenizer=tokenizer, source=source)
    huge = {"num_layers": 1000, "hidden_size": 32768, "ffn_hidden_size": 131072}
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(merge(default_config(folder), {"model": huge})))
    message = refused(config)
    assert "free" in message


def test_unknown_command_and_option() -> None:
    assert codemix("trian", "x").returncode == 2
    assert codemix("train", "x", "--unknown").returncode == 2
    assert "x" in codemix("train", "x").stderr
