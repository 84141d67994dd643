"""What is kept of each document of a part while duplicates are looked for: its id, a digest of the
text, its origin's place in the split, and its MinHash signature.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.document import Document, digest
from megatron_codemix.corpus.split import split_position
from megatron_codemix.files import atomic_folder
from megatron_codemix.ops import MinHash

NGRAM = 5
"""Words in a shingle; a text with fewer has exact duplicates only."""
NO_SHINGLE = np.uint64(2**64 - 1)
CHUNK_DOCUMENTS = 32_768  # in memory at once: 40 MB of signatures

_FILES = ("digests", "positions", "signatures", "names", "name_ends")
_DIGEST = np.dtype([("high", "<u8"), ("low", "<u8")])
_BATCH_BYTES = 1 << 20
_BATCH_DOCUMENTS = 1024


@dataclass(frozen=True)
class Fingerprints:
    """Of one part.

    num_hashes: of a signature; 0: there are none.
    """

    folder: Path
    num_hashes: int

    @property
    def num_documents(self) -> int:
        return (self.folder / "digests").stat().st_size // _DIGEST.itemsize

    def chunks(self) -> Iterator[range]:
        """The documents' numbers, as many at a time as fit into memory."""
        for start in range(0, self.num_documents, CHUNK_DOCUMENTS):
            yield range(start, min(start + CHUNK_DOCUMENTS, self.num_documents))

    def digests(self, documents: range) -> npt.NDArray[np.void]:
        """Records of `high` and `low`."""
        return _read(self.folder / "digests", _DIGEST, documents)

    def positions(self, documents: range) -> npt.NDArray[np.float64]:
        """Split positions."""
        return _read(self.folder / "positions", np.dtype("<f8"), documents)

    def signatures(self, documents: range) -> npt.NDArray[np.uint64]:
        """[documents, hashes]; NO_SHINGLE throughout where a text is too short."""
        row = np.dtype(("<u8", (self.num_hashes,)))
        return _read(self.folder / "signatures", row, documents)

    def signatures_of(self, documents: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
        """[documents, hashes], of any documents."""
        shape = (self.num_documents, self.num_hashes)
        # Mapped for one call only: pages stay in memory as long as a file is mapped.
        mapped = np.memmap(self.folder / "signatures", "<u8", mode="r", shape=shape)
        return np.array(mapped[documents])

    def position_of(self, documents: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Split positions of any documents."""
        return np.array(np.memmap(self.folder / "positions", "<f8", mode="r")[documents])

    def name_of(self, document: int) -> str:
        """A document's id."""
        path = self.folder / "name_ends"
        begin, end = np.fromfile(path, "<u8", count=2, offset=8 * document).tolist()
        with open(self.folder / "names", "rb") as names:
            names.seek(begin)
            return names.read(end - begin).decode()


def write_fingerprints(
    folder: Path, documents: Iterable[Document], minhash: MinHash | None
) -> None:
    """Those of all documents, whole or not at all; without signatures where there is no minhash."""
    with atomic_folder(folder) as temporary, ExitStack() as stack:
        digests, positions, signatures, names, name_ends = (
            stack.enter_context(open(temporary / name, "wb")) for name in _FILES
        )
        name_ends.write(bytes(8))
        for batch in _batches(documents):
            digests.write(b"".join(digest(document.text) for document in batch))
            places = [split_position(document.origin) for document in batch]
            positions.write(np.array(places, "<f8").tobytes())
            if minhash is not None:
                signed, _ = minhash.sign_texts([document.text for document in batch], NGRAM)
                signatures.write(signed.astype("<u8", copy=False).tobytes())
            ids = [document.id.encode() for document in batch]
            ends = names.tell() + np.cumsum([len(one) for one in ids])
            name_ends.write(ends.astype("<u8").tobytes())
            names.write(b"".join(ids))


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    num_characters = 0
    for document in documents:
        batch.append(document)
        num_characters += len(document.text)
        if num_characters >= _BATCH_BYTES or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def _read(path: Path, dtype: Any, rows: range) -> npt.NDArray[Any]:  # Any: of all of them
    found = np.fromfile(path, dtype, count=len(rows), offset=rows.start * dtype.itemsize)
    assert len(found) == len(rows), (path, len(found), rows)
    return found
