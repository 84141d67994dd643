"""The items of a task, from the user's own files."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.readers import READERS
from megatron_codemix.evaluation.suites.readers.files import find_file, list_files, read_records
from megatron_codemix.evaluation.suites.readers.formats import Document
from megatron_codemix.evaluation.suites.registry import TaskInfo
from megatron_codemix.files import hash_file


class MissingDataError(DataError):
    """None of a task's files is there."""


@dataclass(frozen=True)
class TaskData:
    """Items and where they are from.

    notes: what sets scores from this file apart from those of others.
    """

    documents: list[Document]
    file: Path
    sha256: str
    notes: tuple[str, ...]


def read_task(info: TaskInfo, folder: Path, limit: int | None) -> TaskData:
    """The first `limit` items of a task. Raises MissingDataError that names the task, DataError
    that names the file that is wrong."""
    files = list_files(folder)
    try:
        path = find_file(folder, files, info.better_files) or find_file(folder, files, info.files)
    except DataError as error:
        raise DataError(f"{info.name}: {error}") from error
    if path is None:
        raise MissingDataError(f"{info.name}: no data below {folder}; {info.how_to_get}")
    pairs = READERS[info.reader].documents(read_records(path))
    documents, formats = [], []
    for document, chosen in islice(pairs, limit):
        documents.append(document)
        formats.append(chosen)
    if not documents:
        raise DataError(f"{path}: none of its records is an item of {info.name}")
    notes = tuple(dict.fromkeys(one.note for one in formats if one.note))
    return TaskData(documents, path, hash_file(path), notes)
