"""What Megatron-LM's preprocess_data.py makes of files of JSON, in blocks and by several processes:
`<prefix>_<key>_document.bin` and `.idx` for each key, the same bytes.

Beside them stand the shard's manifest and documents.jsonl, so that codemix reads it at once.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from megatron_codemix.corpus.readers import FieldsSeen, InputFile, text_of
from megatron_codemix.data.preparation.blocks import WHOLE, BlockJob, block_summary, remove_work
from megatron_codemix.data.preparation.fast_encoder import FastEncoder
from megatron_codemix.data.preparation.first_look import require_keys
from megatron_codemix.data.preparation.input_blocks import Piece, Record, record_number
from megatron_codemix.data.preparation.lock import preparing_shard, shard_lock
from megatron_codemix.data.preparation.runs import ENTRY, Documents, RunWriter, read_run
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file, hash_json
from megatron_codemix.workers import run_tasks

log = logging.getLogger(__name__)

Advance = Callable[[int], None]

BLOCK_BYTES = 32 << 20
UNFINISHED = ".partial-"
"""In the name of the folder of what is not finished, beside the shard."""
_SMALLEST_INT32_VOCABULARY = 65_500  # megatron.core.datasets.indexed_dataset.DType.optimal_dtype


def megatron_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """uint16 below 65,500 entries, else int32."""
    return np.dtype(np.uint16 if vocabulary_size < _SMALLEST_INT32_VOCABULARY else np.int32)


class MegatronEncoder:
    """A run for each key, documents in the order of the input."""

    def __init__(self, tokenizer: Tokenizer, keys: Sequence[str], appends_eod: bool) -> None:
        self.columns: Sequence[str] = (*keys, "id", "path", "licence", "license")
        self._tokenizer, self._keys, self._appends_eod = tokenizer, tuple(keys), appends_eod
        self._encoder: FastEncoder | None = None

    def load(self) -> None:
        """Loads the fast encoder, once for all keys and all processes that are forked."""
        self._encoder = FastEncoder(
            self._tokenizer,
            dtype=megatron_dtype(self._tokenizer.vocabulary_size),
            end_of_document=self._tokenizer.end_of_document_id if self._appends_eod else None,
        )

    def write_block(
        self, file: InputFile, pieces: Iterator[Piece], folder: Path, advance: Advance
    ) -> dict[str, Any]:
        """`key<number>.tokens`, `.lines` and `.entries`. Raises DataError for a record that is not
        UTF-8, or has something else than text in one of the keys."""
        licences: dict[str, Counter[str]] = {key: Counter() for key in self._keys}
        empty = Counter[str]()
        runs = {key: RunWriter(folder / f"key{n}") for n, key in enumerate(self._keys)}
        try:
            for piece in pieces:
                for key, run in runs.items():
                    texts = [_text(file, record, key) for record in piece.records]
                    run.append(self._documents(file, piece, key, texts, licences[key]))
                    empty[key] += texts.count("")
                advance(piece.num_bytes)
        finally:
            for run in runs.values():
                run.close()
        return {"licences": {key: dict(licences[key]) for key in self._keys}, "empty": dict(empty)}

    def _documents(
        self, file: InputFile, piece: Piece, key: str, texts: list[str], licences: Counter[str]
    ) -> Documents:
        assert self._encoder is not None, "load() comes first"
        self._encoder.prove(key, texts)
        tokens, lengths = self._encoder.encode(texts)
        kept = np.flatnonzero(lengths)  # an empty document is no sequence
        entries = np.zeros(len(kept), dtype=ENTRY)
        entries["num_tokens"] = lengths[kept]
        sizes, lines = [], []
        for number, num_tokens in zip(kept.tolist(), lengths[kept].tolist(), strict=True):
            text, (position, fields) = texts[number], piece.records[number]
            sizes.append(len(text) if text.isascii() else len(text.encode()))
            record = _described(fields or {}, f"{file.name}@{position}")
            record |= {"source": key, "bytes": sizes[-1], "tokens": num_tokens}
            lines.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            licences[record["licence"] or "unknown"] += 1
        entries["num_bytes"] = sizes
        entries["line_bytes"] = [len(line) for line in lines]
        return Documents(entries, tokens, b"".join(lines))


def _text(file: InputFile, record: Record, key: str) -> str:
    if record.fields is None:
        number = record_number(file, record.position)
        raise DataError(f"{file.path}: the record at {number} is not UTF-8")
    text = record.fields.get(key)
    if isinstance(text, str):
        return text
    seen = FieldsSeen(file.path, key, "--json-keys", partial(record_number, file))
    return text_of(record.fields, seen, record.position)


def _described(fields: dict[str, Any], place: str) -> dict[str, Any]:
    """What a document's line says of its origin; `place` stands for a missing id or path."""
    identity, path = fields.get("id"), fields.get("path")
    licence = fields.get("licence") or fields.get("license")
    return {
        "id": str(identity) if isinstance(identity, str | int) else place,
        "path": path if isinstance(path, str) and path else place,
        "licence": licence if isinstance(licence, str) else None,
    }


@dataclass(frozen=True)
class WrittenKey:
    """`num_empty`: documents without text, which no reader of a shard sees; left out."""

    prefix: Path
    num_documents: int
    num_tokens: int
    num_empty: int
    was_complete: bool


def preprocess(
    files: Sequence[InputFile],
    tokenizer: Tokenizer,
    output_prefix: Path,
    *,
    keys: Sequence[str],
    appends_eod: bool,
    num_workers: int,
    block_bytes: int = BLOCK_BYTES,
    advance: Advance,
) -> list[WrittenKey]:
    """Writes `<output_prefix>_<key>_document.bin` and `.idx` of each key, files in the given order.

    Goes on where it was killed; a finished shard of the same files, as far as their sizes and times
    tell, is left as it is. `advance` is told of bytes read. Raises DataError, UnavailableError,
    RunError where another process does the same.
    """
    inputs = {
        "files": [[f.name, f.path.stat().st_size, f.path.stat().st_mtime_ns] for f in files],
        "tokenizer_hash": tokenizer.hash,
        "matches_special_tokens": tokenizer.matches_special_tokens,
        "end_of_document_id": tokenizer.end_of_document_id,
        "keys": list(keys),
        "appends_eod": appends_eod,
    }
    identity = hash_json(inputs)
    prefixes = {
        key: output_prefix.with_name(f"{output_prefix.name}_{key}_document") for key in keys
    }
    work = output_prefix.with_name(f".{output_prefix.name}{UNFINISHED}{identity[:16]}")
    finished = [_finished(prefixes[key], identity) for key in keys]
    complete = [shard for shard in finished if shard is not None]
    if len(complete) == len(keys) and not work.exists() and not shard_lock(output_prefix).exists():
        return complete
    with preparing_shard(output_prefix):
        if len(complete) == len(keys):
            remove_work(work)  # of a run that was killed at its very end
            return complete
        for stale in work.parent.glob(f".{escape(output_prefix.name)}{UNFINISHED}*"):
            if stale != work:  # of other inputs
                remove_work(stale)
        require_keys(files, keys, block_bytes)
        encoder = MegatronEncoder(tokenizer, keys, appends_eod)
        job = BlockJob(tuple(files), encoder, work, block_bytes)
        try:
            run_tasks(job, job.tasks(WHOLE, num_workers), num_workers, advance)
        except DataError:  # right input has another identity, so no rerun would use the blocks
            remove_work(work)
            raise
        folders = job.folders.whole()
        shards = [
            _write_shard(prefixes[key], key, number, folders, tokenizer, appends_eod, identity)
            for number, key in enumerate(keys)
        ]
        remove_work(work)
        return shards


def _finished(prefix: Path, identity: str) -> WrittenKey | None:
    try:
        manifest = Manifest.load(shard_file(prefix, ".manifest.json"))
        size = shard_file(prefix, ".bin").stat().st_size
    except (DataError, OSError):
        return None
    if manifest.origin.get("inputs_sha256") != identity:
        return None
    if size != manifest.num_tokens * np.dtype(manifest.dtype).itemsize:
        return None
    empty = int(manifest.origin["num_empty"])
    return WrittenKey(prefix, manifest.num_documents, manifest.num_tokens, empty, True)


def _write_shard(
    prefix: Path,
    key: str,
    number: int,
    folders: Sequence[Path],
    tokenizer: Tokenizer,
    appends_eod: bool,
    identity: str,
) -> WrittenKey:
    for leftover in prefix.parent.glob(f".{prefix.name}.*.tmp"):  # of a killed run
        leftover.unlink()
    dtype = megatron_dtype(tokenizer.vocabulary_size)
    lines_path = shard_file(prefix, ".documents.jsonl")
    licences: Counter[str] = Counter()
    num_empty = num_bytes = 0
    with TokenShardWriter(prefix, dtype) as writer:
        with atomic_path(lines_path) as temporary, open(temporary, "wb") as lines:
            for folder in folders:
                summary = block_summary(folder)
                licences.update(summary["licences"][key])
                num_empty += summary["empty"].get(key, 0)
                for documents in read_run(folder / f"key{number}", dtype):
                    writer.append_block(documents.tokens, documents.entries["num_tokens"])
                    lines.write(documents.lines)
                    num_bytes += int(documents.entries["num_bytes"].sum())
        if not appends_eod:  # codemix needs the ends of documents, so there is no manifest
            writer.finish_files()
            for suffix in (".documents.jsonl", ".blocks"):
                shard_file(prefix, suffix).unlink()
            return WrittenKey(prefix, writer.num_documents, writer.num_tokens, num_empty, False)
        writer.finish(
            source=_source_name(prefix),
            split="train",
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=tokenizer.vocabulary_size,
            end_of_document_id=tokenizer.end_of_document_id,
            num_bytes=num_bytes,
            licences=dict(sorted(licences.items())),
            origin={
                "inputs_sha256": identity,
                "num_empty": num_empty,
                "documents_sha256": hash_file(lines_path),
            },
        )
    return WrittenKey(prefix, writer.num_documents, writer.num_tokens, num_empty, False)


def _source_name(prefix: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", prefix.name)
