"""Runs on disk and their merge."""

from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.data.preparation import runs
from megatron_codemix.data.preparation.runs import ENTRY, Documents, RunWriter, merge_runs, read_run

Triple = tuple[bytes, list[int], bytes]
"""Key, tokens, line."""


def random_documents(count: int, seed: int) -> list[Triple]:
    rng = np.random.default_rng(seed)
    return [
        # Few keys, so that many are equal; documents of equal keys are equal.
        (key, rng_of(key).integers(0, 999, rng_of(key).integers(1, 60)).tolist(), b"%d\n" % key[0])
        for key in (bytes([int(rng.integers(256)), 0]) * 12 for _ in range(count))
    ]


def rng_of(key: bytes) -> np.random.Generator:
    return np.random.default_rng(list(key))


def write_run(path: Path, documents: list[Triple]) -> Path:
    entries = np.zeros(len(documents), ENTRY)
    for number, (key, tokens, line) in enumerate(documents):
        entries[number] = (key, len(tokens), 3, len(line))
    flat = np.array([token for _, tokens, _ in documents for token in tokens], np.uint16)
    with RunWriter(path) as run:
        run.append(Documents(entries, flat, b"".join(line for _, _, line in documents)))
    return path


def triples(parts: list[Documents]) -> list[Triple]:
    found = []
    for part in parts:
        tokens = np.split(part.tokens, np.cumsum(part.entries["num_tokens"])[:-1])
        lines = part.lines.splitlines(keepends=True)
        for entry, ours, line in zip(part.entries, tokens, lines, strict=True):
            found.append((entry["key"].ljust(24, b"\0"), ours.tolist(), line))
    return found


@pytest.mark.parametrize("merge_bytes", [1, 300, 1 << 20])
@pytest.mark.parametrize("max_entries", [1, 7, 2048])
def test_a_merge_is_the_sorted_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge_bytes: int, max_entries: int
):
    monkeypatch.setattr(runs, "_MERGE_BYTES", merge_bytes)
    monkeypatch.setattr(runs, "_MAX_ENTRIES", max_entries)
    parts = [sorted(random_documents(count, count)) for count in (0, 1, 50, 0, 170, 90)]
    paths = [write_run(tmp_path / str(n), part) for n, part in enumerate(parts)]
    merged = list(merge_runs(paths, np.uint16))
    assert triples(merged) == sorted(triple for part in parts for triple in part)
    if merge_bytes == 300:  # it holds no more than was allowed: at least a document of each run
        assert max(part.tokens.nbytes + len(part.lines) for part in merged) <= 300 + 6 * 130


def test_a_run_is_read_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "_READ_BYTES", 500)
    documents = random_documents(200, 5)
    path = write_run(tmp_path / "run", documents)
    parts = list(read_run(path, np.uint16))
    assert triples(parts) == documents
    assert len(parts) > 10
