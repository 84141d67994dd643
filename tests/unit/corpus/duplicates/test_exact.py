"""Exact duplicates on disk: those that a dictionary in memory finds, and datatrove."""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from megatron_codemix.corpus.document import Document, normalise
from megatron_codemix.corpus.duplicates import exact as exact_module
from megatron_codemix.corpus.duplicates import fingerprints as fingerprints_module
from megatron_codemix.corpus.duplicates.contained import ExactDuplicates
from megatron_codemix.corpus.duplicates.search import (
    Found,
    SearchedPart,
    SearchOptions,
    find_duplicates,
)
from tests.helpers.planted import document, random_words

EXACT_ONLY = SearchOptions(jaccard=None)


def search(parts: list[list[Document]], options: SearchOptions, folder: Path) -> Found:
    return find_duplicates(
        [
            SearchedPart(number, documents[0].source, lambda _, documents=documents: documents)
            for number, documents in enumerate(parts)
        ],
        options,
        folder,
    )


def kept(parts: list[list[Document]], found: Found) -> list[list[Document]]:
    gone = [
        {int(number) for block in found.exact.of_part(part) for number in block["document"]}
        for part in range(len(parts))
    ]
    return [
        [one for number, one in enumerate(documents) if number not in gone[part]]
        for part, documents in enumerate(parts)
    ]


def corpus_with_copies(num_parts: int = 4, size: int = 500) -> list[list[Document]]:
    rng = Random(0)
    parts: list[list[Document]] = []
    texts: list[str] = []
    for part in range(num_parts):
        documents = []
        for number in range(size):
            is_copy = bool(texts) and rng.random() < 0.3
            text = rng.choice(texts) if is_copy else " ".join(random_words(rng, 20))
            texts.append(text)
            text = text.replace(" ", rng.choice([" ", "  ", "\n"]))
            source = "ab"[part % 2]
            documents.append(document(text, f"{part}-{number}", source))
        parts.append(documents)
    return parts


def keep_in_memory(documents: Iterable[Document]) -> list[Document]:
    duplicates = ExactDuplicates()
    for one in documents:
        duplicates.add(one)
    return [one for one in documents if duplicates.keeps(one)]


@pytest.fixture(params=["in one piece", "in many pieces"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in many pieces":
        monkeypatch.setattr(exact_module, "_RECORDS_IN_MEMORY", 50)
        monkeypatch.setattr(fingerprints_module, "CHUNK_DOCUMENTS", 64)


@pytest.mark.usefixtures("_pieces")
def test_what_stays_is_what_a_dictionary_keeps(tmp_path: Path) -> None:
    parts = corpus_with_copies()
    expected = keep_in_memory([one for documents in parts for one in documents])
    found = kept(parts, search(parts, EXACT_ONLY, tmp_path))
    assert [one.id for documents in found for one in documents] == [one.id for one in expected]
    assert len(expected) < 0.8 * sum(map(len, parts))


def test_any_number_of_copies_of_one_text_fits_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All meet in one file, which is read in pieces."""
    monkeypatch.setattr(exact_module, "_RECORDS_IN_MEMORY", 10)
    parts = [[document("the same text", f"{part}-{row}") for row in range(300)] for part in "abc"]
    (expected,) = keep_in_memory([one for documents in parts for one in documents])
    found = kept(parts, search(parts, EXACT_ONLY, tmp_path))
    assert [one.id for documents in found for one in documents] == [expected.id]


def test_what_goes_names_what_stays(tmp_path: Path) -> None:
    parts = corpus_with_copies()
    found = search(parts, EXACT_ONLY, tmp_path)
    num_drops = 0
    for part, documents in enumerate(parts):
        for drop in np.concatenate(list(found.exact.of_part(part))):
            gone = documents[drop["document"]]
            stays = parts[drop["kept_part"]][drop["kept_document"]]
            assert normalise(gone.text) == normalise(stays.text)
            assert gone.id != stays.id
            num_drops += 1
    assert num_drops == sum(map(len, parts)) - sum(map(len, kept(parts, found)))


def test_within_a_source_copies_of_other_sources_stay(tmp_path: Path) -> None:
    parts = corpus_with_copies()
    found = kept(parts, search(parts, SearchOptions(jaccard=None, within=True), tmp_path))
    for source in "ab":
        mine = [one for documents in parts for one in documents if one.source == source]
        stays = [one for documents in found for one in documents if one.source == source]
        assert [one.id for one in stays] == [one.id for one in keep_in_memory(mine)]


def test_a_source_that_is_kept_first_loses_nothing_to_others(tmp_path: Path) -> None:
    parts = corpus_with_copies()
    options = SearchOptions(jaccard=None, keep_first=("b",))
    found = kept(parts, search(parts, options, tmp_path))
    mine = [one for documents in parts for one in documents if one.source == "b"]
    stays = [one for documents in found for one in documents if one.source == "b"]
    assert [one.id for one in stays] == [one.id for one in keep_in_memory(mine)]
    texts = {normalise(one.text) for one in mine}
    assert all(
        normalise(one.text) not in texts
        for documents in found
        for one in documents
        if one.source == "a"
    )


def as_bytes(one: Any) -> bytes:
    return normalise(one.text).encode()


def test_datatrove_keeps_as_many_and_the_same_texts(tmp_path: Path) -> None:
    dedup = pytest.importorskip("datatrove.pipeline.dedup.exact_dedup")
    parts = corpus_with_copies()
    config = dedup.ExactDedupConfig(content_getter=as_bytes)
    signatures, duplicates = str(tmp_path / "signatures"), str(tmp_path / "duplicates")
    from datatrove.data import Document as TheirDocument

    given = [[TheirDocument(text=one.text, id=one.id) for one in part] for part in parts]
    for rank, documents in enumerate(given):
        dedup.ExactDedupSignature(signatures, config).run(documents, rank, len(parts))
    dedup.ExactFindDedups(signatures, duplicates, config).run(None, 0, 1)
    theirs = [
        one.text
        for rank, documents in enumerate(given)
        for one in dedup.ExactDedupFilter(duplicates, config).run(documents, rank, len(parts))
    ]
    ours = kept(parts, search(parts, EXACT_ONLY, tmp_path / "ours"))
    assert sorted(map(normalise, theirs)) == sorted(
        normalise(one.text) for documents in ours for one in documents
    )
