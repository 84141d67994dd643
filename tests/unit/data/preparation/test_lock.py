"""Preparations at once: one in a folder, several parts of it."""

import fcntl
import os
import re
from pathlib import Path

import pytest

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.data.preparation.lock import preparing, preparing_shard
from megatron_codemix.data.preparation.megatron_blocks import preprocess
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.preparation.sorted_shards import merge_parts
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import RunError
from megatron_codemix.locks import try_lock
from tests.helpers.corpora import write_corpus

FIRST, SECOND = Part(0, 2), Part(1, 2)
RUNNING = f"a preparation is already running here .process {os.getpid()}"


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("megatron_codemix.data.preparation.lock._WAIT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    return train_tokenizer(write_corpus(folder / "corpus"), 300, folder / "tokenizer.json").path


@pytest.mark.parametrize(
    ("held", "asked"), [(WHOLE, WHOLE), (WHOLE, FIRST), (FIRST, WHOLE), (FIRST, FIRST)]
)
def test_what_excludes_what(tmp_path: Path, held: Part, asked: Part):
    with (
        preparing(tmp_path, held),
        pytest.raises(RunError, match=RUNNING),
        preparing(tmp_path, asked),
    ):
        pass
    assert list(tmp_path.iterdir()) == [], "locks go with their owners"


def test_parts_do_not_exclude_one_another(tmp_path: Path):
    with preparing(tmp_path, FIRST), preparing(tmp_path, SECOND), preparing(tmp_path, Part(0, 3)):
        pass
    with preparing(tmp_path, WHOLE):
        pass


def test_the_lock_of_a_killed_preparation_is_taken_over(tmp_path: Path):
    (tmp_path / ".prepare.lock").write_text("123\n")
    (tmp_path / ".prepare-1-of-2.lock").write_text("124\n")
    with preparing(tmp_path, WHOLE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_owner_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Removed between opening and locking: the process that comes next would lock another file."""
    path = tmp_path / "lock"
    lock = fcntl.flock

    def owner_ends(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", owner_ends)
    handle = try_lock(path)
    assert handle is not None
    assert os.path.samestat(os.fstat(handle.fileno()), path.stat())
    assert try_lock(path) is None
    handle.close()


def test_a_second_preparation_is_refused_and_harms_nothing(tmp_path: Path, tokenizer: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"

    def prepare(part: Part = WHOLE) -> None:
        prepare_corpus(corpus, tokenizer, out, validation_fraction=0.2, part=part)

    prepare(FIRST)
    kept = sorted(out.rglob("*"))
    with preparing(out, FIRST):
        for part in (WHOLE, FIRST):
            with pytest.raises(RunError, match=re.escape(str(out)) + ": " + RUNNING):
                prepare(part)
        prepare(SECOND)
        with pytest.raises(RunError, match=RUNNING):
            merge_parts(out)
    assert set(kept) <= set(out.rglob("*"))
    merge_parts(out)
    prepare()
    assert not list(out.glob(".*"))


def test_preprocess_is_refused_for_the_same_prefix_alone(tmp_path: Path, tokenizer: Path):
    path = write_corpus(tmp_path / "corpus") / "code.jsonl"

    def run(prefix: Path) -> None:
        preprocess(
            [InputFile(path, path.name)],
            Tokenizer.load(tokenizer),
            prefix,
            keys=["text"],
            appends_eod=True,
            num_workers=1,
            advance=lambda amount: None,
        )

    with preparing_shard(tmp_path / "out" / "a"):
        with pytest.raises(RunError, match=RUNNING):
            run(tmp_path / "out" / "a")
        run(tmp_path / "out" / "b")
    run(tmp_path / "out" / "a")
    assert not list((tmp_path / "out").glob(".*"))
