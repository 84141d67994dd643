"""Documents that are equal but for white space, found in any amount with little memory.

Records are divided on disk by their digest, so that equal ones meet in one file that fits memory;
datatrove's exact deduplication sorts them by one hash function and merges all its files instead.
Of equal documents the first by rank stays: see `find_exact`.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.duplicates.drops import DROP, DropsWriter
from megatron_codemix.corpus.duplicates.fingerprints import Fingerprints

_RECORD = np.dtype(
    [
        ("key", "S16"),
        ("priority", "<u4"),
        ("position", "<f8"),
        ("part", "<u4"),
        ("document", "<u4"),
    ]
)
_RECORDS_IN_MEMORY = 1 << 20
_OF_GROUP = np.uint64(0x9E3779B97F4A7C15)  # odd: other groups have other keys


@dataclass(frozen=True)
class Ranked:
    """A part whose documents are compared.

    group: only documents of one group are duplicates of one another.
    priority: a document of a smaller one stays before all of a greater one.
    """

    number: int
    group: int
    priority: int
    fingerprints: Fingerprints


def find_exact(parts: Sequence[Ranked], drops: DropsWriter, *, work: Path) -> None:
    """Of documents with one digest all but one go: the one with the smallest (priority, split
    position, part, number) stays. So a text of which any copy is held out stays held out, unless
    priorities say otherwise.

    work: a folder for 36 bytes a document. Memory: 300 MB, whatever there is.
    """
    total = sum(part.fingerprints.num_documents for part in parts)
    bits = (total // _RECORDS_IN_MEMORY).bit_length()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        for part in parts:
            for records in _records(part):
                _divide(records, bits, Path(folder))
        for path in sorted(Path(folder).iterdir()):
            _drop_equal(path, drops)


def _records(part: Ranked) -> Iterator[npt.NDArray[np.void]]:
    for documents in part.fingerprints.chunks():
        digests = part.fingerprints.digests(documents)
        digests["low"] += np.array([part.group], np.uint64) * _OF_GROUP  # an array wraps silently
        records = np.empty(len(documents), _RECORD)
        records["key"] = digests.view("S16")
        records["priority"] = part.priority
        records["position"] = part.fingerprints.positions(documents)
        records["part"], records["document"] = part.number, documents
        yield records


def _divide(records: npt.NDArray[np.void], bits: int, folder: Path) -> None:
    """Appends each record to the file of the first `bits` bits of its key."""
    first = np.ascontiguousarray(records["key"]).view(">u8")[::2].astype(np.uint64)
    keys = first >> np.uint64(64 - bits) if bits else np.zeros(len(records), np.uint64)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    for rows in np.split(order, starts):
        if len(rows):
            with open(folder / f"{keys[rows[0]]:08x}", "ab") as handle:
                handle.write(records[rows].tobytes())


def _drop_equal(path: Path, drops: DropsWriter) -> None:
    """First the best of each key, then all others. Equal documents are in one file, however many:
    it is read in pieces."""
    best = np.empty(0, _RECORD)
    for records in _pieces(path):
        best = _best(np.concatenate([best, records]))
    for records in _pieces(path):
        kept = best[np.searchsorted(best["key"], records["key"])]
        is_kept = records["part"] == kept["part"]
        is_kept &= records["document"] == kept["document"]
        gone, kept = records[~is_kept], kept[~is_kept]
        found = np.empty(len(gone), DROP)
        found["document"], found["similarity"] = gone["document"], 1
        found["kept_part"], found["kept_document"] = kept["part"], kept["document"]
        drops.add(gone["part"], found)


def _pieces(path: Path) -> Iterator[npt.NDArray[np.void]]:
    with open(path, "rb") as handle:
        while len(records := np.fromfile(handle, _RECORD, count=_RECORDS_IN_MEMORY)):
            yield records


def _best(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Of each key the record that stays, by key."""
    records = records[np.argsort(records["key"], kind="stable")]
    is_like_next = np.append(records["key"][1:] == records["key"][:-1], False)
    is_tied = is_like_next | np.insert(is_like_next[:-1], 0, False)
    tied = records[is_tied]
    names = ("document", "part", "position", "priority", "key")
    records[is_tied] = tied[np.lexsort([tied[name] for name in names])]
    best: npt.NDArray[np.void] = records[_is_first(records["key"])]
    return best


def _is_first(keys: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bool_]:
    return np.insert(keys[1:] != keys[:-1], 0, True)[: len(keys)]
