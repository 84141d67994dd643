"""Training a tokenizer: deterministic, fair between sources, blind to held-out text."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.corpus.store import source_files
from megatron_codemix.data.tokenizer import Tokenizer, tokenizer_hash
from megatron_codemix.data.tokenizer_training import (
    FILL_IN_THE_MIDDLE,
    TrainingSample,
    train_tokenizer,
)
from megatron_codemix.data.transforms.fill_in_the_middle import find_sentinels
from megatron_codemix.errors import DataError
from tests.helpers.corpora import write_corpus


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_same_corpus_gives_the_same_file(tmp_path: Path, threads: str):
    corpus = write_corpus(tmp_path / "corpus")
    code = (
        "import sys; from pathlib import Path\n"
        "from megatron_codemix.data.tokenizer_training import train_tokenizer\n"
        "train_tokenizer(Path(sys.argv[1]), 300, Path(sys.argv[2]))\n"
    )
    out = tmp_path / "tokenizer.json"
    subprocess.run(
        [sys.executable, "-c", code, str(corpus), str(out)],
        env={**os.environ, "RAYON_NUM_THREADS": threads},
        cwd=Path(__file__).parents[3],
        check=True,
    )
    trained = train_tokenizer(corpus, 300, tmp_path / "again.json")
    assert out.read_bytes() == trained.path.read_bytes()
    assert tokenizer_hash(out) == trained.hash


def test_held_out_text_does_not_shape_the_tokenizer(tmp_path: Path):
    hashes = []
    for marker in ("zyx", "qqq"):
        corpus = write_corpus(tmp_path / marker, marker=marker)
        trained = train_tokenizer(corpus, 300, tmp_path / f"{marker}.json", validation_fraction=0.2)
        hashes.append(trained.hash)
    assert hashes[0] == hashes[1]


def test_every_source_gives_the_same_bytes(tmp_path: Path):
    trained = train_tokenizer(
        write_corpus(tmp_path / "corpus"), 300, tmp_path / "t.json", max_bytes=2000
    )
    assert trained.bytes_per_source == {"code": 2000, "text": 2000}


def test_a_tiny_source_is_warned_of_and_can_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    corpus = write_corpus(tmp_path / "corpus")
    train_tokenizer(corpus, 300, tmp_path / "t.json")
    assert "to train on" not in caplog.text
    train = train_tokenizer(corpus, 300, tmp_path / "t.json", sources=["code"])
    assert list(train.bytes_per_source) == ["code"]
    assert not train.was_complete
    lines = [json.dumps({"origin": str(n), "text": f"note {n}"}) for n in range(8)]
    (corpus / "papers.jsonl").write_text("\n".join(lines))
    trained = train_tokenizer(corpus, 300, tmp_path / "t.json", validation_fraction=0.0)
    assert set(trained.bytes_per_source.values()) == {8 * len("note 0")}
    (said,) = [line for line in caplog.messages if "to train on" in line]
    assert said.startswith("source papers: has only 48 B to train on")
    assert "144 B of" in said
    assert "(--source)" in said
    caplog.clear()
    train_tokenizer(corpus, 300, tmp_path / "t.json", sources=["code", "text"])
    train_tokenizer(corpus, 300, tmp_path / "t.json", max_bytes=40)
    assert "to train on" not in caplog.text
    with pytest.raises(DataError, match="has no source 'paper'; it has code, papers, text"):
        train_tokenizer(corpus, 300, tmp_path / "t.json", sources=["paper"])


def test_a_complete_tokenizer_is_left_alone(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    first = train_tokenizer(corpus, 300, tmp_path / "t.json")
    again = train_tokenizer(corpus, 300, tmp_path / "t.json")
    assert (first.was_complete, again.was_complete) == (False, True)
    assert again.hash == first.hash
    assert not train_tokenizer(corpus, 301, tmp_path / "t.json").was_complete
    (tmp_path / "t.json").write_text("{}")
    repaired = train_tokenizer(corpus, 301, tmp_path / "t.json")
    assert not repaired.was_complete


def test_too_small_a_vocabulary_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="at least 257"):
        train_tokenizer(write_corpus(tmp_path / "corpus"), 256, tmp_path / "t.json")


def test_a_source_without_training_documents_is_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "markup.jsonl").write_text("")
    with pytest.raises(DataError, match="'markup'"):
        train_tokenizer(corpus, 300, tmp_path / "t.json")


def test_arguments_that_no_corpus_can_meet_are_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"fraction 1.5: expected 0 <= fraction < 1"):
        train_tokenizer(corpus, 300, tmp_path / "tokenizer.json", validation_fraction=1.5)
    with pytest.raises(DataError, match="a folder is there, and a file is wanted"):
        train_tokenizer(corpus, 300, tmp_path)


def test_a_bad_record_is_named_in_one_of_the_two_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    corpus = write_corpus(tmp_path / "corpus")
    with open(corpus / "text.jsonl", "ab") as lines:
        lines.write(b'{"text": "caf\xe9"}\n')
    train_tokenizer(corpus, 300, tmp_path / "tokenizer.json")
    assert [text for text in caplog.messages if "UTF-8" in text] == [
        f"{corpus}/text.jsonl: line 81 is not UTF-8, skipped"
    ]


def test_tokens_of_fill_in_the_middle_are_added_when_asked_for(tmp_path: Path):
    corpus, path = write_corpus(tmp_path / "corpus"), tmp_path / "t.json"
    train_tokenizer(corpus, 280, path)
    with pytest.raises(DataError, match="fill-in-the-middle needs tokens of its own"):
        find_sentinels(Tokenizer.load(path))
    trained = train_tokenizer(corpus, 280, path, fill_in_the_middle=True)
    assert not trained.was_complete
    assert trained.vocabulary_size == 280
    tokenizer = Tokenizer.load(path)
    sentinels = find_sentinels(tokenizer)
    assert [tokenizer.decode([number]) for number in sentinels] == list(FILL_IN_THE_MIDDLE)
    (tokens,) = tokenizer.encode_batch(["".join(FILL_IN_THE_MIDDLE)])
    assert not set(tokens.tolist()) & set(sentinels), "a text cannot spell them"
    with pytest.raises(DataError, match="at least 260 "):
        train_tokenizer(corpus, 259, path, fill_in_the_middle=True)


def test_giant_words_are_cut_in_training_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """One word takes time with the square of its length. Every character is still trained on."""
    giants = [" a" + "x" * 5000 + " b", "y" * 1024, "\n" * 1025 + "z"]
    write_texts(tmp_path / "corpus", giants)
    files = source_files(tmp_path / "corpus")
    sample = TrainingSample(files, 0.0, 10**9, "text", None)
    pieces = list(sample.texts())
    words = [word for piece in pieces for word in re.findall(r"\S+|\s+", piece)]
    assert max(map(len, words)) == 1024
    assert sample.num_cut_runs == 2
    assert sorted("".join(pieces)) == sorted("".join(giants))
    train_tokenizer(tmp_path / "corpus", 258, tmp_path / "t.json", validation_fraction=0.0)
    assert "characters without a space, or of spaces, cut in training: 2" in caplog.text


def test_short_words_are_trained_on_as_they_are(tmp_path: Path):
    texts = [" ".join(["word"] * 3000), "def f(x):\n    return x\n" * 200]
    write_texts(tmp_path / "corpus", texts)
    sample = TrainingSample(source_files(tmp_path / "corpus"), 0.0, 10**9, "text", None)
    assert sorted(sample.texts()) == sorted(texts)
    assert sample.num_cut_runs == 0


def write_texts(corpus: Path, texts: list[str]) -> None:
    corpus.mkdir()
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (corpus / "text.jsonl").write_text(lines)
