"""Long lines of JavaScript, broken as formatters do."""

import re
from collections.abc import Iterator
from itertools import pairwise

WIDTH = 88
_OPEN = {"(": ")", "[": "]", "{": "}"}
_OPERATORS = ((" ? ", " : "), (" ?? ",), (" || ",), (" && ",), (" + ", " - "))
"""From what binds least."""
_TAKES_COMMA = re.compile(r"[\w$)\]]\($|(?<![\w$)\]])\[$")
"""A call or an array, rather than a condition, a group or an index."""
_LINK = re.compile(r"(?<!\.)\.[\w$]+\(")


def broken(line: str) -> list[str]:
    """The line, or as many as it takes to stay within WIDTH."""
    if len(line) <= WIDTH or line.lstrip().startswith(("*", "/*")):
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    for way in (_at_operators, _at_links, _inside_brackets):
        pieces = way(line, indent)
        if pieces is not None and max(map(len, pieces)) < len(line):
            return [one for piece in pieces for one in broken(piece)]
    return [line]


def _at_operators(line: str, indent: str) -> list[str] | None:
    """Each operand on a line of its own that begins with the operator: nothing that could end a
    statement too early stands at the end of a line."""
    for marks in _OPERATORS:
        pieces = _split(line, *marks)
        if len(pieces) > 1 and not line.lstrip().startswith(("for (", "const {")):
            return [pieces[0], *(f"{indent}  {piece}" for piece in pieces[1:])]
    return None


def _at_links(line: str, indent: str) -> list[str] | None:
    """A chain of at least two calls: each of them on a line of its own."""
    depth, links = 0, []
    for index, letter in _code_letters(line):
        if letter in _OPEN:
            depth += 1
        elif letter in _OPEN.values():
            depth -= 1
        elif depth == 0 and letter == "." and _LINK.match(line, index):
            links.append(index)
    if len(links) < 2 or line[: links[0]].endswith("Math"):
        return None
    places = [*links, len(line)]
    pieces = [line[start:end] for start, end in pairwise(places)]
    return [line[: links[0]], *(f"{indent}  {piece}" for piece in pieces)]


def _inside_brackets(line: str, indent: str) -> list[str] | None:
    """What stands in the widest brackets, on lines of its own."""
    span = _widest(line)
    if span is None:
        return None
    start, end = span
    head, inside, tail = line[: start + 1], line[start + 1 : end], line[end:]
    items = _split(inside, ", ")
    is_pattern = tail.startswith("] of ") or head.lstrip().startswith("function")
    comma = "," if _TAKES_COMMA.search(head) and not is_pattern else ""
    last = f"{indent}  {items[-1].strip()}{comma}"
    return [
        head.rstrip(),
        *(f"{indent}  {one.strip()}," for one in items[:-1]),
        last,
        indent + tail,
    ]


def _widest(line: str) -> tuple[int, int] | None:
    stack: list[int] = []
    found: tuple[int, int] | None = None
    for index, letter in _code_letters(line):
        if letter in _OPEN:
            stack.append(index)
        elif letter in _OPEN.values() and stack:
            start = stack.pop()
            is_wider = found is None or index - start > found[1] - found[0]
            if not stack and index - start > 20 and is_wider:
                found = (start, index)
    return found


def _split(text: str, *marks: str) -> list[str]:
    """At marks outside of brackets and literals; a mark that is an operator begins the next
    piece."""
    depth, start, pieces = 0, 0, []
    first = len(text) - len(text.lstrip())
    for index, letter in _code_letters(text):
        if letter in _OPEN:
            depth += 1
        elif letter in _OPEN.values():
            depth -= 1
        elif depth == 0 and index >= start:
            mark = next((one for one in marks if text.startswith(one, index)), None)
            if mark is not None and index > max(start, first):
                pieces.append(text[start:index])
                start = index + (2 if mark == ", " else 1)
    return [*pieces, text[start:]]


def _code_letters(text: str) -> Iterator[tuple[int, str]]:
    """Characters outside of strings, templates and regular expressions."""
    quote = ""
    index = 0
    while index < len(text):
        letter = text[index]
        if quote:
            if letter == "\\":
                index += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'`" or (letter == "/" and text[index + 1 : index + 2] not in (" ", "")):
            quote = letter
        else:
            yield index, letter
        index += 1
