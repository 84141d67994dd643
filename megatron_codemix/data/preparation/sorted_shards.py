"""The tokenised blocks of a source to its shards: merged by key, documents in keyed order.

The order is of the documents alone, so blocks made by one process or on many nodes give the same
bytes.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.preparation.blocks import (
    BlockFolders,
    block_summary,
    put_folder_in_place,
    remove_removed,
    remove_work,
)
from megatron_codemix.data.preparation.conversations import FLAGGED, unflagged
from megatron_codemix.data.preparation.lock import has_locks, preparing
from megatron_codemix.data.preparation.parts import missing_parts
from megatron_codemix.data.preparation.runs import (
    Documents,
    RunWriter,
    merge_runs,
)
from megatron_codemix.data.shards.layout import shard_file, token_dtype
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, full_disk, hash_file, read_json, write_json

log = logging.getLogger(__name__)

PARTIAL = ".partial"
"""Folder of what is not finished, in the folder of the shards."""
_RECORD = "source.json"
_MAX_RUNS = 256  # merged at once: three open files each


def shard_prefix(folder: Path, source: str, split: Split) -> Path:
    """Where the shard of a source and split stands."""
    return folder / f"{source}.{split}"


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """What has to be known of a source to make its shards from its blocks."""

    source: str
    num_files: int
    splits: tuple[Split, ...]
    tokenizer_hash: str
    vocabulary_size: int
    end_of_document_id: int
    inputs: dict[str, Any]
    chat_template: ChatTemplate | None = None
    """Of a source of conversations, whose blocks hold flagged tokens (see conversations.py)."""

    def save(self, work: Path) -> None:
        """Unless it is there: the folder's name has the hash of what decides it."""
        if not (work / _RECORD).exists():
            write_json(work / _RECORD, asdict(self))

    @classmethod
    def load(cls, work: Path) -> "SourceRecord":
        """Raises DataError."""
        try:
            record = read_json(work / _RECORD)
            template = record.get("chat_template")
            read = {
                "splits": tuple(record["splits"]),
                "chat_template": template and ChatTemplate(**template),
            }
            return cls(**(record | read))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{work}: no folder of a prepared part ({error}); prepare the source again"
            ) from error


def merge_parts(folder: Path) -> dict[str, dict[Split, Manifest]]:
    """Shards of all sources whose parts (`prepare --shard`) are in `folder`; none where all are
    made. Raises DataError where parts are missing."""
    if not shards_to_merge(folder) and not has_locks(folder):
        return {}
    with preparing(folder):
        works = {
            source: folder / PARTIAL / name for source, name in shards_to_merge(folder).items()
        }
        return {source: write_sorted_shards(work, folder)[0] for source, work in works.items()}


def shards_to_merge(folder: Path) -> dict[str, str]:
    """Source -> folder of its blocks, all of them there. Raises DataError with the parts that are
    missing of all sources."""
    works = sorted(path for path in (folder / PARTIAL).glob("[!.]*") if path.is_dir())
    if not works and any(folder.glob("*.manifest.json")):
        forget(folder, [])
        return {}
    if not works:
        raise DataError(
            f"{folder}: holds no prepared parts; `codemix data prepare --shard 1/2` makes one"
        )
    records = {work: SourceRecord.load(work) for work in works}
    problems = [problem for work in works if (problem := _parts_problem(work, records[work]))]
    if problems:
        raise DataError(*problems)
    for work, record in records.items():
        BlockFolders(work, record.num_files).whole()
    return {record.source: work.name for work, record in records.items()}


def _parts_problem(work: Path, record: SourceRecord) -> str | None:
    missing = missing_parts(work)
    if missing is None:
        return None
    source = f"{work}: source {record.source!r}"
    if missing.count is None:
        return (
            f"{source}: no part of it is finished; run `codemix data prepare` with --shard for "
            "each part, or without it for the whole"
        )
    found, absent = (", ".join(map(str, numbers)) for numbers in (missing.found, missing.missing))
    return (
        f"{source}: of {missing.count} parts, {found} finished, {absent} missing; run `codemix "
        f"data prepare` with --shard {missing.missing[0]}/{missing.count} and the same corpus, "
        "tokenizer and options"
    )


def require_merged(folder: Path, source: str | None = None) -> None:
    """Raises DataError where parts of the source (of any source) wait in `folder` to be merged:
    what is joined there would lack them."""
    waiting = [
        record.source
        for work in sorted((folder / PARTIAL).glob("[!.]*"))
        if (record := SourceRecord.load(work)).source == source or source is None
    ]
    if waiting:
        raise DataError(
            f"{folder}: parts of {', '.join(waiting)} wait in {PARTIAL}, and would be missing from "
            f"what is joined; `codemix data merge {folder}` makes their shards first (or remove "
            f"{folder / PARTIAL})"
        )


def write_sorted_shards(work: Path, folder: Path) -> tuple[dict[Split, Manifest], Counter[str]]:
    """The shards of a source whose blocks are all in `work`, which is removed then; and how many
    records were left out, by reason.

    Raises DataError where blocks are missing.
    """
    record = SourceRecord.load(work)
    folders = BlockFolders(work, record.num_files).whole()
    summaries = [block_summary(block) for block in folders]
    skipped: Counter[str] = Counter()
    for summary in summaries:
        skipped.update(summary["skipped"])
    _tell_of_skipped(record.source, skipped, summaries)
    manifests = {
        split: _write_shard(record, split, work, folder, folders, summaries)
        for split in record.splits
    }
    forget(folder, [work])
    return manifests, skipped


def works_of(folder: Path, source: str) -> list[Path]:
    """Folders of blocks of a source, of any inputs."""
    return list((folder / PARTIAL).glob(f"{source}-{'[0-9a-f]' * 16}"))


def forget(folder: Path, works: Sequence[Path]) -> None:
    """Removes folders of blocks that no one needs any more, and what a kill left of others."""
    for work in works:
        remove_work(work)
    if (folder / PARTIAL).exists():
        remove_removed(folder / PARTIAL)
        if not any((folder / PARTIAL).iterdir()):
            (folder / PARTIAL).rmdir()


def _tell_of_skipped(
    source: str, skipped: Counter[str], summaries: Sequence[dict[str, Any]]
) -> None:
    for reason, count in sorted(skipped.items()):
        names = [name for summary in summaries for name in summary["skipped_names"].get(reason, ())]
        text = "source %s: %d records skipped, %s (%s)"
        log.warning(text, source, count, reason, ", ".join(names[:3]))


def _write_shard(
    record: SourceRecord,
    split: Split,
    work: Path,
    folder: Path,
    folders: Sequence[Path],
    summaries: Sequence[dict[str, Any]],
) -> Manifest:
    prefix = shard_prefix(folder, record.source, split)
    dtype = token_dtype(record.vocabulary_size)
    lines_path = shard_file(prefix, ".documents.jsonl")
    for leftover in folder.glob(f".{prefix.name}.*.tmp"):  # of a killed run
        leftover.unlink()
    if _is_of_other_input(prefix, record.inputs):
        log.warning("%s: was made from other input, is replaced", prefix)
    licences: Counter[str] = Counter()
    for summary in summaries:
        licences.update(summary["licences"][split])
    num_bytes = 0
    run_dtype = FLAGGED if record.chat_template else dtype
    with TokenShardWriter(prefix, dtype, record.chat_template) as writer:
        with atomic_path(lines_path) as temporary, open(temporary, "wb") as lines:
            runs = [block / split for block in folders]
            for documents in _merged(runs, run_dtype, work / f"merged-{split}"):
                tokens, learned = documents.tokens, None
                if record.chat_template is not None:
                    tokens, learned = unflagged(tokens)
                lengths = documents.entries["num_tokens"]
                writer.append_block(tokens.astype(dtype, copy=False), lengths, learned)
                lines.write(documents.lines)
                num_bytes += int(documents.entries["num_bytes"].sum())
        manifest = writer.finish(
            source=record.source,
            split=split,
            tokenizer_hash=record.tokenizer_hash,
            vocabulary_size=record.vocabulary_size,
            end_of_document_id=record.end_of_document_id,
            num_bytes=num_bytes,
            licences=dict(sorted(licences.items())),
            origin={**record.inputs, "documents_sha256": hash_file(lines_path)},
        )
    text = "%s: %d documents, %d tokens, %d bytes of text"
    log.info(text, prefix, manifest.num_documents, manifest.num_tokens, num_bytes)
    return manifest


def _is_of_other_input(prefix: Path, inputs: dict[str, Any]) -> bool:
    try:
        origin = Manifest.load(shard_file(prefix, ".manifest.json")).origin
    except (DataError, OSError):
        return False
    return {**origin, **inputs} != origin


def _merged(runs: Sequence[Path], dtype: np.dtype[Any], place: Path) -> Iterator[Documents]:
    """All documents in order of their keys; of more runs than can be open at once, groups are
    merged into `place` first."""
    level = 0
    while len(runs) > _MAX_RUNS:
        groups = [runs[first : first + _MAX_RUNS] for first in range(0, len(runs), _MAX_RUNS)]
        runs = [
            _merged_run(group, dtype, place.with_name(f"{place.name}-{level}-{number:06d}"))
            for number, group in enumerate(groups)
        ]
        level += 1
    return merge_runs(runs, dtype)


def _merged_run(runs: Sequence[Path], dtype: np.dtype[Any], folder: Path) -> Path:
    """One run of several; whole or absent, so a rerun finds it."""
    if not folder.exists():
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            with RunWriter(temporary / "run") as writer:
                for documents in merge_runs(runs, dtype):
                    writer.append(documents)
            put_folder_in_place(temporary, folder)
        except OSError as error:
            raise full_disk(error, folder) from error
    return folder / "run"
