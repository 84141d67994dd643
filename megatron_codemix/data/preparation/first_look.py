"""A look into the input before anything is tokenised: whether there is text where it is looked for,
and a document for every split. It reads no further than to the first of each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from megatron_codemix.corpus.readers import (
    FieldsSeen,
    InputFile,
    RecordForm,
    document_of,
    text_of,
)
from megatron_codemix.corpus.split import Split, split_of
from megatron_codemix.corpus.store import place_of
from megatron_codemix.data.preparation.input_blocks import column_names, read_blocks, record_number
from megatron_codemix.errors import DataError

_Text = tuple[int, dict[str, Any], str]
"""Position, fields and text of a record."""


class _Look:
    """The records of a file that have text, and what is known of the others so far."""

    def __init__(self, file: InputFile, field: str, option: str, skipped: Counter[str]) -> None:
        self._file = file
        self._seen = FieldsSeen(file.path, field, option, partial(record_number, file))
        self._skipped = skipped

    def texts(self, columns: Sequence[str], block_bytes: int) -> Iterator[_Text]:
        """Raises DataError: what cannot be read, a field that holds something else than text, one
        that no record has."""
        self._seen.require_column(column_names(self._file, self._seen))
        for _, pieces in read_blocks(self._file, block_bytes, lambda block: True, columns):
            for piece in pieces:
                for position, fields in piece.records:
                    if fields is None:
                        self._skipped["not UTF-8"] += 1
                        continue
                    self._seen.add(fields)
                    text = text_of(fields, self._seen, position)
                    if not text or text.isspace():
                        self._skipped["empty"] += 1
                    else:
                        yield position, fields, text
        self._seen.require_text()


def require_documents(
    files: Mapping[str, Sequence[InputFile]],
    splits: Sequence[Split],
    *,
    validation_fraction: float,
    text_field: str,
    origin_field: str,
    block_bytes: int,
) -> None:
    """Raises DataError that names every source without text, or without a document of a split."""
    problems = []
    for source, parts in files.items():
        counts: dict[str, int] = dict.fromkeys(splits, 0)
        skipped: Counter[str] = Counter()
        try:
            for origin in _origins(parts, skipped, text_field, origin_field, block_bytes):
                counts[split_of(origin, validation_fraction)] += 1
                if all(counts.values()):
                    break
        except DataError as error:
            problems.append(str(error))
            continue
        absent = [split for split, count in counts.items() if count == 0]
        if absent:
            left_out = "".join(f", {reason}: {n}" for reason, n in sorted(skipped.items()))
            way_out = " (0 holds nothing out)" if absent == ["validation"] else ""
            problems.append(
                f"{place_of(parts)}: source {source!r} has no {absent[0]} document (documents: "
                f"{counts}{left_out}, validation fraction {validation_fraction}); give it more "
                f"documents or change --validation-fraction{way_out}"
            )
    if problems:
        raise DataError(*problems)


def _origins(
    files: Sequence[InputFile],
    skipped: Counter[str],
    text_field: str,
    origin_field: str,
    block_bytes: int,
) -> Iterator[str]:
    """Of each document, as it is read."""
    form = RecordForm(text_field=text_field, origin_field=origin_field)
    for file in files:
        look = _Look(file, text_field, "--text-field", skipped)
        for position, fields, text in look.texts((text_field, origin_field, "id"), block_bytes):
            place = f"{file.name}@{position}"
            yield document_of(fields, text, "", place, form).origin


def require_keys(files: Sequence[InputFile], keys: Sequence[str], block_bytes: int) -> None:
    """Raises DataError for a key that no record of any file has."""
    for key in keys:
        problems = []
        for file in files:
            try:
                for _ in _Look(file, key, "--json-keys", Counter()).texts((key,), block_bytes):
                    break
            except DataError as error:
                problems.append(str(error))
                continue
            break
        else:
            if problems:
                raise DataError(*problems)
