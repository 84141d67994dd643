"""A statement of a Python problem as one of a JavaScript problem: names and terms of the other
language, the rest word for word."""

import re
from collections.abc import Callable, Collection

_QUOTED = re.compile(r"`([^`]*)`")
_NAME = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]*\b")
_STRING = re.compile(r'"[^"]*"|\'[^\']*\'')
_CONSTANTS = {"None": "null", "True": "true", "False": "false"}
_TERMS = {
    "list": "array", "lists": "arrays", "tuple": "array", "tuples": "arrays",
    "dictionary": "map", "dictionaries": "maps", "Python": "JavaScript",
}  # fmt: skip
_TERM = re.compile(r"\b(?:(an?|An?) )?(" + "|".join(_TERMS) + r")\b")
_VERBS = (" lists the ", " lists all ", " list the ")
_LOOKUP = re.compile(r"\b([a-z_]\w*)\[([^\[\]]+)\]")
_TUPLE = re.compile(r"(?<![\w)])\(([^()]*,[^()]*)\)")


def in_javascript(statement: str, name_of: Callable[[str], str], maps: Collection[str] = ()) -> str:
    """`name_of` gives the JavaScript name of a Python name, or the word itself; `maps` are the
    Python names of dictionaries."""
    pieces = _QUOTED.split(statement)
    for place, piece in enumerate(pieces):
        if place % 2:
            pieces[place] = f"`{_code(piece, name_of, maps)}`"
        else:
            pieces[place] = _prose(piece, follows_code=place > 0)
    return "".join(pieces)


def _prose(text: str, *, follows_code: bool) -> str:
    """`lists` right behind a name is a verb."""
    verb = next((one for one in _VERBS if follows_code and text.startswith(one)), "")
    return verb + _TERM.sub(_term, text[len(verb) :])


def _term(found: re.Match[str]) -> str:
    """With the article that the word takes."""
    article, word = found[1], _TERMS[found[2]]
    if article is None:
        return word
    fitting = "an" if word[0] in "aeiou" else "a"
    return f"{fitting.capitalize() if article[0] == 'A' else fitting} {word}"


def _code(text: str, name_of: Callable[[str], str], maps: Collection[str]) -> str:
    if _STRING.fullmatch(text):
        return text
    text = _LOOKUP.sub(lambda found: _looked_up(found, maps), text)
    named = _NAME.sub(lambda found: _CONSTANTS.get(found[0]) or name_of(found[0]), text)
    return _TUPLE.sub(r"[\1]", named)


def _looked_up(found: re.Match[str], maps: Collection[str]) -> str:
    return f"{found[1]}.get({found[2]})" if found[1] in maps else found[0]
