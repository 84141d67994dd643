"""Which documents go because others stay, on disk: as many as there may be, a little in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DROP = np.dtype(
    [
        ("document", "<u4"),
        ("kept_part", "<u4"),
        ("kept_document", "<u4"),
        ("similarity", "<f4"),
    ]
)
"""document: number in its part. similarity: estimated, to the one that stays."""
_BLOCK_BITS = 22  # four million documents of a part: 64 MB of drops


class DropsWriter:
    """Takes drops in any order; each document once. To be finished."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, parts: npt.NDArray[np.integer], drops: npt.NDArray[np.void]) -> None:
        """parts: of the documents that go, by number."""
        blocks = drops["document"] >> _BLOCK_BITS
        order = np.lexsort((blocks, parts))
        places = np.stack([parts[order], blocks[order]], axis=1)
        starts = np.flatnonzero(np.any(places[1:] != places[:-1], axis=1)) + 1
        for rows in np.split(order, starts):
            if len(rows):
                path = self._folder / _name(int(parts[rows[0]]), int(blocks[rows[0]]))
                with open(path, "ab") as handle:
                    handle.write(drops[rows].tobytes())

    def finish(self) -> None:
        """Sorts what was added."""
        for path in self._folder.iterdir():
            drops = np.fromfile(path, DROP)
            drops[np.argsort(drops["document"], kind="stable")].tofile(path)


@dataclass(frozen=True)
class Drops:
    """What a DropsWriter has finished."""

    folder: Path

    def of_part(self, part: int) -> Iterator[npt.NDArray[np.void]]:
        """In pieces, by the documents' numbers."""
        for path in sorted(self.folder.glob(f"{part:06d}-*")):
            yield np.fromfile(path, DROP)

    def documents_of_part(self, part: int, documents: range) -> npt.NDArray[np.uint32]:
        """Numbers of those that go, of these."""
        found = [np.empty(0, np.uint32)]
        for block in range(documents.start >> _BLOCK_BITS, (documents.stop >> _BLOCK_BITS) + 1):
            path = self.folder / _name(part, block)
            if path.exists():
                numbers = np.memmap(path, DROP, mode="r")["document"]
                first, last = np.searchsorted(numbers, [documents.start, documents.stop])
                found.append(np.array(numbers[first:last]))
        return np.concatenate(found)


def follow(drops: Drops, others: Drops, parts: Iterable[int], writer: DropsWriter) -> None:
    """Writes `drops` again: where the document that stays goes itself because of `others`, it is
    the one that stays for this, with the similarity to that.

    parts: those of the documents in both. Memory: 24 bytes a document of `others`.
    """
    numbers = list(parts)
    blocks = [(number, block) for number in numbers for block in others.of_part(number)]
    found = [np.empty(0, DROP), *(block for _, block in blocks)]
    keys = [np.empty(0, np.uint64), *(_keys(number, one["document"]) for number, one in blocks)]
    gone, gone_keys = np.concatenate(found), np.concatenate(keys)  # sorted, as parts and blocks are
    for number in numbers:
        for block in drops.of_part(number):
            wanted = _keys(block["kept_part"], block["kept_document"])
            rows = np.searchsorted(gone_keys, wanted)
            is_gone = rows < len(gone)
            is_gone[is_gone] = gone_keys[rows[is_gone]] == wanted[is_gone]
            for name in ("kept_part", "kept_document", "similarity"):
                block[name][is_gone] = gone[name][rows[is_gone]]
            writer.add(np.full(len(block), number), block)


def _keys(
    parts: int | npt.NDArray[np.integer], documents: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint64]:
    high = np.asarray(parts, np.uint64) << np.uint64(32)
    return np.asarray(high | documents.astype(np.uint64), np.uint64)


def _name(part: int, block: int) -> str:
    return f"{part:06d}-{block:06d}"
