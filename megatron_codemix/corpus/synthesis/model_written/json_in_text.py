"""The JSON object in what a language model answers, which is seldom JSON alone."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

_THOUGHTS = re.compile(r"<(think|thinking)>.*?(</\1>|\Z)", re.DOTALL)
_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_MAX_OBJECTS = 20
_MAX_CHARACTERS = 200_000


class UnreadableError(Exception):
    """No such object; the message says why in few words."""


def object_in(text: str, *fields: str) -> dict[str, Any]:
    """The first object that has all the fields. Looked through: words around it, code fences,
    thoughts in tags, comments of `//`, trailing commas, line breaks within strings, the notation of
    Python.

    Raises UnreadableError: "not JSON", "cut off", or the fields that are missing.
    """
    said = _without_thoughts(text[:_MAX_CHARACTERS])
    found: list[dict[str, Any]] = []
    for place in [*_FENCED.findall(said), said]:
        for candidate in _braced(place):
            value = _parsed(candidate)
            if isinstance(value, dict) and all(field in value for field in fields):
                return value
            if isinstance(value, dict):
                found.append(value)
    if found:
        missing = [field for field in fields if field not in found[0]]
        raise UnreadableError(f"no field {', '.join(missing)}")
    start = said.find("{")
    is_open = start >= 0 and _closing(said, start) is None
    raise UnreadableError("cut off" if is_open else "not JSON")


def _without_thoughts(text: str) -> str:
    """Tags within an object are part of what it says: a solution may be about them."""
    parts, start, place, unclosed = [], 0, 0, 0
    while (thought := _THOUGHTS.search(text, place)) is not None:
        brace = text.find("{", place, thought.start())
        if brace < 0 or unclosed > _MAX_OBJECTS:
            parts.append(text[start : thought.start()])
            start = place = thought.end()
            continue
        end = _closing(text, brace)
        unclosed += end is None
        place = (brace if end is None else end) + 1
    return "".join([*parts, text[start:]])


def _braced(text: str) -> Iterator[str]:
    """Outermost pieces between braces that belong together, strings looked through."""
    number, start = 0, text.find("{")
    while start >= 0 and number < _MAX_OBJECTS:
        end = _closing(text, start)
        number += 1
        if end is not None:
            yield text[start : end + 1]
        start = text.find("{", (start if end is None else end) + 1)


def _closing(text: str, start: int) -> int | None:
    depth, quote, index = 0, "", start
    while index < len(text):
        letter = text[index]
        if quote:
            if letter == "\\":
                index += 1
            elif text.startswith(quote, index):
                index += len(quote) - 1
                quote = ""
        elif letter == '"' or (letter == "'" and _opens_string(text, index)):
            quote = letter * 3 if text.startswith(letter * 3, index) else letter
            index += len(quote) - 1
        elif text.startswith("//", index):  # a comment, as far as its line goes
            index = text.find("\n", index)
            if index < 0:
                return None
        elif letter in "{[":
            depth += 1
        elif letter in "]}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    return None


def _opens_string(text: str, index: int) -> bool:
    """Whether a single quote is one of Python's rather than an apostrophe."""
    while index > 0 and text[index - 1].isspace():
        index -= 1
    return index > 0 and text[index - 1] in "{[(,:"


def _parsed(text: str) -> Any:
    """None where it is neither JSON nor Python's notation."""
    for attempt in (text, _tidied(text)):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


_STRING_OR_EXTRA = re.compile(
    r'("(?:\\.|[^"\\])*")|//[^\n]*|,(?=\s*(?://[^\n]*\s*)*[}\]])', re.DOTALL
)


def _tidied(text: str) -> str:
    """Without comments and trailing commas outside of strings."""
    return _STRING_OR_EXTRA.sub(lambda found: found[1] or "", text)
