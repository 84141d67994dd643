"""The search for duplicates among the parts of a corpus, in steps of which a kill costs little.

Fingerprints, exact duplicates, bucket files, comparisons, clusters: what a step leaves is whole or
absent, and is not made again where it is there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.bands import Bands, bands_for
from megatron_codemix.corpus.duplicates.bucket_files import (
    clear_remnants,
    find_clusters,
    require_datatrove,
    require_open_files,
)
from megatron_codemix.corpus.duplicates.drops import Drops, DropsWriter, follow
from megatron_codemix.corpus.duplicates.exact import Ranked, find_exact
from megatron_codemix.corpus.duplicates.fingerprints import Fingerprints
from megatron_codemix.corpus.duplicates.jobs import (
    Advance,
    BandsJob,
    CompareJob,
    FingerprintJob,
    FingerprintTask,
)
from megatron_codemix.corpus.duplicates.near import Comparison, drop_all_but_centres
from megatron_codemix.files import atomic_folder

JACCARD = 0.8


@dataclass(frozen=True)
class SearchedPart:
    """documents: reads the part from its start, always the same, and may tell how far it is."""

    number: int
    source: str
    documents: Callable[[Advance], Iterator[Document]]


@dataclass(frozen=True)
class SearchOptions:
    """jaccard: similarity of near-duplicates, by their 5-grams of words; None: exact ones only.

    within: only documents of one source are compared.
    keep_first: sources whose documents stay before those of all others, in this order.
    """

    jaccard: float | None = JACCARD
    within: bool = False
    keep_first: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What goes, and because of what. An exact duplicate whose equal goes as a near-duplicate goes
    because of what stays for that.

    cluster_sizes: of the documents that stay for near-duplicates, how many each stands for, itself
        among them; sorted.
    """

    exact: Drops
    near: Drops
    cluster_sizes: npt.NDArray[np.int64]
    fingerprints: dict[int, Fingerprints]

    def name_of(self, part: int, document: int) -> str:
        """A document's id."""
        return self.fingerprints[part].name_of(document)


class RunTasks(Protocol):
    """Runs a job's tasks, in any order and perhaps in other processes. step: its name, for
    people."""

    def __call__(self, step: str, job: Any, tasks: Sequence[Any]) -> None: ...  # Any: any job


def run_here(step: str, job: Any, tasks: Sequence[Any]) -> None:
    """One after the other."""
    job.load()
    for task in tasks:
        job.run(task, lambda _: None)


def find_duplicates(
    parts: Sequence[SearchedPart],
    options: SearchOptions,
    folder: Path,
    run_tasks: RunTasks = run_here,
) -> Found:
    """folder: for what the steps leave, of these parts and options only; it can be deleted when
    the search is done. Near-duplicates are sought among what is left without exact ones.

    Disk: 24 bytes a document, and for near-duplicates 16 a hash (2.5 kB from similarity 0.8 on).
    Memory: 500 MB, and for near-duplicates 400 bytes a document that has some. Raises
    UnavailableError where datatrove is missing, or fewer files than parts may be open at once.
    """
    bands = None if options.jaccard is None else bands_for(options.jaccard)
    ranked = _ranked(parts, options, folder, bands)
    if bands is not None:
        require_datatrove()
        require_open_files(_most_ranks(ranked, lambda part: 1))  # before hours of work
    tasks = [FingerprintTask(ranked[part.number], part.documents) for part in parts]
    run_tasks("fingerprints", FingerprintJob(), tasks)
    exact = _exact(ranked, folder)
    prints = {number: part.fingerprints for number, part in ranked.items()}
    if bands is None:
        return Found(exact, Drops(folder / "near"), np.empty(0, np.int64), prints)
    require_open_files(_most_ranks(ranked, lambda part: len(list(part.fingerprints.chunks()))))
    accepted_from = bands.accepted_from(options.jaccard or JACCARD)
    for group, place in _groups(ranked, folder).items():
        members = [part for part in ranked.values() if part.group == group]
        clear_remnants(place / "buckets")
        run_tasks("bands", BandsJob(place / "buckets", exact, bands), members)
        comparing = CompareJob(place, ranked, bands, accepted_from)
        run_tasks("comparisons", comparing, range(bands.num_bands))
    near, sizes = _near(ranked, folder, bands, accepted_from)
    return Found(_settled(exact, near, sorted(prints), folder), near, sizes, prints)


def _ranked(
    parts: Sequence[SearchedPart], options: SearchOptions, folder: Path, bands: Bands | None
) -> dict[int, Ranked]:
    """The parts by number."""
    sources = list(dict.fromkeys(part.source for part in parts))
    first = options.keep_first
    num_hashes = 0 if bands is None else bands.num_hashes
    return {
        part.number: Ranked(
            part.number,
            group=sources.index(part.source) if options.within else 0,
            priority=first.index(part.source) if part.source in first else len(first),
            fingerprints=Fingerprints(folder / "fingerprints" / f"{part.number:06d}", num_hashes),
        )
        for part in parts
    }


def _most_ranks(parts: dict[int, Ranked], ranks_of: Callable[[Ranked], int]) -> int:
    """Of all groups."""
    ranks: Counter[int] = Counter()
    for part in parts.values():
        ranks[part.group] += ranks_of(part)
    return max(ranks.values(), default=0)


def _groups(parts: dict[int, Ranked], folder: Path) -> dict[int, Path]:
    groups = sorted({part.group for part in parts.values()})
    return {group: folder / f"group-{group:04d}" for group in groups}


def _exact(parts: dict[int, Ranked], folder: Path) -> Drops:
    drops = folder / "exact"
    if not drops.exists():
        with atomic_folder(drops) as temporary:
            writer = DropsWriter(temporary)
            find_exact(list(parts.values()), writer, work=folder)
            writer.finish()
    return Drops(drops)


def _settled(exact: Drops, near: Drops, parts: Sequence[int], folder: Path) -> Drops:
    """The exact duplicates, each with a document that stays."""
    place = folder / "settled"
    if not place.exists():
        with atomic_folder(place) as temporary:
            writer = DropsWriter(temporary)
            follow(exact, near, parts, writer)
            writer.finish()
    return Drops(place)


def _near(
    parts: dict[int, Ranked], folder: Path, bands: Bands, accepted_from: float
) -> tuple[Drops, npt.NDArray[np.int64]]:
    """What goes, and the sizes of the clusters."""
    place = folder / "near"
    if not place.exists():
        with atomic_folder(place) as temporary:
            writer = DropsWriter(temporary / "drops")
            sizes = [np.empty(0, np.int64)]
            for group in _groups(parts, folder).values():
                clusters = find_clusters(group / "alike", group / "clusters", bands)
                sizes.append(
                    drop_all_but_centres(clusters, parts, Comparison(parts), accepted_from, writer)
                )
            writer.finish()
            np.save(temporary / "cluster_sizes.npy", np.sort(np.concatenate(sizes)))
    return Drops(place / "drops"), np.load(place / "cluster_sizes.npy")
