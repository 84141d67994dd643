"""Signatures in the files of datatrove's MinHash steps, and these steps.

A file of a bucket has sorted records: the hashes of one band, the document's number. datatrove
numbers files ("ranks") and documents in a file; here a rank is a chunk of a part.
"""

import contextlib
import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.duplicates.bands import Bands
from megatron_codemix.corpus.duplicates.fingerprints import CHUNK_DOCUMENTS
from megatron_codemix.errors import DataError, UnavailableError
from megatron_codemix.files import atomic_folder, atomic_path

_CHUNKS_OF_PART = 1 << 12
_LINES_AT_ONCE = 1000  # of each file; datatrove reads five at a time unless told
_LINES_IN_MEMORY = 1_000_000  # of all files together: 500 MB
_OTHER_FILES = 200  # opened beside one of each rank: the pairs of 160 bands, modules


def rank_of(part: int, chunk: int) -> int:
    """datatrove has 32 bits for it. Raises DataError where that is not enough."""
    rank = part * _CHUNKS_OF_PART + chunk
    if chunk >= _CHUNKS_OF_PART or rank >= 2**32 - 1:
        raise DataError(
            f"part {part}: near-duplicates are found among 2^20 parts of 2^27 documents each; "
            "take larger parts, or split this one"
        )
    return rank


def places_of(
    ranks: npt.NDArray[np.uint32], rows: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Parts, and the documents' numbers in these."""
    numbers = ranks.astype(np.int64)
    chunks = numbers % _CHUNKS_OF_PART
    return numbers // _CHUNKS_OF_PART, chunks * CHUNK_DOCUMENTS + rows


def bucket_file(folder: Path, band: int, rank: int) -> Path:
    """Where datatrove looks for it."""
    return folder / f"bucket_{band:03d}" / f"{rank:05d}.minhash.sig"


def write_bucket_files(
    folder: Path,
    rank: int,
    signatures: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.integer],
    bands: Bands,
) -> None:
    """One file a band, each whole or not at all; nothing where they are there already.

    signatures [documents, hashes]; rows: the documents' numbers within the rank.
    """
    if bucket_file(folder, bands.num_bands - 1, rank).exists():
        return
    row = np.dtype([("hashes", "<u8", (bands.rows,)), ("document", "<u4")])
    for band in range(bands.num_bands):
        hashes = signatures[:, band * bands.rows : (band + 1) * bands.rows]
        records = np.empty(len(rows), row)
        records["hashes"], records["document"] = hashes, rows
        records = records[_sorted_order(hashes, rows)]
        with atomic_path(bucket_file(folder, band, rank)) as temporary:
            temporary.write_bytes(records.tobytes())


def clear_remnants(folder: Path) -> None:
    """Removes what killed processes have half written: datatrove reads all that is there. To be
    called while nobody writes."""
    for path in folder.glob("bucket_*/.*"):
        path.unlink()


def _sorted_order(
    hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.integer]
) -> npt.NDArray[np.integer]:
    """By all hashes, then the number. Most first hashes differ: only the others are sorted by
    all."""
    order = np.argsort(hashes[:, 0], kind="stable")
    first = hashes[order, 0]
    is_like_next = np.append(first[1:] == first[:-1], False)
    is_tied = is_like_next | np.insert(is_like_next[:-1], 0, False)
    tied = order[is_tied[: len(order)]]
    keys = [rows[tied], *(hashes[tied, column] for column in reversed(range(hashes.shape[1])))]
    order[is_tied[: len(order)]] = tied[np.lexsort(keys)]
    return order


def find_candidates(buckets: Path, out: Path, band: int, bands: Bands) -> npt.NDArray[np.uint32]:
    """datatrove's second step for one band: [pairs, 4] of rank, row, rank, row. Documents of one
    run (those with equal bands) are paired each with the next.

    out: a folder of this band, kept: where it is there, it is read.
    """
    if not out.exists():
        minhash, config = _datatrove(bands)
        num_files = len(os.listdir(bucket_file(buckets, band, 0).parent))
        lines = max(1, min(_LINES_AT_ONCE, _LINES_IN_MEMORY // max(1, num_files)))
        with atomic_folder(out) as temporary:
            step = minhash.MinhashDedupBuckets(
                str(buckets), str(temporary), config=config, lines_to_buffer=lines
            )
            with _quiet():
                step.run(None, band, bands.num_bands)
    return np.fromfile(out / f"{band:05d}_00.dups", "<u4").reshape(-1, 4)


def require_open_files(num_ranks: int) -> None:
    """Lets this process, and those that it starts, have a file of each rank open at once, as
    datatrove's steps do. Raises UnavailableError where the system does not allow it."""
    wanted = num_ranks + len(os.listdir("/dev/fd")) + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UnavailableError(
            f"near-duplicates in {num_ranks} pieces need {wanted} files open at once, and this "
            f"process may open {hard}; raise the limit (`ulimit -n {wanted}`, or by the "
            "administrator), or make larger parts: write the corpus to fewer, larger files. What "
            "is found so far is kept"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def find_clusters(pairs: Path, out: Path, bands: Bands) -> npt.NDArray[np.uint32]:
    """datatrove's third step: [documents, 3] of rank, row, cluster.

    pairs: a folder with the pairs of each band, `<band>.dups`. out: kept, read where it is there.
    """
    if not out.exists():
        minhash, config = _datatrove(bands)
        with atomic_folder(out) as temporary:
            step = minhash.MinhashDedupCluster(
                str(pairs),
                str(temporary),
                config=config,
                save_cluster_id=True,
                lines_to_buffer=_LINES_AT_ONCE,
            )
            with _quiet():
                step.run(None, 0, 1)
    found = [np.empty((0, 3), np.uint32)]
    for path in sorted(out.glob("*.clusters")):
        rows = np.fromfile(path, "<u4").reshape(-1, 2)
        rank = np.full((len(rows), 1), int(path.stem), np.uint32)
        found.append(np.concatenate([rank, rows], axis=1))
    return np.concatenate(found)


def require_datatrove() -> None:
    """Raises UnavailableError, before work is done for it."""
    _datatrove(Bands(1, 1))


def _datatrove(bands: Bands) -> tuple[Any, Any]:  # Any: datatrove is untyped
    """Its module, and its configuration. Half a second: only where it is used."""
    try:
        from datatrove.pipeline.dedup import minhash  # type: ignore[import-untyped] # ships none

        # Here, as it looks for a package of hashes, which datatrove does not bring.
        config = minhash.MinhashConfig(num_buckets=bands.num_bands, hashes_per_bucket=bands.rows)
    except ImportError as error:
        raise UnavailableError(
            f"near-duplicates need datatrove and what it imports ({error}): pip install "
            "'megatron_codemix[curate]', or look for exact ones with --exact-only"
        ) from error
    return minhash, config


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without datatrove's log and bars: ours say what is done."""
    from loguru import logger

    logger.disable("datatrove")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.enable("datatrove")
