"""A corpus on disk: one `<source>.jsonl.zst` a source, and `corpus.json` once all of it is
whole.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import InputFile, Skipped
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file, read_json

CORPUS_FILE = "corpus.json"
FORMAT_VERSION = 1
_SUFFIXES = (".jsonl.zst", ".jsonl.gz", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class SourceFile:
    """One source as written: `num_bytes` is UTF-8 text, `file_bytes` and `sha256` are of the
    file.
    """

    file: str
    num_documents: int
    num_bytes: int
    file_bytes: int
    sha256: str
    licences: dict[str, int] = field(default_factory=dict)

    def is_whole(self, folder: Path) -> bool:
        path = folder / self.file
        return (
            path.is_file()
            and path.stat().st_size == self.file_bytes
            and hash_file(path) == self.sha256
        )


def write_source(folder: Path, source: str, documents: Iterable[Document]) -> SourceFile:
    """Writes `<source>.jsonl.zst`, atomically; the same documents give the same bytes."""
    import zstandard  # 20 ms, where a corpus is written or read only

    path = folder / f"{source}.jsonl.zst"
    num_documents = num_bytes = 0
    licences: dict[str, int] = {}
    with (
        atomic_path(path) as temporary,
        open(temporary, "wb") as raw,
        zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as stream,
    ):
        for document in documents:
            line = json.dumps(document.to_record(), ensure_ascii=False, sort_keys=True)
            stream.write(line.encode() + b"\n")
            num_documents += 1
            num_bytes += len(document.text.encode())
            licence = document.licence or "unknown"
            licences[licence] = licences.get(licence, 0) + 1
    return SourceFile(
        path.name, num_documents, num_bytes, path.stat().st_size, hash_file(path), licences
    )


def load_corpus(folder: Path) -> dict[str, SourceFile] | None:
    """Sources recorded in `corpus.json`; None where there is none (not made here, or not
    complete).
    """
    try:
        record = read_json(folder / CORPUS_FILE)
        return {name: SourceFile(**entry) for name, entry in record["sources"].items()}
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder / CORPUS_FILE}: not a corpus record ({error}); "
            "delete it and build the corpus again"
        ) from error


def source_files(folder: Path) -> dict[str, InputFile]:
    """The file of each source of a corpus folder, ours or the user's own (`<source>.jsonl.gz`,
    ...), by name.

    Raises DataError: no such folder, no source in it, two files for one source.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such corpus folder; `codemix corpus local {folder}` makes one"
        )
    found: dict[str, InputFile] = {}
    for path in sorted(folder.iterdir()):
        suffix = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
        if suffix is None or path.name.startswith("."):
            continue
        name = path.name.removesuffix(suffix)
        if name in found:
            raise DataError(
                f"{folder}: {found[name].name} and {path.name} are both source {name!r}; keep one"
            )
        found[name] = InputFile(path, path.name)
    if not found:
        raise DataError(
            f"{folder}: holds no source; expected <source>.jsonl.zst, .jsonl.gz, .jsonl or .parquet"
        )
    return found


def corpus_record(
    arguments: dict[str, Any],
    environment: dict[str, Any],
    sources: dict[str, SourceFile],
    skipped: Skipped,
) -> dict[str, Any]:
    """What `corpus.json` says: arguments decide whether a rerun may skip, environment only
    informs.
    """
    return {
        "format_version": FORMAT_VERSION,
        "arguments": arguments,
        "environment": environment,
        "sources": {name: asdict(entry) for name, entry in sources.items()},
        "skipped": {
            reason: {"count": skipped.counts[reason], "first": skipped.names[reason]}
            for reason in sorted(skipped.counts)
        },
    }
