"""Values as source text of JavaScript."""

from collections.abc import Iterable

from megatron_codemix.corpus.synthesis.translation.code import quoted
from megatron_codemix.corpus.synthesis.translation.forms import JsonValue, TypeForm

_ARRAYS = ("list", "tuple")


def literal(form: TypeForm, value: JsonValue) -> str:
    """Of a value in the JSON of `forms`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quoted(value).text
    match form[0]:
        case "optional":
            return literal(form[1], value)
        case "list":
            return _array(literal(form[1], one) for one in value)
        case "tuple":
            return _array(literal(part, one) for part, one in zip(form[1:], value, strict=True))
        case "set":
            inside = _array(literal(form[1], one) for one in value)
            return f"new {container(form)}({inside if value else ''})"
        case "dict":
            pairs = (f"[{literal(form[1], key)}, {literal(form[2], one)}]" for key, one in value)
            return f"new {container(form)}({_array(pairs) if value else ''})"
    parts = [part for _, _, part in form[3]]
    fields = (literal(part, one) for part, one in zip(parts, value, strict=True))
    return f"new {form[2]}({', '.join(fields)})"


def container(form: TypeForm) -> str:
    """The class of a set or a dictionary: one of its own where keys are arrays."""
    plain = "Set" if form[0] == "set" else "Map"
    return f"Tuple{plain}" if form[1][0] in _ARRAYS else plain


def _array(parts: Iterable[str]) -> str:
    return f"[{', '.join(parts)}]"


def holds_keyed_arrays(form: TypeForm) -> bool:
    """Whether a set or map of arrays is in it, which `node:assert` cannot look into."""
    if isinstance(form, str):
        return False
    if form[0] in ("set", "dict") and form[1][0] in _ARRAYS:
        return True
    parts = [part for _, _, part in form[3]] if form[0] == "record" else form[1:]
    return any(map(holds_keyed_arrays, parts))
