"""`corpus.json`: what a corpus on disk consists of and how it was made, once all of it is whole."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.writer import CorpusFile
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_json, write_json

CORPUS_FILE = "corpus.json"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class CorpusSource:
    """One source as written: its files in reading order, its documents by licence."""

    files: tuple[CorpusFile, ...]
    licences: dict[str, int] = field(default_factory=dict)

    @property
    def num_documents(self) -> int:
        return sum(file.num_documents for file in self.files)

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of text."""
        return sum(file.num_bytes for file in self.files)

    @property
    def file_bytes(self) -> int:
        return sum(file.file_bytes for file in self.files)

    def is_whole(self, folder: Path) -> bool:
        """Whether every byte of it is there."""
        return all(file.is_whole(folder) for file in self.files)


@dataclass(frozen=True)
class StageRecord:
    """What a stage has done. By source: the documents it read, what it left out and why, what it
    has changed in those it kept (kind of change -> documents), and how many of them have which
    property (`language` -> `python` -> documents)."""

    name: str
    options: dict[str, JsonValue]
    num_read: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, Skipped] = field(default_factory=dict)
    changed: dict[str, dict[str, int]] = field(default_factory=dict)
    tallies: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "name": self.name,
            "options": self.options,
            "num_read": self.num_read,
            "dropped": {source: skipped.to_json() for source, skipped in self.dropped.items()},
            "changed": self.changed,
            "tallies": self.tallies,
        }

    @classmethod
    def from_json(cls, value: dict[str, JsonValue]) -> "StageRecord":
        dropped = {name: Skipped.from_json(entry) for name, entry in value["dropped"].items()}
        return cls(**(value | {"dropped": dropped}))


@dataclass(frozen=True)
class CorpusRecord:
    """What `corpus.json` says. `stages` are in order of time; `environment` only informs."""

    sources: dict[str, CorpusSource]
    stages: tuple[StageRecord, ...] = ()
    environment: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def maker(self) -> str:
        """What has written it, for messages."""
        return (
            f"`codemix corpus {self.stages[-1].name}`" if self.stages else "no command of codemix"
        )

    def save(self, folder: Path) -> None:
        """To be called once all files are in place."""
        record = {
            "format_version": FORMAT_VERSION,
            "sources": {name: asdict(entry) for name, entry in self.sources.items()},
            "stages": [stage.to_json() for stage in self.stages],
        }
        if self.environment:
            record["environment"] = self.environment
        write_json(folder / CORPUS_FILE, record)

    def is_whole(self, folder: Path) -> bool:
        """Whether every byte of every source is there."""
        return all(entry.is_whole(folder) for entry in self.sources.values())


def load_corpus(folder: Path) -> CorpusRecord | None:
    """What `corpus.json` records; None where there is none (not made here, or not complete).

    Raises DataError where it is no such record.
    """
    path = folder / CORPUS_FILE
    try:
        record = read_json(path)
        if record["format_version"] == 1:
            return _of_version_1(record)
        if record["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path}: format {record['format_version']} is of a newer version of codemix; "
                "update it, or build the corpus again"
            )
        return CorpusRecord(
            sources={
                name: CorpusSource(
                    tuple(CorpusFile(**file) for file in entry["files"]), entry["licences"]
                )
                for name, entry in record["sources"].items()
            },
            stages=tuple(StageRecord.from_json(stage) for stage in record["stages"]),
            environment=record.get("environment", {}),
        )
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a corpus record ({error}); delete it and build the corpus again"
        ) from error


def _of_version_1(record: dict[str, JsonValue]) -> CorpusRecord:
    """Of `corpus local` as it was: a file a source, what was left out of all sources together."""
    sources = {}
    for name, entry in record["sources"].items():
        licences = entry.pop("licences")
        sources[name] = CorpusSource((CorpusFile(**entry),), licences)
    left_out = {"all": Skipped.from_json(record["skipped"])}
    stage = StageRecord("local", record["arguments"], dropped=left_out)
    return CorpusRecord(sources, (stage,), record["environment"])
