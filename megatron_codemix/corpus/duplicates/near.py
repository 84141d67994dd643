"""Near-duplicates: candidates by bands, compared by their whole signatures, joined to clusters, of
which those stay that are like none before them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.duplicates.bands import Bands
from megatron_codemix.corpus.duplicates.bucket_files import places_of, rank_of, write_bucket_files
from megatron_codemix.corpus.duplicates.drops import DROP, Drops, DropsWriter
from megatron_codemix.corpus.duplicates.exact import Ranked
from megatron_codemix.corpus.duplicates.fingerprints import NO_SHINGLE

_PAIRS_AT_ONCE = 4096
_MAX_CENTRES_OF_RUN = 16
_MAX_CENTRES_OF_CLUSTER = 256

Pairs = npt.NDArray[np.uint32]
"""[pairs, 4]: rank, row, rank, row."""


def write_bands(buckets: Path, part: Ranked, exact: Drops, bands: Bands) -> None:
    """A part's bucket files, without its exact duplicates and texts too short for signatures."""
    for chunk, documents in enumerate(part.fingerprints.chunks()):
        signatures = part.fingerprints.signatures(documents)
        is_wanted = signatures[:, 0] != NO_SHINGLE
        is_wanted[exact.documents_of_part(part.number, documents) - documents.start] = False
        rows = np.flatnonzero(is_wanted)
        rank = rank_of(part.number, chunk)
        write_bucket_files(buckets, rank, signatures[rows], rows, bands)


@dataclass(frozen=True)
class Comparison:
    """Estimates Jaccard similarities: the share of equal hashes (Broder 1997)."""

    parts: Mapping[int, Ranked]

    def signatures(self, places: Pairs) -> npt.NDArray[np.uint64]:
        """[documents, hashes] of documents given by rank and row."""
        parts, documents = places_of(places[:, 0], places[:, 1])
        width = next(iter(self.parts.values())).fingerprints.num_hashes
        found = np.empty((len(places), width), np.uint64)
        for part in np.unique(parts):
            mine = parts == part
            found[mine] = self.parts[int(part)].fingerprints.signatures_of(documents[mine])
        return found

    def similarities(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """Of each pair."""
        found = [np.empty(0)]
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            equal = self.signatures(some[:, :2]) == self.signatures(some[:, 2:])
            found.append(equal.mean(axis=1))
        return np.concatenate(found)


class Stars(NamedTuple):
    """pairs: a centre and a document alike to it; of each document at most one."""

    pairs: Pairs
    similarities: npt.NDArray[np.float64]


def gather_stars(
    places: npt.NDArray[np.uint32],
    groups: npt.NDArray[np.integer],
    comparison: Comparison,
    accepted_from: float,
    max_centres: int,
) -> Stars:
    """In each group the first document is a centre, to which all that are alike belong; of the
    others the first is the next centre, and so on, `max_centres` times. What is left then belongs
    to none.

    places [documents, 2]: rank and row, those of a group together, in the order in which they come
    first.
    """
    pairs, similarities = [np.empty((0, 4), np.uint32)], [np.empty(0)]
    for _ in range(max_centres):
        if not len(groups):
            break
        is_centre = np.insert(groups[1:] != groups[:-1], 0, True)
        centres = places[is_centre][np.cumsum(is_centre) - 1][~is_centre]
        places, groups = places[~is_centre], groups[~is_centre]
        found = np.concatenate([centres, places], axis=1)
        estimated = comparison.similarities(found)
        is_alike = estimated >= accepted_from
        pairs.append(found[is_alike])
        similarities.append(estimated[is_alike])
        places, groups = places[~is_alike], groups[~is_alike]
    return Stars(np.concatenate(pairs), np.concatenate(similarities))


def compare(candidates: Pairs, comparison: Comparison, accepted_from: float) -> Pairs:
    """Pairs that are alike by their whole signatures.

    candidates: as `find_candidates` gives them, the documents of a run each with the next. Of a run
    all are compared with the first, those unlike it with the first of these, and so on.
    """
    is_first = np.any(candidates[1:, :2] != candidates[:-1, 2:], axis=1)
    is_first = np.insert(is_first, 0, True)[: len(candidates)]
    runs = np.cumsum(is_first)
    places = np.concatenate([candidates[is_first, :2], candidates[:, 2:]])
    groups = np.concatenate([runs[is_first], runs])
    order = np.argsort(groups, kind="stable")
    stars = gather_stars(
        places[order], groups[order], comparison, accepted_from, _MAX_CENTRES_OF_RUN
    )
    return stars.pairs


def drop_all_but_centres(
    clusters: npt.NDArray[np.uint32],
    parts: Mapping[int, Ranked],
    comparison: Comparison,
    accepted_from: float,
    drops: DropsWriter,
) -> npt.NDArray[np.int64]:
    """Of a cluster the first documents stay, by (priority, split position, part, number), to which
    none before them is alike; each of the others goes because of one that is alike and stays.

    Clusters are joined by pairs, so that their ends may be strangers: to keep one document of each
    would drop some that are like nothing that stays.

    clusters [documents, 3]: rank, row, cluster. Returns, for each that stays, the number of
    documents that it stands for, itself among them.
    """
    numbers, documents = places_of(clusters[:, 0], clusters[:, 1])
    positions = np.empty(len(clusters))
    priorities = np.empty(len(clusters), np.int64)
    for number in np.unique(numbers):
        mine = numbers == number
        part = parts[int(number)]
        positions[mine] = part.fingerprints.position_of(documents[mine])
        priorities[mine] = part.priority
    order = np.lexsort((documents, numbers, positions, priorities, clusters[:, 2]))
    stars = gather_stars(
        clusters[order, :2],
        clusters[order, 2],
        comparison,
        accepted_from,
        _MAX_CENTRES_OF_CLUSTER,
    )
    kept_parts, kept_documents = places_of(stars.pairs[:, 0], stars.pairs[:, 1])
    gone_parts, gone_documents = places_of(stars.pairs[:, 2], stars.pairs[:, 3])
    found = np.empty(len(stars.pairs), DROP)
    found["document"], found["similarity"] = gone_documents, stars.similarities
    found["kept_part"], found["kept_document"] = kept_parts, kept_documents
    drops.add(gone_parts, found)
    return 1 + np.unique(stars.pairs[:, :2], axis=0, return_counts=True)[1]
