"""Parts that a stage has finished, on record in `<out>/.parts`, and the corpus of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.readers import FileState, Skipped
from megatron_codemix.corpus.record import CorpusSource, StageRecord
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part, identity_of
from megatron_codemix.corpus.store import DROPPED_FOLDER, PARTS_FOLDER
from megatron_codemix.corpus.writer import CorpusFile
from megatron_codemix.files import read_json, write_json


@dataclass(frozen=True, kw_only=True)
class FinishedPart:
    """What has become of a part. `key`: hash of the stage and its options; with the input it
    decides the file."""

    key: str
    inputs: tuple[FileState, ...]
    file: CorpusFile
    licences: dict[str, int]
    num_read: int
    dropped: Skipped
    changed: dict[str, int]
    tallies: dict[str, dict[str, int]]
    has_dropped_file: bool

    def is_of(self, part: Part, key: str) -> bool:
        """Whether it was made with this key from the files as they are now."""
        known = {state.name: state for state in self.inputs}
        return self.key == key and part.identity(known) == identity_of(self.inputs)

    def save(self, out: Path, part: Part) -> None:
        record = {
            "key": self.key,
            "inputs": [list(state) for state in self.inputs],
            "file": asdict(self.file),
            "licences": self.licences,
            "num_read": self.num_read,
            "dropped": self.dropped.to_json(),
            "changed": self.changed,
            "tallies": self.tallies,
            "has_dropped_file": self.has_dropped_file,
        }
        write_json(record_path(out, part.source, part.number), record)

    @classmethod
    def load(cls, path: Path) -> "FinishedPart | None":
        """None where there is none, or none that this version can read: it is made anew."""
        try:
            record = read_json(path)
            return cls(
                **record
                | {
                    "inputs": tuple(FileState(*state) for state in record["inputs"]),
                    "file": CorpusFile(**record["file"]),
                    "dropped": Skipped.from_json(record["dropped"]),
                }
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None


def record_path(out: Path, source: str, number: int) -> Path:
    """Where it is on record that a part is finished."""
    return out / PARTS_FOLDER / source / f"{number:05d}.json"


def dropped_path(out: Path, part: Part) -> Path:
    """The documents of a part that were left out."""
    return out / DROPPED_FOLDER / part.output


def finished_part(out: Path, part: Part, key: str, *, keeps_dropped: bool) -> FinishedPart | None:
    """What is on record of a part, as far as it can be used again."""
    found = FinishedPart.load(record_path(out, part.source, part.number))
    if found is None or not found.is_of(part, key) or not found.file.has_its_size(out):
        return None
    if keeps_dropped and not (found.has_dropped_file and dropped_path(out, part).is_file()):
        return None
    return found


def remove_part(out: Path, part: Part) -> None:
    """Removes the record of a part, and what killed processes have left of its files."""
    for path in (
        record_path(out, part.source, part.number),
        out / part.output,
        dropped_path(out, part),
    ):
        path.unlink(missing_ok=True)
        remove_remnants(path)


def remove_remnants(path: Path) -> None:
    """Removes what killed processes have half written of a file."""
    for remnant in path.parent.glob(f".{path.name}.*.tmp"):
        remnant.unlink(missing_ok=True)


def remove_strays(out: Path, parts: Sequence[Part]) -> None:
    """Removes what was made of parts that the input does not have any more."""
    wanted = {record_path(out, part.source, part.number) for part in parts}
    for path in sorted((out / PARTS_FOLDER).glob("*/*.json")):
        if path not in wanted:
            remove_part(out, Part(path.parent.name, int(path.stem), ()))
    for folder in (out, out / PARTS_FOLDER):
        for remnant in folder.glob(".*.tmp"):
            remnant.unlink(missing_ok=True)


def sources_of(parts: Sequence[Part], finished: Sequence[FinishedPart]) -> dict[str, CorpusSource]:
    """The sources of a corpus whose parts are all finished, `finished[i]` being of `parts[i]`."""
    files: dict[str, list[CorpusFile]] = {}
    licences: dict[str, dict[str, int]] = {}
    for part, entry in zip(parts, finished, strict=True):
        files.setdefault(part.source, []).append(entry.file)
        _add(licences.setdefault(part.source, {}), entry.licences)
    return {
        source: CorpusSource(tuple(files[source]), dict(sorted(licences[source].items())))
        for source in files
    }


def stage_record(
    name: str,
    options: dict[str, JsonValue],
    parts: Sequence[Part],
    finished: Sequence[FinishedPart],
) -> StageRecord:
    """What the stage has done in all parts."""
    num_read: dict[str, int] = {}
    dropped: dict[str, Skipped] = {}
    changed: dict[str, dict[str, int]] = {}
    tallies: dict[str, dict[str, dict[str, int]]] = {}
    for part, entry in zip(parts, finished, strict=True):
        num_read[part.source] = num_read.get(part.source, 0) + entry.num_read
        dropped.setdefault(part.source, Skipped(is_announced=False)).merge(entry.dropped)
        _add(changed.setdefault(part.source, {}), entry.changed)
        for kind, counts in entry.tallies.items():
            _add(tallies.setdefault(part.source, {}).setdefault(kind, {}), counts)
    return StageRecord(name, options, num_read, dropped, changed, tallies)


def counted(dropped: Dropped) -> Skipped:
    """What `dropped` has counted, without the file that it writes to."""
    return Skipped(is_announced=False, counts=dropped.counts, names=dropped.names)


def _add(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count
