"""Documents from files, one module a form of them. The names below are what other packages use."""

from megatron_codemix.corpus.readers.chunks import MAX_LINE_BYTES, read_chunks
from megatron_codemix.corpus.readers.documents import read_documents
from megatron_codemix.corpus.readers.fields import FieldsSeen, RecordForm, document_of, text_of
from megatron_codemix.corpus.readers.files import (
    FileState,
    Input,
    InputFile,
    NoFileError,
    OpenFile,
    RemoteFile,
    utf8_name,
)
from megatron_codemix.corpus.readers.patterns import expand_patterns, find_files
from megatron_codemix.corpus.readers.skipped import Skipped

__all__ = [
    "MAX_LINE_BYTES",
    "FieldsSeen",
    "FileState",
    "Input",
    "InputFile",
    "NoFileError",
    "OpenFile",
    "RecordForm",
    "RemoteFile",
    "Skipped",
    "document_of",
    "expand_patterns",
    "find_files",
    "read_chunks",
    "read_documents",
    "text_of",
    "utf8_name",
]
