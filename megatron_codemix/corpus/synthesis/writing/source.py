"""Source text of solutions: blocks with indentation, long lines broken, whole modules."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

WIDTH = 88
_OPEN = {"(": ")", "[": "]", "{": "}"}
_PLUS_MINUS = re.compile(r" \+ -(\w+)(?=$|[)\],]| [-+] )")
"""The negative of a name or number added: where nothing binds it to what stands behind."""
_BREAKS = (" for ", " if ", " else ", " and ", " or ")


class Block:
    """Statements of a function: `add` writes one at the present indentation; names are used
    once."""

    def __init__(self, taken: Iterable[str] = (), indent: int = 1) -> None:
        self.lines: list[str] = []
        self.names = set(taken)
        self.indent = indent

    def add(self, statement: str) -> None:
        self.lines.append("    " * self.indent + statement if statement else "")

    @contextmanager
    def inside(self, header: str) -> Iterator[None]:
        """A compound statement: the header, then what is added under it."""
        self.add(header)
        self.indent += 1
        yield
        self.indent -= 1

    def name(self, *wanted: str) -> str:
        """The first of these names that is free; with a number behind if none is."""
        candidates = [*wanted, *(f"{wanted[0]}_{number}" for number in range(2, 9))]
        chosen = next(one for one in candidates if one not in self.names)
        self.names.add(chosen)
        return chosen

    def text(self) -> str:
        return "\n".join(self.lines)


def function(signature: str, block: Block, docstring: str = "") -> str:
    """A definition; the docstring is one line or none."""
    lines = [signature]
    if docstring:
        lines.append(f'    """{docstring}"""')
    return "\n".join([*lines, *block.lines])


def module(parts: Sequence[str], imports: Sequence[str] = ()) -> str:
    """Definitions with two empty lines between, imports above, one newline at the end. The last
    part is what the module is for; functions before it that nothing names are left out."""
    head = ["\n".join(imports)] if imports else []
    text = "\n\n\n".join(part.strip("\n") for part in [*head, *_named(parts)] if part)
    return "\n".join(wrapped(_PLUS_MINUS.sub(r" - \1", line)) for line in text.split("\n")) + "\n"


def _named(parts: Sequence[str]) -> list[str]:
    kept = list(parts[-1:])
    for part in reversed(parts[:-1]):
        own = re.match(r"def (\w+)", part)
        if own is None or any(re.search(rf"\b{own[1]}\b", other) for other in kept):
            kept.insert(0, part)
    return kept


def wrapped(line: str) -> str:
    """The line, or as many as it takes to stay within WIDTH: broken inside its outermost brackets,
    as formatters do."""
    if len(line) <= WIDTH or line.lstrip().startswith(("#", '"""')):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    if (in_parentheses := _in_parentheses(line, indent)) is not None:
        return in_parentheses
    span = _outermost(line)
    if span is None:
        return line
    start, end = span
    head, inside, tail = line[: start + 1], line[start + 1 : end], line[end:]
    inner = f"{indent}    {inside}"
    items = _split(inside, (", ",))
    if _split(inside, (" for ",))[1:]:
        return "\n".join([head, *_comprehension(inside, f"{indent}    "), f"{indent}{tail}"])
    if len(items) > 1 and (len(inner) > WIDTH or tail[0] in "]}"):
        pieces = [
            part
            for item in items
            for part in _cut(f"{indent}    {item},", (" if ", " else "), (" or ",), (" and ",))
        ]
    elif len(inner) > WIDTH:
        pieces = [f"{indent}    {item}" for item in _split(inside, _BREAKS)]
    else:
        pieces = [inner]
    return "\n".join([head, *(wrapped(piece) for piece in pieces), f"{indent}{tail}"])


def _in_parentheses(line: str, indent: str) -> str | None:
    """A condition, value or result of several parts gets parentheses and a line for each part; None
    where it has but one."""
    match = re.match(r"(\s*(?:return|if|elif|while|assert|[][a-z_.]+ [-+*]?=) )(.+?)(:?)$", line)
    if match is None:
        return None
    for marks in ((" if ", " else "), (" or ",), (" and ",), (" + ", " - ")):
        parts = _split(match[2], marks)
        is_sum = marks[0] == " + "
        if len(parts) > 1 and not (is_sum and _outermost(line)):
            pieces = [wrapped(f"{indent}    {part}") for part in parts]
            return "\n".join([f"{match[1]}(", *pieces, f"{indent}){match[3]}"])
    return None


def _comprehension(inside: str, indent: str) -> list[str]:
    """A line for the element, one for each `for` and `if`; more where they are long themselves."""
    element, *loops = _split(inside, (" for ",))
    lines = _cut(f"{indent}{element}", (" if ", " else "))
    for loop in loops:
        head, *conditions = _split(loop, (" if ",))
        lines += wrapped(f"{indent}{head}").split("\n")
        for condition in conditions:
            lines += _cut(f"{indent}{condition}", (" or ",), (" and ",))
    return lines


def _cut(line: str, *choices: Sequence[str]) -> list[str]:
    """The line in pieces of one indentation where it is too long, as is right inside brackets."""
    if len(line) <= WIDTH:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    for marks in choices:
        pieces = _split(line.strip(), marks)
        if len(pieces) > 1:
            return [
                part for piece in pieces for part in _in_brackets(f"{indent}{piece}").split("\n")
            ]
    return _in_brackets(line).split("\n")


def _in_brackets(line: str) -> str:
    """As `wrapped`, of a piece that brackets surround already."""
    match = re.match(r"(\s*)((?:if|else|and|or) )(.*)$", line)
    if match is None or len(line) <= WIDTH:
        return wrapped(line)
    # The word in front is set aside: it begins no statement.
    inner = wrapped(f"{match[1]}{'_' * (len(match[2]) - 1)} {match[3]}")
    return inner.replace("_" * (len(match[2]) - 1) + " ", match[2], 1)


def _outermost(line: str) -> tuple[int, int] | None:
    """The last bracket pair at depth zero that holds anything worth breaking."""
    stack: list[int] = []
    found: tuple[int, int] | None = None
    for index, letter in _code_letters(line):
        if letter in _OPEN:
            stack.append(index)
        elif letter in _OPEN.values():
            start = stack.pop()
            if not stack and index - start > 20:
                found = (start, index)
    return found


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """At marks outside of brackets and strings; a mark that is a word begins the next piece."""
    depth, start, pieces = 0, 0, []
    skip = -1
    for index, letter in _code_letters(text):
        if letter in _OPEN:
            depth += 1
        elif letter in _OPEN.values():
            depth -= 1
        elif depth == 0 and index > skip:
            mark = next((one for one in marks if text.startswith(one, index)), None)
            if mark is not None and index > start:
                pieces.append(text[start:index])
                start = index + (len(mark) if mark == ", " else 1)
                skip = index
    return [*pieces, text[start:]]


def _code_letters(text: str) -> Iterator[tuple[int, str]]:
    """Characters outside of string literals."""
    quote = ""
    for index, letter in enumerate(text):
        if quote:
            if letter == quote and text[index - 1] != "\\":
                quote = ""
        elif letter in "\"'":
            quote = letter
        else:
            yield index, letter
