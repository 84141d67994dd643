"""The steps of the search that are done part by part or band by band, by any number of processes: a
task leaves its file whole or absent, and one whose file is there has nothing to do.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.bands import Bands
from megatron_codemix.corpus.duplicates.bucket_files import find_candidates
from megatron_codemix.corpus.duplicates.drops import Drops
from megatron_codemix.corpus.duplicates.exact import Ranked
from megatron_codemix.corpus.duplicates.fingerprints import write_fingerprints
from megatron_codemix.corpus.duplicates.near import Comparison, compare, write_bands
from megatron_codemix.files import atomic_path
from megatron_codemix.ops import MinHash, draw_minhash_functions

SEED = 1  # datatrove's

Advance = Callable[[int], None]


@dataclass(frozen=True)
class FingerprintTask:
    """documents: reads the part from its start, always the same, and tells how far it is."""

    part: Ranked
    documents: Callable[[Advance], Iterator[Document]]


@dataclass(frozen=True)
class FingerprintJob:
    """Fingerprints of a part."""

    def load(self) -> None:
        """Nothing."""

    def run(self, task: FingerprintTask, advance: Advance) -> None:
        """Writes them. `advance` is told what `documents` tells."""
        prints = task.part.fingerprints
        if not prints.folder.exists():
            functions = draw_minhash_functions(prints.num_hashes, SEED)
            minhash = MinHash(functions) if prints.num_hashes else None
            write_fingerprints(prints.folder, task.documents(advance), minhash)


@dataclass(frozen=True)
class BandsJob:
    """datatrove's bucket files of a part, in `buckets`."""

    buckets: Path
    exact: Drops
    bands: Bands

    def load(self) -> None:
        """Nothing."""

    def run(self, part: Ranked, advance: Advance) -> None:
        """Writes them. `advance` is told of each part."""
        write_bands(self.buckets, part, self.exact, self.bands)
        advance(1)


@dataclass(frozen=True)
class CompareJob:
    """The pairs of a band that are alike, below `folder`.

    parts: all parts, by number.
    """

    folder: Path
    parts: Mapping[int, Ranked]
    bands: Bands
    accepted_from: float

    def load(self) -> None:
        """Nothing."""

    def run(self, band: int, advance: Advance) -> None:
        """Finds them. `advance` is told of each band."""
        alike = self.folder / "alike" / f"{band:05d}_00.dups"
        if not alike.exists():
            candidates = find_candidates(
                self.folder / "buckets",
                self.folder / "candidates" / f"{band:05d}",
                band,
                self.bands,
            )
            pairs = compare(candidates, Comparison(self.parts), self.accepted_from)
            with atomic_path(alike) as temporary:
                temporary.write_bytes(pairs.astype("<u4").tobytes())
        advance(1)
