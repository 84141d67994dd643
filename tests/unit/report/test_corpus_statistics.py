"""Tokens and epochs of a corpus against closed forms; the page as a browser would read it."""

import base64
import json
import random
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.statistics.count import count_corpus
from megatron_codemix.corpus.statistics.samples import NUM_PIECES, PIECE_CHARACTERS
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.statistics.summary import summarise
from megatron_codemix.corpus.store import hash_files, source_files
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.tokenizer import Tokenizer, tokenizer_hash
from megatron_codemix.errors import DataError
from megatron_codemix.report.corpus_statistics.epochs import answer, token_question
from megatron_codemix.report.corpus_statistics.page import render_page
from megatron_codemix.report.corpus_statistics.tokens import estimated_tokens
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.outlook import outlook
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers import tiny
from tests.helpers.conversations import write_merging_tokenizer
from tests.helpers.html_page import Page
from tests.helpers.study_files import STUDY, small_tree, write_study

OPTIONS = CountOptions(num_samples=2, seed=1, validation_fraction=0.1, has_pieces=True)
HASHES = {"text": "a" * 64, "code": "b" * 64}
"""Of files that no shard is made of."""
OF_BYTES = STUDY.replace("vocabulary_size: 64", f"vocabulary_size: {tiny.VOCABULARY}")


def write_source(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": f"{path.stem}/{n}", "text": text}) for n, text in enumerate(texts)]
    path.write_text("".join(f"{line}\n" for line in lines))


def corpus_of_bytes(folder: Path) -> dict[str, int]:
    """Two sources; tokens to train on of each, by a tokenizer that makes each byte a token."""
    tokens = {}
    for source, letter in (("text", "t"), ("code", "\u00e9")):
        texts = [letter * (1 + 7 * number) for number in range(40)]
        write_source(folder / f"{source}.jsonl", texts)
        tokens[source] = sum(
            len(text.encode()) + 1
            for number, text in enumerate(texts)
            if split_of(f"{source}/{number}", OPTIONS.validation_fraction) == "train"
        )
    return tokens


def tree_without_shards(folder: Path) -> StudyTree:
    (folder / "data").mkdir(parents=True)
    tiny.write_tokenizer(folder / "data" / "tokenizer.json")
    path = write_study(folder, OF_BYTES)
    return identify(expand(load_study(path, data_root=folder / "data")))


def test_epochs_of_estimated_tokens_are_those_of_a_closed_form(tmp_path: Path) -> None:
    tokens = corpus_of_bytes(tmp_path / "corpus")
    tree = tree_without_shards(tmp_path)
    question = token_question(tree, None, HASHES)
    assert question is not None
    assert question.needs_sample
    found = answer(question, count_corpus(tmp_path / "corpus", OPTIONS).sources)
    for source, number in tokens.items():
        told = found["sources"][source]
        assert (told["tokens"], told["error"], told["known_from"]) == (number, 0, "sample")
        assert told["bytes_per_token"] == 1
    runs = {run["run"]: run["sources"] for run in found["study"]["runs"]}
    # 640 tokens a phase: half code, then a quarter, then 200 tokens (256 in whole steps) of these.
    assert runs["text"]["text"]["epochs"] == pytest.approx(640 / tokens["text"])
    later = runs["balanced-then-text"]
    assert later["text"]["tokens_in_phase"] == 480
    assert later["text"]["tokens_in_chain"] == 320 + 480
    assert later["text"]["epochs"] == pytest.approx(800 / tokens["text"])
    assert later["code"]["epochs"] == pytest.approx((320 + 160) / tokens["code"])


def test_a_source_read_more_than_four_times_is_warned_of(tmp_path: Path) -> None:
    write_source(tmp_path / "corpus" / "text.jsonl", ["a" * 400])
    write_source(tmp_path / "corpus" / "code.jsonl", ["b" * 79])
    tree = tree_without_shards(tmp_path)
    question = token_question(tree, None, HASHES)
    assert question is not None
    options = CountOptions(num_samples=0, seed=0, validation_fraction=0, has_pieces=True)
    study = answer(question, count_corpus(tmp_path / "corpus", options).sources)["study"]
    # Code has 80 tokens: 320 of them are exactly 4 epochs, which is not too often.
    often = {
        run["run"]: [name for name, one in run["sources"].items() if one["is_repeated_often"]]
        for run in study["runs"]
    }
    assert often == {"text": [], "balanced": [], "balanced-then-text": ["code"],
                     "cooldown": ["code"]}  # fmt: skip
    assert study["warnings"][0] == "balanced-then-text: code is read 6.0 times by its end"


def test_with_prepared_shards_epochs_are_those_of_the_plan(tmp_path: Path) -> None:
    corpus_of_bytes(tmp_path / "corpus")
    small_tree(tmp_path)
    hashes = {}
    for source, parts in source_files(tmp_path / "corpus").items():
        hashes[source] = hash_files(parts)
        change_shard(tmp_path, source, origin={"corpus_sha256": hashes[source]})
    tree = tree_as_it_is(tmp_path)
    question = token_question(tree, None, hashes)
    assert question is not None
    assert not question.needs_sample
    found = answer(question, count_corpus(tmp_path / "corpus", OPTIONS).sources)
    assert found["tokenizer"] is None
    assert found["sources"]["text"]["tokens"] == 4001
    assert found["other_shards"] == []
    for run, phase in zip(found["study"]["runs"], outlook(tree), strict=True):
        assert {name: one["epochs"] for name, one in run["sources"].items()} == phase.epochs


def test_a_shard_of_another_corpus_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    tokens = corpus_of_bytes(tmp_path / "corpus")
    data = tmp_path / "data"
    small_tree(tmp_path)
    write_study(tmp_path, OF_BYTES)
    tiny.write_tokenizer(data / "tokenizer.json")
    counts = count_corpus(tmp_path / "corpus", OPTIONS).sources
    made_by = {"tokenizer_hash": tokenizer_hash(data / "tokenizer.json")}
    same = {"num_documents": counts["code"].train_documents,
            "num_bytes": counts["code"].train_bytes}  # fmt: skip
    change_shard(tmp_path, "text", **made_by, origin={"validation_fraction": 0.02})
    change_shard(tmp_path, "code", **made_by, **same)
    change_shard(tmp_path, "markup", **made_by)
    tree = tree_as_it_is(tmp_path)
    question = token_question(tree, None, HASHES)
    assert question is not None
    assert question.needs_sample
    found = answer(question, counts)
    # The shard says 4,001 tokens, 16,004 bytes of 10 documents.
    assert found["sources"]["text"]["tokens"] == tokens["text"]
    assert found["sources"]["text"]["known_from"] == "sample"
    (only,) = found["study"]["runs"][0]["sources"].values()
    assert only["epochs"] == pytest.approx(640 / tokens["text"])
    (said,) = found["other_shards"]
    assert "text_train is not of this corpus (10 documents with 15.6 KiB of text at" in said
    assert f"{counts['text'].train_documents} documents with" in said
    # Documents and bytes of the shard of code are those of the corpus.
    assert found["sources"]["code"]["known_from"] == "shard"
    assert found["sources"]["code"]["tokens"] == 4001
    figures = summarise(tmp_path / "corpus", count_corpus(tmp_path / "corpus", OPTIONS))
    page = Page()
    page.feed(render_page(figures | {"tokens": found}, OPTIONS))
    assert page.open == []
    assert said in page.text
    (data / "tokenizer.json").unlink()
    question = token_question(tree_as_it_is(tmp_path), None, HASHES)
    assert question is not None
    found = answer(question, counts)
    assert found["sources"]["text"]["known_from"] == "shard of other text"
    assert len(found["other_shards"]) == 1


def change_shard(folder: Path, source: str, **fields: object) -> None:
    """A manifest of `small_tree` with other fields."""
    path = folder / "data" / f"{source}_train.manifest.json"
    Manifest.load(path).model_copy(update=fields).save(path)


def tree_as_it_is(folder: Path) -> StudyTree:
    """The study beside what is in its folder of data."""
    return identify(expand(load_study(folder / "study.yaml", data_root=folder / "data")))


def test_the_estimate_is_within_its_error(tmp_path: Path) -> None:
    """Of texts of which some compress three times as well as others; three standard errors."""
    write_merging_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    rng = random.Random(2)
    words = [piece.strip() for piece in Path(__file__).read_text().split()]
    texts = []
    for number in range(300):
        size = 2000 * (1 + number % 9)
        is_noise = number % 3 == 0
        drawn = rng.choices(words, k=size // 5)
        texts.append(rng.randbytes(size // 2).hex() if is_noise else " ".join(drawn))
    write_source(tmp_path / "corpus" / "text.jsonl", texts)
    options = CountOptions(num_samples=0, seed=3, validation_fraction=0, has_pieces=True)
    counts = count_corpus(tmp_path / "corpus", options).sources["text"]
    assert counts.pieces.seen == sum(-(-len(text) // PIECE_CHARACTERS) for text in texts)
    assert counts.pieces.seen > 1.5 * NUM_PIECES
    exact = sum(len(ids) + 1 for ids in tokenizer.encode_batch(texts))
    told = estimated_tokens(counts, tokenizer)
    edges = counts.pieces.seen  # a token more where a piece ends within one
    assert abs(told.tokens - exact) <= 3 / 1.96 * told.error + edges
    assert told.error < 0.1 * exact


def test_errors_name_what_is_missing(tmp_path: Path) -> None:
    tree = tree_without_shards(tmp_path)
    with pytest.raises(DataError, match="'code', which the corpus does not have"):
        token_question(tree, None, {"text": "a", "kode": "b"})
    (tmp_path / "data" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match="with --tokenizer"):
        token_question(tree, None, HASHES)
    tiny.write_tokenizer(tmp_path / "like_it.json")
    question = token_question(tree, tmp_path / "like_it.json", HASHES)
    assert question is not None
    assert question.needs_sample
    assert token_question(None, None, {"text": "a"}) is None


def test_the_page_stands_alone_and_shows_texts_as_they_are(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script> & <b>bold</b> {{ 7 * 7 }}"
    write_source(tmp_path / "corpus" / "text.jsonl", [attack, attack])
    write_source(tmp_path / "corpus" / "<i>$x$ \u4e2d.jsonl", ["def f(): pass"])
    write_source(tmp_path / "corpus" / "empty.jsonl", [])
    counts = count_corpus(tmp_path / "corpus", OPTIONS)
    figures = summarise(tmp_path / "corpus", counts) | {"tokens": None}
    page = Page()
    page.feed(render_page(figures, OPTIONS))
    assert page.open == []
    assert attack in page.text
    assert "1 document with the text of another one" in page.text
    assert all(place.startswith("data:") for place in page.fetched)
    assert {link.removeprefix("#") for link in page.links} <= set(page.places)
    assert all(image["alt"] for image in page.images)
    for image in page.images:
        svg = base64.b64decode((image["src"] or "").partition("base64,")[2]).decode()
        assert "<svg" in svg
    assert render_page(figures, OPTIONS) == render_page(figures, OPTIONS)


def test_the_page_has_every_part(tmp_path: Path) -> None:
    """Stages, what was left out, duplicates, contamination, synthetic code, tokens, epochs."""
    corpus_of_bytes(tmp_path / "corpus")
    question = token_question(tree_without_shards(tmp_path), None, HASHES)
    assert question is not None
    counts = count_corpus(tmp_path / "corpus", OPTIONS)
    figures = summarise(tmp_path / "corpus", counts)
    figures["tokens"] = answer(question, counts.sources)
    spread = {"bins": [1] * 20, "mean": 0.5}
    figures["sources"]["code"]["synthetic"] = {
        "documents": 20, "families": {"lists": 20}, "methods": {"grammar": 20},
        "shapes": {"module": 20}, "difficulty": spread, "mutation_score": spread,
    }  # fmt: skip
    text = {"source": "code", "id": "a", "text": "x"}
    example = {"kind": "near-duplicate", "similarity": 0.8, "dropped": text, "kept": text}
    figures["duplicates"]["found"] = {
        "pairs": {"near-duplicate": {"code": {"text": 17}}},
        "cluster_sizes": {str(size): 100 - size for size in range(2, 40)},
        "examples": [example],
    }
    held = {"item": "7", "item_text": "what", "document": "d", "document_text": "what is",
            "source": "text", "words": 13, "words_found": 12}  # fmt: skip
    figures["contamination"] = [
        {"task": "arc_easy", "items": 2376, "items_found": 1, "items_mostly_found": 1,
         "documents_hit": 3, "mean_share_of_found_items": 0.92, "examples": [held]}
    ]  # fmt: skip
    dropped = {f"reason {n}": {"count": n, "first": ["one", "two"]} for n in range(1, 20)}
    of_source = {"read": 400, "kept": 210, "num_dropped": 190, "dropped": dropped,
                 "changed": {"masked EMAIL": 3}, "tallies": {"language": {"en": 5}}}  # fmt: skip
    names = [f"source {number}" for number in range(9)]
    figures["stages"] = [{"name": "filter", "sources": dict.fromkeys(names, of_source)}]
    page = Page()
    page.feed(render_page(figures, OPTIONS))
    assert page.open == []
    for words in ("Synthetic code", "arc_easy", "2,376", "masked EMAIL", "reason 19",
                  "Epochs in the study small", "balanced-then-text", "that stays"):  # fmt: skip
        assert words in page.text, words
    titles = [image["alt"] or "" for image in page.images]
    for start in ("filter: kept", "filter: left out", "Clusters", "code: families", "Epochs"):
        assert any(title.startswith(start) for title in titles), start
    assert len(np.unique(titles)) == len(titles)
