"""What a stage over a corpus refuses, and loses nothing by it."""

from pathlib import Path

import pytest

from megatron_codemix.corpus.stages.parts import Share
from megatron_codemix.errors import DataError, RunError, UnavailableError
from megatron_codemix.locks import exclusive, exclusive_share
from tests.helpers.kills import contents
from tests.helpers.staged_corpus import ShortStage, run, write_corpus


def test_the_same_share_is_not_made_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("megatron_codemix.corpus.stages.run._WAIT_SECONDS", 0.0)
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    with exclusive_share(out / ".parts", "stage", "split of a corpus", 0, 2):
        for share in (Share(0, 1), Share(0, 2)):
            with pytest.raises(RunError, match="split of a corpus is already running here"):
                run(corpus, out, share=share)
        run(corpus, out, share=Share(1, 2))
    run(corpus, out, share=Share(0, 2))
    run(corpus, tmp_path / "one")
    assert contents(out) == contents(tmp_path / "one")


@pytest.mark.parametrize("asked", [Share(0, 3), Share(1, 4), Share(0, 12), Share(0, 1)])
def test_shares_of_another_count_are_not_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Share
):
    monkeypatch.setattr("megatron_codemix.corpus.stages.run._WAIT_SECONDS", 0.0)
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    lock = out / ".parts" / ".stage-2-of-2.lock"
    with exclusive(lock, "a share"), pytest.raises(RunError, match="already running here"):
        run(corpus, out, share=asked)
    assert not list(out.glob("*/*.zst"))
    run(corpus, out, share=asked)  # one after the other they are welcome
    run(corpus, out, share=Share(0, 2))
    run(corpus, out, share=Share(1, 2))
    run(corpus, tmp_path / "one")
    assert contents(out) == contents(tmp_path / "one")


def test_a_place_that_holds_something_else_is_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    for out in (corpus, corpus / "split", tmp_path):
        with pytest.raises(DataError, match="is not apart from the corpus"):
            run(corpus, out)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("")
    with pytest.raises(DataError, match="holds something that no stage of a corpus has made"):
        run(corpus, tmp_path / "used")
    run(corpus, tmp_path / "out")
    with pytest.raises(DataError, match="holds what `codemix corpus split` has made"):
        run(corpus, tmp_path / "out", ShortStage())
    with pytest.raises(DataError, match="has no source 'prose'; it has code, text"):
        run(corpus, tmp_path / "new", sources=["prose"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_damaged_file_stops_and_the_others_stay(tmp_path: Path, num_workers: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    path = corpus / "text" / "part-00002.jsonl"
    whole = path.read_text()
    path.write_text(whole + "{")
    with pytest.raises(DataError, match=r"part-00002\.jsonl: line 13 is not JSON"):
        run(corpus, out, ShortStage(), workers=num_workers)
    path.write_text(whole)
    # With another worker, the part that it was at was not finished either.
    assert 1 <= run(corpus, out, ShortStage(), workers=num_workers).num_made <= num_workers
    run(corpus, tmp_path / "one", ShortStage())
    assert contents(out) == contents(tmp_path / "one")


def test_too_little_disk_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 100}))
    with pytest.raises(UnavailableError, match="split of a corpus needs about"):
        run(corpus, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.zst"))


def test_a_source_cannot_be_named_as_the_folder_of_what_is_left_out(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "dropped.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="source 'dropped': is the folder of what is left out"):
        run(tmp_path / "corpus", tmp_path / "out")
