"""Python source of an expression with how tightly it binds, so that parentheses stand where
needed."""

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """Binding strength, loosest first. `{0:product}` in a template wants at least that."""

    CONDITIONAL = 0
    OR = 1
    AND = 2
    NOT = 3
    COMPARE = 4
    SUM = 5
    PRODUCT = 6
    UNARY = 7
    POWER = 8
    ATOM = 9


class Code(NamedTuple):
    text: str
    level: Level
    opposite: str = ""
    """Of a comparison: the text with the operator turned round."""

    def __str__(self) -> str:
        return self.text

    def __format__(self, wanted: str) -> str:
        if not wanted or self.level >= Level[wanted.upper()]:
            return self.text
        return f"({self.text})"


def negated(code: Code) -> Code:
    """The opposite, by turning a comparison round where there is one, else by `not`."""
    if code.level == Level.NOT and code.text.startswith("not "):
        return Code(code.text.removeprefix("not "), Level.COMPARE)
    if code.opposite:
        return Code(code.opposite, Level.COMPARE, code.text)
    return Code(f"not {code:not}", Level.NOT)


_OPPOSITES = {
    "not in": "in", "in": "not in", "==": "!=", "!=": "==", "<=": ">", ">=": "<", "<": ">=",
    ">": "<=",
}  # fmt: skip


def opposite_template(template: str) -> str:
    """A template with its one comparison turned round; "" where it has none or several."""
    found = [sign for sign in _OPPOSITES if f" {sign} " in template]
    if "not in" in found:
        found.remove("in")
    if (
        len(found) != 1
        or template.count(f" {found[0]} ") != 1
        or " if " in template
        or " for " in template
    ):
        return ""
    return template.replace(f" {found[0]} ", f" {_OPPOSITES[found[0]]} ")
