"""Pieces of JavaScript that know how tightly they bind, so that brackets stand where they must."""

from typing import NamedTuple

# How tightly an expression holds together; larger is tighter (ECMAScript's grammar, 13).
ARROW, CONDITIONAL, COALESCE, OR, AND = 2, 3, 4, 5, 6
EQUALITY, RELATION, SUM, PRODUCT, POWER, UNARY = 9, 10, 12, 13, 14, 15
MEMBER, ATOM = 18, 20


class Code(NamedTuple):
    """An expression's text."""

    text: str
    level: int = ATOM

    def at(self, level: int) -> str:
        """The text where something that binds so tightly is wanted."""
        return self.text if self.level >= level else f"({self.text})"


def member(of: Code, name: str) -> Code:
    return Code(f"{_receiver(of)}.{name}", MEMBER)


def method(of: Code, name: str, *arguments: Code) -> Code:
    return Code(f"{_receiver(of)}.{name}({listed(*arguments)})", MEMBER)


def _receiver(of: Code) -> str:
    text = of.at(MEMBER)
    return f"({text})" if text.isdigit() else text


def call(function: str, *arguments: Code) -> Code:
    return Code(f"{function}({listed(*arguments)})", MEMBER)


def new(name: str, *arguments: Code) -> Code:
    return Code(f"new {name}({listed(*arguments)})", MEMBER)


def index(of: Code, at: Code) -> Code:
    return Code(f"{_receiver(of)}[{at.text}]", MEMBER)


def infix(left: Code, operator: str, right: Code, level: int) -> Code:
    """Left-associative."""
    return Code(f"{left.at(level)} {operator} {right.at(level + 1)}", level)


def ratio(left: Code, operator: str, right: Code) -> Code:
    """`/` and `%`; a product on their left is put into brackets for the reader."""
    return Code(f"{left.at(PRODUCT + 1)} {operator} {right.at(PRODUCT + 1)}", PRODUCT)


def chained(operator: str, parts: list[Code], level: int) -> Code:
    """Of an operator for which order of evaluation is all that brackets would change. `&&` within
    `||` is put into brackets for the reader."""
    if len(parts) == 1:
        return parts[0]
    texts = [one.at(AND + 1 if one.level == AND and level == OR else level) for one in parts]
    return Code(f" {operator} ".join(texts), level)


def unary(operator: str, operand: Code) -> Code:
    inner = operand.at(UNARY)
    if operator == "-" and inner.startswith("-"):
        inner = f"({inner})"
    return Code(f"{operator}{inner}", UNARY)


def conditional(test: Code, one: Code, other: Code) -> Code:
    text = f"{test.at(COALESCE)} ? {one.at(CONDITIONAL + 1)} : {other.at(CONDITIONAL)}"
    return Code(text, CONDITIONAL)


def coalesce(one: Code, other: Code) -> Code:
    """`??`, which the grammar does not let stand beside `||` and `&&`."""
    return Code(f"{one.at(AND + 1)} ?? {other.at(AND + 1)}", COALESCE)


def arrow(parameters: str, body: Code) -> Code:
    """parameters: as they stand in the brackets."""
    return Code(f"({parameters}) => {body.at(ARROW if body.level == ARROW else COALESCE)}", ARROW)


def spread(one: Code) -> Code:
    """For the inside of brackets alone."""
    return Code(f"...{one.at(ARROW)}", ARROW)


def array(*elements: Code) -> Code:
    return Code(f"[{listed(*elements)}]")


def listed(*parts: Code) -> str:
    return ", ".join(one.at(ARROW) for one in parts)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(text: str) -> Code:
    """A string literal; what is not ASCII and printable as `\\u` escapes, in UTF-16."""
    return Code('"' + "".join(_ESCAPES.get(one) or _printable(one) for one in text) + '"')


def template_text(text: str) -> str:
    """Literal text between the places of a template string."""
    escaped = "".join(_ESCAPES.get(one) or _printable(one) for one in text)
    return escaped.replace('\\"', '"').replace("`", "\\`").replace("${", "\\${")


def _printable(letter: str) -> str:
    if letter.isascii() and letter.isprintable():
        return letter
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
