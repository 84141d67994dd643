"""Documents from files of any form: JSON lines (plain, gzip, zstd), Parquet, notebooks, commits of
a git clone, or one document a file.

What is not UTF-8, or too long to be a document, is named and skipped with a count; anything else
that is wrong stops with DataError.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.readers.chunks import (
    MAX_LINE_BYTES,
    too_long,
    whole_content,
    without_compression,
)
from megatron_codemix.corpus.readers.commits import GitCommits, commit_documents
from megatron_codemix.corpus.readers.fields import (
    FieldsSeen,
    FileForm,
    RecordForm,
    document_of,
    require_origin,
    text_of,
)
from megatron_codemix.corpus.readers.files import Input, InputFile, OpenFile, RemoteFile
from megatron_codemix.corpus.readers.json_lines import SUFFIXES, Unreadable, json_records
from megatron_codemix.corpus.readers.notebook import NotNotebookError, notebook_text
from megatron_codemix.corpus.readers.parquet import (
    is_parquet,
    open_parquet,
    require_columns,
    require_text_column,
    row_group,
)
from megatron_codemix.corpus.readers.skipped import Skipped

log = logging.getLogger(__name__)

Look = Callable[[Mapping[str, JsonValue]], None]

_AS_THEY_ARE = RecordForm()


def read_documents(
    files: Sequence[Input],
    source: str,
    skipped: Skipped,
    form: RecordForm = _AS_THEY_ARE,
    *,
    max_bytes: int = MAX_LINE_BYTES,
    look: Look | None = None,
) -> Iterator[Document]:
    """Documents in file order. form: of JSON lines and Parquet. max_bytes: a longer line or file is
    skipped. look: is shown each record of JSON lines.

    Raises DataError: a truncated or damaged file, a line that is not JSON, a text field that no
    record has, or that holds something else than text. A record where it is missing or null is
    skipped as empty.
    """
    for file in files:
        if isinstance(file, GitCommits):
            yield from commit_documents(file, source, skipped, max_bytes)
            continue
        assert isinstance(file, InputFile | RemoteFile), file
        kind = _form_of(file.name) if form.file_form == "by name" else form.file_form
        seen = FieldsSeen(file.place, form.text_field, form.text_option)
        if kind == "jsonl":
            records = json_records(file, skipped, max_bytes)
            if look is not None:
                records = _shown(records, look)
        elif kind == "parquet":
            records = _parquet_records(file, skipped, seen, form)
        else:
            yield from _whole_file(file, source, skipped, max_bytes)
            continue
        yield from _from_records(file, records, source, skipped, seen, form, max_bytes)


def _form_of(name: str) -> FileForm:
    if is_parquet(name):
        return "parquet"
    return "jsonl" if without_compression(name).endswith(SUFFIXES) else "plain"


def _from_records(
    file: OpenFile,
    records: Iterator[tuple[int, dict[str, Any]]],
    source: str,
    skipped: Skipped,
    seen: FieldsSeen,
    form: RecordForm,
    max_bytes: int,
) -> Iterator[Document]:
    for number, record in records:
        seen.add(record)
        text = text_of(record, seen, number)
        place = f"{file.name}:{number}"
        known = {}
        # A character is 4 bytes at most: only what may be too long is encoded to tell.
        if len(text) > max_bytes // 4 and len(text.encode()) > max_bytes:
            skipped.add(too_long(max_bytes), place)
            continue
        if form.text_form == "notebook" and text:
            try:
                text, known["language"] = notebook_text(text.encode())
            except NotNotebookError as error:
                skipped.add(str(error), place)
                continue
        if not text or text.isspace():
            skipped.add("empty", place)
        else:
            require_origin(record, form, seen, number)
            document = document_of(record, text, source, place, form)
            yield document.with_metadata(**known) if known else document
    seen.require_text()


def _shown(
    records: Iterator[tuple[int, dict[str, Any]]], look: Look
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, record in records:
        look(record)
        yield number, record


def _parquet_records(
    file: OpenFile, skipped: Skipped, seen: FieldsSeen, form: RecordForm
) -> Iterator[tuple[int, dict[str, Any]]]:
    unreadable = Unreadable(file, "row", skipped)
    columns = sorted(form.columns())
    number = 0
    with ExitStack() as stack:
        table = open_parquet(file, stack)
        seen.require_column(table.schema_arrow.names)
        require_text_column(file, table, form.text_field, seen.advice)
        require_columns(file, table, form.named)
        for group in range(table.num_row_groups):
            for rows, _ in row_group(file, table, group, columns):
                for row in rows:
                    number += 1
                    if row is None:
                        unreadable.add(number)
                    else:
                        yield number, row
    unreadable.finish()


def _whole_file(
    file: OpenFile, source: str, skipped: Skipped, max_bytes: int
) -> Iterator[Document]:
    content = whole_content(file, max_bytes)
    text, metadata, reason = None, {}, too_long(max_bytes)
    if content is not None:
        try:
            if without_compression(file.name).endswith(".ipynb"):
                text, language = notebook_text(content)
                metadata = {"language": language}
            else:
                text = content.decode("utf-8-sig").replace("\r\n", "\n")
        except NotNotebookError as error:
            reason = str(error)
        except UnicodeDecodeError:
            reason = "not UTF-8"
    if text is None:
        if skipped.is_announced:
            log.warning("%s: %s, skipped", file.place, reason)
        skipped.add(reason, file.name)
    elif not text or text.isspace():
        skipped.add("empty", file.name)
    else:
        yield Document(file.name, source, file.name, file.name, None, text, metadata)
