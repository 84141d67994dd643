"""The items of a JSON list, one after another: the list may be larger than memory, an item not."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from megatron_codemix.corpus.readers import MAX_LINE_BYTES, OpenFile, read_chunks
from megatron_codemix.errors import DataError

_SPACE = re.compile(r"[ \t\n\r]*")


def list_items(file: OpenFile, max_characters: int = MAX_LINE_BYTES) -> Iterator[Any]:
    """Whatever values they are. Raises DataError: no list, or one that is cut; bytes that are not
    UTF-8; an item of more characters."""
    window = _Window(file, max_characters)
    try:
        window.expect("[")
        if window.peek() == "]":
            window.expect("]")
        else:
            yield window.value()
            while window.peek() == ",":
                window.expect(",")
                yield window.value()
            window.expect("]")
        if window.peek():
            raise window.broken("it goes on after its end")
    except UnicodeDecodeError as error:
        raise DataError(f"{file.place}: is not UTF-8; convert it") from error


class _Window:
    """A piece of the text, of which what was read is forgotten."""

    def __init__(self, file: OpenFile, max_characters: int) -> None:
        self._file = file
        self._max_characters = max_characters
        self._chunks = codecs.iterdecode(read_chunks(file), "utf-8-sig")
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._is_whole = "", 0, False

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None, "it matches nothing too"
            self._at = space.end()
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._grow()

    def expect(self, character: str) -> None:
        """Passes over it."""
        if (found := self.peek()) != character:
            raise self.broken(f"{character!r} is expected, not {found!r}")
        self._at += 1

    def value(self) -> Any:  # Any: a JSON value
        """The next one."""
        self.peek()
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._text, self._at)
                return value
            except json.JSONDecodeError as error:  # or there is more of it
                if self._is_whole:
                    raise self.broken(error.msg) from error
            except RecursionError as error:
                raise self.broken("nested too deep") from error
            except ValueError as error:
                raise self.broken("a whole number of thousands of digits") from error
            if len(self._text) - self._at > self._max_characters:
                raise self.broken(f"an item of more than {self._max_characters >> 20} MiB")
            self._grow()

    def _grow(self) -> None:
        """To twice what is left of it: a long value is not tried anew for each piece of a file."""
        pieces = [self._text[self._at :]]
        wanted = num_read = len(pieces[0])
        while num_read < max(1, 2 * wanted):
            piece = next(self._chunks, None)
            if piece is None:
                self._is_whole = True
                break
            pieces.append(piece)
            num_read += len(piece)
        self._text, self._at = "".join(pieces), 0

    def broken(self, reason: str) -> DataError:
        """The error that says where."""
        return DataError(f"{self._file.place}: the list is not JSON ({reason})")
