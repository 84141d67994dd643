"""The user's own files in place of what this machine has."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import (
    Input,
    InputFile,
    RecordForm,
    Skipped,
    find_files,
    read_documents,
)
from megatron_codemix.errors import DataError

SOURCES = ("code", "markup", "text")

log = logging.getLogger(__name__)

_BEGIN_CHARACTERS = 2000
_RECORDS = re.compile(r'\s*\[?\s*\{\s*"')


@dataclass(frozen=True)
class OwnFiles:
    """Source -> the files that replace it. They may be larger than memory."""

    files: dict[str, list[Input]]
    form: RecordForm

    @classmethod
    def of_patterns(cls, patterns: Mapping[str, Sequence[str]], form: RecordForm) -> "OwnFiles":
        """Raises DataError with every pattern that matches no file."""
        unknown = sorted(set(patterns) - set(SOURCES))
        assert not unknown, unknown
        problems: list[str] = []
        files: dict[str, list[Input]] = {}
        for source in SOURCES:
            if patterns.get(source):
                try:
                    files[source] = [*find_files(patterns[source])]
                except DataError as error:
                    problems.append(f"--{source}: {error}")
        if problems:
            raise DataError(*problems)
        return cls(files, form)

    def require_usable(self) -> None:
        """Reads every file up to its first document. Raises DataError with what is wrong with each,
        and with sources that have none."""
        problems: list[str] = []
        for source, files in self.files.items():
            skipped = Skipped(is_announced=False)
            num_found, num_problems = 0, len(problems)
            for file in files:
                try:
                    num_found += any(
                        True for _ in read_documents([file], source, skipped, self.form)
                    )
                except DataError as error:
                    problems.append(f"--{source}: {error}")
            if num_found == 0 and len(problems) == num_problems:
                problems.append(why_empty(source, skipped))
        if problems:
            raise DataError(*problems)

    def documents(self, source: str, skipped: Skipped) -> Iterator[Document]:
        """Of one source, as its files have them."""
        yield from read_documents(self.files[source], source, skipped, self.form)

    def fingerprint(self) -> dict[str, list[list[str | int]]]:
        """Changes when the files do, as far as their sizes and times tell."""
        return {
            source: [_fingerprint(file) for file in files] for source, files in self.files.items()
        }


def warn_of_records(document: Document, field: str) -> bool:
    """Whether a document is JSON with records of its own, which is then told."""
    begin = document.text[:_BEGIN_CHARACTERS]
    if _RECORDS.match(begin) is None or f'"{field}"' not in begin:
        return False
    log.warning(
        "--%s: %s is one document, though it looks like JSON records with %r; JSON lines are read "
        "as records from files that end in .jsonl",
        document.source,
        document.id,
        field,
    )
    return True


_IS = {"duplicate": "in the corpus already"}  # other reasons can stand after "is" as they are


def why_empty(source: str, skipped: Skipped) -> str:
    """Why nothing is left of the files that were given for a source."""
    total = sum(skipped.counts.values())
    reasons = [(count, _IS.get(reason, reason)) for reason, count in sorted(skipped.counts.items())]
    if not reasons:
        why = "the files hold no text"
    elif total == 1:
        why = f"the only record is {reasons[0][1]}"
    elif len(reasons) == 1:
        why = f"all {total} records are {reasons[0][1]}"
    else:
        each = ", ".join(f"{count} {'is' if count == 1 else 'are'} {why}" for count, why in reasons)
        why = f"no record of {total} can be used ({each})"
    return f"source {source!r} is empty: {why}; give other files with --{source}"


def _fingerprint(file: Input) -> list[str | int]:
    if isinstance(file, InputFile):
        status = file.path.stat()
        return [file.place, status.st_size, status.st_mtime_ns]
    return [file.place, *file.state()]
