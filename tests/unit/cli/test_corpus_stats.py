"""`codemix corpus stats`, as it is typed."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from tests.helpers import tiny
from tests.helpers.corpora import write_corpus
from tests.helpers.study_files import STUDY, write_study


def test_the_page_and_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    data = tmp_path / "data"
    data.mkdir()
    tiny.write_tokenizer(data / "tokenizer.json")
    text = STUDY.replace("vocabulary_size: 64", f"vocabulary_size: {tiny.VOCABULARY}")
    study = write_study(tmp_path, text)
    asked = ["corpus", "stats", str(corpus), "--study", str(study), "--data", str(data)]
    assert main([*asked, "--samples", "2", "--json"]) == EXIT_DONE
    said = json.loads(capsys.readouterr().out)
    page = tmp_path / "corpus-statistics.html"
    assert said["page"] == str(page)
    assert "Epochs in the study small" in page.read_text()
    lines = (corpus / "code.jsonl").read_text().splitlines()
    assert said["sources"]["code"]["documents"] == len(lines)
    assert said["sources"]["code"]["bytes"] == sum(len(json.loads(one)["text"]) for one in lines)
    assert len(said["sources"]["text"]["samples"]) == 2
    assert said["tokens"]["study"]["runs"][0]["sources"]["text"]["tokens_in_chain"] == 640
    assert main([*asked, "--out", str(tmp_path / "page.html")]) == EXIT_DONE
    assert f"page: {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert sorted(path.name for path in corpus.iterdir()) == ["code.jsonl", "text.jsonl"]


def test_wrong_input_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    unfinished = write_corpus(tmp_path / "unfinished")
    (unfinished / ".parts").mkdir()
    damaged = write_corpus(tmp_path / "damaged")
    (damaged / "text.jsonl").write_text("no JSON\n")
    study = write_study(tmp_path)
    for arguments, words in (
        ([str(tmp_path / "nothing")], "no such corpus folder"),
        ([str(unfinished)], "is not complete"),
        ([str(damaged)], "line 1 is not JSON"),
        ([str(corpus), "--out", str(corpus)], "a folder is there"),
        ([str(corpus), "--out", str(study / "page.html")], "a file is there"),
        ([str(corpus), "--data", str(tmp_path)], "goes with --study"),
        ([str(corpus), "--tokenizer", str(study)], "not a tokenizer.json"),
        ([str(corpus), "--study", str(study), "--data", str(tmp_path)], "no prepared shard"),
    ):
        if "no prepared shard" in words:
            (corpus / "code.jsonl").rename(corpus / "kode.jsonl")
        assert main(["corpus", "stats", *arguments]) == EXIT_INPUT, arguments
        error = capsys.readouterr().err
        assert words in error, error
        assert "Traceback" not in error


def test_a_field_that_is_not_there_is_not_advised_to_be_named_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command has no option for it."""
    (tmp_path / "corpus").mkdir()
    table = pa.table({"content": ["some words"], "id": ["1"]})
    pq.write_table(table, tmp_path / "corpus" / "text.parquet")
    assert main(["corpus", "stats", str(tmp_path / "corpus")]) == EXIT_INPUT
    error = capsys.readouterr().err
    assert "no column 'text'" in error
    assert "codemix corpus local --text-field" in error
    assert "name the right field" not in error
    out = ["--out", str(tmp_path / "t.json"), "--vocabulary-size", "300"]
    assert main(["data", "tokenizer", str(tmp_path / "corpus"), *out]) == EXIT_INPUT
    assert "name the right field with --text-field" in capsys.readouterr().err


def test_the_tokenizer_need_not_be_of_the_studys_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, data = write_corpus(tmp_path / "corpus"), tmp_path / "data"
    data.mkdir()
    tiny.write_tokenizer(data / "tokenizer.json")
    asked = ["--study", str(write_study(tmp_path)), "--data", str(data)]  # of 64 entries
    assert main(["corpus", "stats", str(corpus), *asked, "--json"]) == EXIT_DONE
    told = json.loads(capsys.readouterr().out)["tokens"]
    assert told["tokenizer"] == str(data / "tokenizer.json")
    assert told["sources"]["code"]["bytes_per_token"] == 1
    assert main(["study", "plan", *asked[1:]]) == EXIT_INPUT
    assert f"model.vocabulary_size to {tiny.VOCABULARY}" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (tmp_path / "closed").mkdir(mode=0o500)
    place = tmp_path / "closed" / "page.html"
    assert main(["corpus", "stats", str(corpus), "--out", str(place)]) == EXIT_INPUT
    assert "cannot be written" in capsys.readouterr().err
