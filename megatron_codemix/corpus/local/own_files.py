"""The user's own files in place of what this machine has."""

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
            raise DataError("\n".join(problems))
        return cls(files, form)

    def documents(self, source: str, skipped: Skipped) -> Iterator[Document]:
        """Of one source, as its files have them."""
        yield from read_documents(self.files[source], source, skipped, self.form)

    def fingerprint(self) -> dict[str, list[list[str | int]]]:
        """Changes when the files do, as far as their sizes and times tell."""
        return {
            source: [_fingerprint(file) for file in files] for source, files in self.files.items()
        }


def _fingerprint(file: Input) -> list[str | int]:
    if isinstance(file, InputFile):
        status = file.path.stat()
        return [str(file.path), status.st_size, status.st_mtime_ns]
    return [file.place, *file.state()]
