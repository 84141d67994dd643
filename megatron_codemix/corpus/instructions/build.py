"""Instruction files to a source of a corpus: documents that hold their conversation.

A document's text is the conversation in the plain template, so that filters and the search for
duplicates read it like any other; `metadata.messages` is what `codemix data prepare` renders with
the tokenizer's template.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from megatron_codemix.config.mixture_checks import source_name_problem
from megatron_codemix.corpus.document import MESSAGES, Document, JsonValue, digest
from megatron_codemix.corpus.instructions.chats import BadChatError, first_question, messages_of
from megatron_codemix.corpus.instructions.records import Fields, read_records
from megatron_codemix.corpus.instructions.template import PLAIN, ChatRenderer
from megatron_codemix.corpus.output_place import announce_replaced, require_folder_place
from megatron_codemix.corpus.readers import OpenFile, RecordForm, Skipped, document_of, find_files
from megatron_codemix.corpus.record import (
    CORPUS_FILE,
    CorpusRecord,
    CorpusSource,
    StageRecord,
    load_corpus,
)
from megatron_codemix.corpus.store import DROPPED_FOLDER, source_of
from megatron_codemix.corpus.writer import SUFFIX, CorpusFile, write_documents
from megatron_codemix.errors import DataError
from megatron_codemix.locks import exclusive_once

log = logging.getLogger(__name__)

Advance = Callable[[int], None]

_READER_VERSION = 2  # raise when the same files would give other documents
_MAX_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class InstructionFiles:
    """What is read, and as what."""

    patterns: Sequence[str]
    source: str
    licence: str | None = None
    """Of the records that name none themselves."""
    leaves_out_bad: bool = False
    """Whether records that are no conversation with an answer are left out, and counted; else they
    are refused."""
    replaces: bool = False
    """Whether they may take the place of other files that the source was made from."""


@dataclass(frozen=True)
class Instructions:
    """The source as written, or found complete (`was_complete`)."""

    folder: Path
    source: str
    file: CorpusFile
    licences: dict[str, int]
    skipped: dict[str, int]
    seconds: float
    was_complete: bool


@dataclass
class _Reading:
    """Documents of the files, and what is wrong with the others."""

    asked: InstructionFiles
    skipped: Skipped = field(default_factory=Skipped)
    num_read: int = 0
    problems: list[str] = field(default_factory=list)

    def documents(self, files: Sequence[OpenFile], advance: Advance) -> Iterator[Document]:
        """Raises DataError at the end of a file with bad records, unless they are left out, and
        where there is no good one at all."""
        renderer = ChatRenderer(PLAIN)
        is_empty = True
        for file in files:
            bad, unreadable = Skipped(is_announced=False), Skipped(is_announced=False)
            for place, record in read_records(file, unreadable):
                self.num_read += 1
                try:
                    document = self._document(renderer, f"{file.name}:{place}", record)
                except BadChatError as error:
                    bad.add(error.reason, f"{file.name}:{place}")
                    if len(self.problems) < _MAX_NAMED:
                        self.problems.append(f"{file.place}: {place}: {error}")
                    continue
                is_empty = False
                advance(len(document.text))
                yield document
            self.num_read += sum(unreadable.counts.values())
            bad.merge(unreadable)
            self._require_good(file, bad)
            self.skipped.merge(bad)
        if is_empty:
            counts = "".join(f", {n} {why}" for why, n in sorted(self.skipped.counts.items()))
            raise DataError(
                f"source {self.asked.source!r} is empty: no conversation in {len(files)} files"
                f"{counts}; give other files"
            )

    def _document(self, renderer: ChatRenderer, place: str, record: Fields) -> Document:
        messages = messages_of(record)
        try:
            text = renderer.render(messages).text
        except DataError as error:
            raise BadChatError("noncharacter", str(error)) from error
        # All answers to one question are training, or all are held out.
        question = {"origin": f"question:{digest(first_question(messages)).hex()}"}
        named = {name: value for name, value in record.items() if value is not None}
        # A field called so says whose they all are.
        document = document_of(named | question, text, self.asked.source, place, RecordForm())
        licence = document.licence or self.asked.licence
        chat = {MESSAGES: [dict(one) for one in messages]}
        return replace(document, licence=licence, metadata={**document.metadata, **chat})

    def _require_good(self, file: OpenFile, bad: Skipped) -> None:
        count = sum(bad.counts.values())
        if count == 0 or self.asked.leaves_out_bad:
            return
        by_reason = ", ".join(f"{reason} {n}" for reason, n in sorted(bad.counts.items()))
        if not self.problems:  # what the reader could not read
            self.problems += [f"{names[0]}: {reason}" for reason, names in bad.names.items()]
        raise DataError(
            *self.problems,
            f"{file.place}: {count} of its records cannot be used ({by_reason}); correct them, or "
            "leave them out with --leave-out-bad",
        )


def build_instructions(
    out: Path, asked: InstructionFiles, advance: Advance | None = None
) -> Instructions:
    """Writes the source into the corpus folder `out`, beside others that this has written.

    A complete source of the same files is left as it is; one of the same files with other options
    is replaced. `advance` is told of characters of text. Raises DataError: bad records, no
    conversation at all, a folder that holds another corpus, a source of other files unless
    `asked.replaces`.
    """
    start = time.monotonic()
    _plan(out, asked)  # nothing is written where it refuses
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        # One after another: each adds to the record of all.
        with exclusive_once(out / ".instructions.lock", "codemix corpus instructions", 0):
            return _build(out, asked, advance, start)
    finally:
        for place in made:
            if place.exists() and not any(place.iterdir()):
                place.rmdir()


def _build(
    out: Path, asked: InstructionFiles, advance: Advance | None, start: float
) -> Instructions:
    files, record, options = _checked(out, asked)
    stages = {stage.options["source"]: stage for stage in record.stages}
    known, entry = stages.get(asked.source), record.sources.get(asked.source)
    if known and entry and known.options == options and entry.is_whole(out):
        log.info("%s: source %s is complete, nothing to do", out, asked.source)
        return Instructions(out, asked.source, entry.files[0], entry.licences, {}, 0.0, True)
    if _is_other(record, options):
        announce_replaced(out / (asked.source + SUFFIX))
    _remove_remnants(out, asked.source)
    reading = _Reading(asked)
    documents = reading.documents(files, advance or (lambda num_characters: None))
    mark = _mark(out, asked)
    mark.touch()
    try:
        file, licences = write_documents(out, asked.source + SUFFIX, documents, reading.skipped)
    except BaseException:
        mark.unlink()
        raise
    stages[asked.source] = StageRecord(
        "instructions",
        options,
        num_read={asked.source: reading.num_read},
        dropped={asked.source: reading.skipped},
    )
    sources = record.sources | {asked.source: CorpusSource((file,), licences)}
    CorpusRecord(dict(sorted(sources.items())), tuple(stages.values())).save(out)
    mark.unlink()
    skipped, seconds = reading.skipped.counts, time.monotonic() - start
    return Instructions(out, asked.source, file, licences, skipped, seconds, False)


def _remove_remnants(out: Path, source: str) -> None:
    """What killed runs have half written."""
    for name in (source + SUFFIX, CORPUS_FILE):
        for remnant in out.glob(f".{name}.*.tmp"):
            remnant.unlink(missing_ok=True)


@dataclass(frozen=True)
class InstructionsPlan:
    """What `build_instructions` would do."""

    out: str
    source: str
    files: int
    file_bytes: int
    """Of the files, as they are."""


def plan_instructions(out: Path, asked: InstructionFiles) -> InstructionsPlan:
    """Checks names and places; writes nothing. Raises DataError."""
    files, record, options = _checked(out, asked)
    if _is_other(record, options):
        announce_replaced(out / (asked.source + SUFFIX), is_plan=True)
    size = sum(file.num_bytes() for file in files)
    return InstructionsPlan(str(out), asked.source, len(files), size)


def _plan(out: Path, asked: InstructionFiles) -> tuple[Sequence[OpenFile], CorpusRecord]:
    """Files, and what is in the folder already."""
    problem = source_name_problem(asked.source)
    if asked.source == DROPPED_FOLDER:
        problem = "is the folder of what is left out; give it another name"
    if problem:
        raise DataError(f"source {asked.source!r}: {problem}")
    require_folder_place(out, "the corpus")
    files = find_files(asked.patterns)
    record = load_corpus(out) or CorpusRecord({})
    if any(stage.name != "instructions" for stage in record.stages) or (
        record.sources and not record.stages
    ):
        raise DataError(
            f"{out}: holds a corpus that {record.maker} has made, which would lose track of this "
            "source; name another folder"
        )
    for path in sorted(out.iterdir()) if out.is_dir() else []:
        is_known = asked.source in record.sources or _mark(out, asked).exists()
        is_ours = is_known and path.name == asked.source + SUFFIX
        if source_of(path) == asked.source and not is_ours:
            raise DataError(
                f"{path}: was not made by this command, and is source {asked.source!r} of this "
                "folder; name another folder, or another --source"
            )
    return files, record


def _checked(
    out: Path, asked: InstructionFiles
) -> tuple[Sequence[OpenFile], CorpusRecord, dict[str, JsonValue]]:
    """As `_plan`, and all that decides the source, which takes reading the files."""
    files, record = _plan(out, asked)
    options = _options(asked, files)
    _require_same_files(out, asked, record, options)
    return files, record, options


def _require_same_files(
    out: Path, asked: InstructionFiles, record: CorpusRecord, options: dict[str, JsonValue]
) -> None:
    """Raises DataError where the source would lose the conversations of other files."""
    known, entry = _recorded(record, asked.source), record.sources.get(asked.source)
    if known is None or entry is None or asked.replaces or known["files"] == options["files"]:
        return
    names = [name for name, _ in known["files"]]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    raise DataError(
        f"{out / entry.files[0].file}: source {asked.source!r} holds {entry.num_documents} "
        f"conversations of other files, or of these before they changed ({shown}); give all files "
        "of a source in one command, or name another --source, or give --replace"
    )


def _recorded(record: CorpusRecord, source: str) -> dict[str, JsonValue] | None:
    """The options that the source was made with."""
    found = [stage.options for stage in record.stages if stage.options["source"] == source]
    return found[0] if found else None


def _is_other(record: CorpusRecord, options: dict[str, JsonValue]) -> bool:
    """Whether the source is there, made from other files or by other options."""
    return _recorded(record, options["source"]) not in (None, options)


def _mark(out: Path, asked: InstructionFiles) -> Path:
    """A file that is there while the source is written, and after a kill until it is."""
    return out / f".{asked.source}.partial"


def _options(asked: InstructionFiles, files: Sequence[OpenFile]) -> dict[str, JsonValue]:
    """All that decides the source's documents."""
    return {
        "source": asked.source,
        "licence": asked.licence,
        "leaves_out_bad": asked.leaves_out_bad,
        "reader_version": _READER_VERSION,
        "files": [[file.name, file.state().sha256] for file in files],
    }
