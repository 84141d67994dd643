"""Values of Python's own types as JSON, and back: nothing that is read can run code.

An object of a subclass is sent as what it holds: methods that it overrides (`__eq__`) stay behind.
"""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

Export = Callable[[object], list[Any]]
"""Says how to send what is not a value; raises TypeError where that is not done."""

_ITERABLE: dict[str, Any] = {  # Any: a class whose instances are made from a list
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
}
_MAPPING: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "OrderedDict": (OrderedDict, OrderedDict),
    "Counter": (Counter, lambda pairs: Counter(dict(pairs))),
    "dict": (dict, dict),
}
_TEXTUAL: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Decimal": (Decimal, str, Decimal),
    "Fraction": (Fraction, str, Fraction),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda one: [one.days, one.seconds, one.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "complex": (complex, lambda one: [one.real, one.imag], lambda parts: complex(*parts)),
    "range": (range, lambda one: [one.start, one.stop, one.step], lambda parts: range(*parts)),
}
"""Name -> class, how it is written, how it is read."""


def encode(value: object, export: Export) -> Any:
    """A form that `json` writes: itself, or a list that begins with the name of a type."""
    match value:
        case None | bool():
            return value
        case str():
            return "".join(value)
        case int():  # in hexadecimal: decimal digits are limited to 4300
            return ["int", hex(value)]
        case float():
            return ["float", float.hex(value) if math.isfinite(value) else str(float(value))]
    for name, (kind, _) in _MAPPING.items():
        if isinstance(value, kind):
            assert isinstance(value, dict)
            pairs = dict.items(value)
            return [name, [[encode(one, export), encode(two, export)] for one, two in pairs]]
    for name, kind in _ITERABLE.items():
        if isinstance(value, kind):
            return [name, [encode(one, export) for one in kind.__iter__(value)]]
    for name, (kind, write, _) in _TEXTUAL.items():
        if isinstance(value, kind):
            return [name, write(value)]
    return export(value)


def decode(form: Any, imported: Callable[[str, Any], object]) -> Any:
    """Inverse of `encode`; `imported(name, content)` is asked for what is not a value. Raises
    ValueError, TypeError or another error of a type's own for what `encode` does not write."""
    if form is None or isinstance(form, bool | str):
        return form
    name, content = form
    if name == "int":
        return int(content, 16)
    if name == "float":
        return float.fromhex(content)
    if name in _MAPPING:
        pairs = [(decode(one, imported), decode(two, imported)) for one, two in content]
        return _MAPPING[name][1](pairs)
    if name in _ITERABLE:
        return _ITERABLE[name]([decode(one, imported) for one in content])
    if name in _TEXTUAL:
        return _TEXTUAL[name][2](content)
    return imported(name, content)
