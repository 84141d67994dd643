"""JSON objects, one a line."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.readers.chunks import (
    MAX_LINE_BYTES,
    read_chunks,
    split_lines,
    too_long,
)
from megatron_codemix.corpus.readers.files import OpenFile
from megatron_codemix.corpus.readers.skipped import Skipped
from megatron_codemix.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = (".jsonl", ".ndjson")
_MIN_ROUNDED = 2.0**63
_MAX_WARNINGS = 3  # of each file


class NotJsonError(ValueError):
    """Some text is not JSON; says where in it."""


def parse_json(data: bytes) -> JsonValue:
    """What the json module makes of it: it takes NaN, orjson alone does not.

    Raises UnicodeError where it is not UTF-8, or spells (\\ud800) what UTF-8 cannot; NotJsonError.
    """
    try:
        value = orjson.loads(data)
        if not _has_large_number(value):
            return value
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(data.decode("utf-8-sig"))
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at column {error.colno}") from error
    except UnicodeError:
        raise
    except RecursionError as error:
        raise NotJsonError("nested too deep") from error
    except ValueError as error:  # the only other one of the json module, of 4,300 digits or more
        raise NotJsonError("a whole number of thousands of digits") from error


def _has_large_number(value: JsonValue) -> bool:
    """Whether orjson may have rounded a number: integers of over 64 bits are floats to it."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if abs(one) >= _MIN_ROUNDED:
                return True
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False


def json_kind(value: JsonValue) -> str:
    """What kind of value it is, in the words of JSON."""
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "a number")


def parse_object(line: bytes, place: Callable[[], str]) -> dict[str, Any] | None:
    """The object of a line; None where it is not UTF-8. Raises DataError where it is something
    else. place: names the line, in an error."""
    try:
        value = parse_json(line)
    except UnicodeError:
        return None
    except NotJsonError as error:
        raise DataError(
            f"{place()} is not JSON ({error}); one object a line is expected"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{place()} is {json_kind(value)}; one object a line is expected")
    return value


@dataclass
class Unreadable:
    """Records of one file that are skipped: a few by number, the others counted."""

    file: OpenFile
    unit: str
    skipped: Skipped
    count: int = 0

    def add(self, number: int, reason: str = "not UTF-8") -> None:
        self.count += 1
        self.skipped.add(reason, f"{self.file.name}:{number}")
        if self.skipped.is_announced and self.count <= _MAX_WARNINGS:
            text = "%s: %s %d is %s, skipped"
            log.warning(text, self.file.place, self.unit, number, reason)

    def finish(self) -> None:
        if self.skipped.is_announced and self.count > _MAX_WARNINGS:
            text = "%s: skipped as they cannot be read: %d %ss in all"
            log.warning(text, self.file.place, self.count, self.unit)


def json_records(
    file: OpenFile, skipped: Skipped, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the line from 1, its object). What is not UTF-8 or too long is skipped.

    Raises DataError: a file that is cut or damaged, a line that is no JSON object.
    """
    unreadable = Unreadable(file, "line", skipped)
    for number, line in enumerate(split_lines(read_chunks(file), max_line_bytes), 1):
        if line is None:
            unreadable.add(number, too_long(max_line_bytes))
        elif line and not line.isspace():
            record = parse_object(line, lambda number=number: f"{file.place}: line {number}")  # type: ignore[misc]
            if record is None:
                unreadable.add(number)
            else:
                yield number, record
    unreadable.finish()
