"""`codemix corpus split`: the sides that `codemix data prepare` would make."""

import json
from pathlib import Path

import pytest

from megatron_codemix.corpus.split import SPLITS, split_of
from megatron_codemix.corpus.store import source_files
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.tokenizer_training import train_tokenizer
from tests.helpers.commands import codemix
from tests.helpers.corpora import write_corpus


def write_whole_records(folder: Path) -> Path:
    """With all fields: what stands for one that is missing depends on where a record lies."""
    folder.mkdir()
    for source in ("code", "text"):
        names = [f"{source}/{number}" for number in range(90)]
        entries = [
            {
                "id": name,
                "path": name,
                "origin": f"o{n // 2}",
                "text": f"some words of {name}\n" * 3,
            }
            for n, name in enumerate(names)
        ]
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        (folder / f"{source}.jsonl").write_text(lines)
    return folder


def test_shards_of_the_sides_are_those_of_the_whole(tmp_path: Path):
    corpus = write_whole_records(tmp_path / "corpus")
    tokenizer = train_tokenizer(corpus, 300, tmp_path / "tokenizer.json").path
    prepare_corpus(corpus, tokenizer, tmp_path / "whole", validation_fraction=0.2)
    asked = ("corpus", "split", corpus, "--out", tmp_path / "sides", "--validation-fraction", "0.2")
    done = codemix(*asked, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for side in SPLITS:
        folder = tmp_path / side
        prepare_corpus(tmp_path / "sides" / side, tokenizer, folder, validation_fraction=0)
        for source in ("code", "text"):
            for suffix in (".bin", ".idx", ".documents.jsonl"):
                one = (folder / f"{source}.train{suffix}").read_bytes()
                assert one == (tmp_path / "whole" / f"{source}.{side}{suffix}").read_bytes()
            num_documents = told[side]["sources"][source]["num_documents"]
            lines = (folder / f"{source}.train.documents.jsonl").read_bytes().count(b"\n")
            assert num_documents == lines
    again = codemix(*asked)
    assert again.stdout.count("complete already") == 2


def test_a_source_with_nothing_on_one_side_is_warned_of(tmp_path: Path):
    corpus = write_whole_records(tmp_path / "corpus")
    few = [f"paper {number}" for number in range(30)]
    train = [one for one in few if split_of(one, 0.2) == "train"][:3]
    held_out = [one for one in few if split_of(one, 0.2) == "validation"][:2]
    for source, origins in (("papers", train), ("notes", held_out)):
        lines = [json.dumps({"origin": one, "text": one}) for one in origins]
        (corpus / f"{source}.jsonl").write_text("\n".join(lines))
    asked = ("corpus", "split", corpus, "--out", tmp_path / "sides", "--validation-fraction")
    done = codemix(*asked, "0.2", "--json")
    assert done.returncode == 0
    assert "source papers: validation has none of its 3 documents at" in done.stderr
    assert (
        "source notes: train has none of its 2 documents at validation fraction 0.2" in done.stderr
    )
    assert "change --validation-fraction" in done.stderr
    assert "source code" not in done.stderr
    assert json.loads(done.stdout)["validation"]["sources"]["papers"]["num_documents"] == 0
    # Found complete, it is said again; with nothing held out on purpose, it is not.
    assert "source papers: validation has none" in codemix(*asked, "0.2").stderr
    assert "has none" not in codemix(*asked[:4], tmp_path / "all", asked[-1], "0").stderr


def test_a_dry_run_writes_nothing(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    asked = ("corpus", "split", corpus, "--out", tmp_path / "sides", "--dry-run", "--json")
    planned = json.loads(codemix(*asked, "--task", "1/2").stdout)
    assert planned["train"]["parts"] == planned["train"]["parts_to_do"] == 1
    assert planned["train"]["options"] == {"split": "train", "validation_fraction": 0.05}
    assert not (tmp_path / "sides").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--task", "3/2"], "expected I/N with 1 <= I <= N"),
        (["--validation-fraction", "1"], "expected 0 <= fraction < 1"),
        (["--source", "prose"], "has no source 'prose'; it has code, text"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: list[str], problem: str):
    corpus = write_corpus(tmp_path / "corpus")
    refused = codemix("corpus", "split", corpus, "--out", tmp_path / "sides", *options)
    assert refused.returncode == 2
    assert problem in refused.stderr
    assert not (tmp_path / "sides").exists()


def test_tasks_of_both_sides_are_told_apart(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    asked = ("corpus", "split", corpus, "--out", tmp_path / "sides")
    first = codemix(*asked, "--task", "1/2")
    assert first.stdout.count("1 of 2 are for other tasks to make") == 2
    refused = codemix("data", "tokenizer", tmp_path / "sides/train", "--out", tmp_path / "t.json",
                      "--vocabulary-size", "300")  # fmt: skip
    assert refused.returncode == 2
    assert "is not complete; give the command that makes it again" in refused.stderr
    assert codemix(*asked, "--task", "2/2").returncode == 0
    assert list(source_files(tmp_path / "sides" / "train")) == ["code", "text"]


def test_a_page_about_a_side_lies_beside_it_and_disturbs_no_one(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    asked = ("corpus", "split", corpus, "--out", tmp_path / "sides")
    assert codemix(*asked).returncode == 0
    assert codemix("corpus", "stats", tmp_path / "sides" / "train").returncode == 0
    assert (tmp_path / "sides" / "train-statistics.html").is_file()
    assert "complete already" in codemix(*asked).stdout
    (tmp_path / "sides" / "notes.txt").write_text("")
    assert "holds something else already (notes.txt)" in codemix(*asked).stderr
