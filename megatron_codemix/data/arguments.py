"""Numbers that callers of the Python API hand in."""

import operator
from typing import SupportsIndex


def whole_number(value: SupportsIndex, name: str, *, least: int) -> int:
    """`value` as an int; numpy's integers are taken, too.

    Raises TypeError on what is no integer, ValueError below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None
    if number < least:
        raise ValueError(f"{name} is {number}; it must be at least {least}")
    return number
