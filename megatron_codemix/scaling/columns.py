"""What the columns of a table of runs mean, and the values that they may hold."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.units import parse_count

PARAMETERS = ("parameters_total", "parameters_without_embedding")
COUNTS = (*PARAMETERS, "tokens", "unique_tokens")
NUMBERS = (*COUNTS, "seed")
FAMILIES = ("share", "loss_nats", "bits_per_byte", "accuracy", "error")
"""Of columns with a dot: `share.code`."""

LOSSES = ("loss_nats", "bits_per_byte")

_UNITLESS = (
    "loss",
    "perplexity",
    "ppl",
    "param",
    "n_param",
    "num_param",
    "size",
    "token",
    "acc",
    "err",
)
"""Beginnings of names that mean a quantity; with no unit they are refused."""

_FEWEST = 1000
"""No run has fewer parameters or tokens; what is below is in millions or billions."""
_LARGEST_LOSS_NATS = 20.0
"""Above the loss of a uniform guess over any vocabulary; a median above it is a perplexity."""
_SHARE_TOLERANCE = 1e-3
_SHOWN_CHARACTERS = 40


def family_of(column: str) -> str | None:
    """`loss_nats` for `loss_nats.c4_en`; None for a column that is not of a family."""
    family, dot, rest = str(column).partition(".")
    return family if dot and rest and family in FAMILIES else None


def holds_numbers(column: str) -> bool:
    return column in NUMBERS or family_of(column) is not None


def name_problems(columns: Iterable[str]) -> list[str]:
    """Of columns that look like a quantity without its unit."""
    problems = []
    for column in map(str, columns):
        known = column in ("name", "group", "diverged") or holds_numbers(column)
        if not known and column.lower().startswith(_UNITLESS):
            problems.append(
                f"column {column!r} does not say its unit; known are {', '.join(COUNTS)}, "
                f"{', '.join(f'{family}.<name>' for family in FAMILIES)}"
            )
    return problems


def as_numbers(values: pd.Series, runs: Sequence[str]) -> tuple[pd.Series, list[str]]:
    """The column as floats, NaN for what is empty, and what cannot be read.

    runs: words for each row ("line 3 (run a)").
    """
    numbers, unreadable = [], []
    for run, value in zip(runs, values, strict=True):
        try:
            numbers.append(_as_number(value, is_count=values.name in COUNTS))
        except (ValueError, TypeError, OverflowError):
            numbers.append(np.nan)
            unreadable.append((run, _shown(value)))
    problems = []
    if unreadable:
        run, value = unreadable[0]
        text = f"{run}: {values.name}: not a number: {value}{_more(len(unreadable))}"
        problems = [f"{text}; give a number, or leave the cell empty"]
    return pd.Series(numbers, index=values.index, dtype=float), problems


def _as_number(value: Any, *, is_count: bool) -> float:  # Any: a cell
    if value is None or value == "":
        return np.nan
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("true and false are no numbers")
    if is_count and isinstance(value, str) and value[-1:].isalpha() and value.lower() != "nan":
        number = float(parse_count(value))
    else:
        number = float(value)
    if is_count and np.isinf(number):
        raise OverflowError("no count is infinite")
    return number


def value_problems(frame: pd.DataFrame, runs: Sequence[str]) -> list[str]:
    """Values that cannot be in the column's unit, with the first run that has one.

    runs: words for each row ("line 3 (run a)").
    """
    problems = []
    for column in frame.columns:
        if family_of(column) is not None or column in COUNTS:
            values = frame[column].to_numpy(dtype=float)
            problems += _problems_of(str(column), values, runs)
    shares = [column for column in frame.columns if family_of(column) == "share"]
    if shares:
        sums = frame[shares].sum(axis=1).to_numpy(dtype=float)
        off = np.flatnonzero(np.abs(sums - 1) > _SHARE_TOLERANCE)
        if len(off):
            problems.append(
                f"{runs[off[0]]}: the shares add to {sums[off[0]]:g}{_more(len(off))}; they must "
                "add to 1"
            )
    return problems


def _problems_of(column: str, values: FloatArray, runs: Sequence[str]) -> list[str]:
    family = family_of(column)
    finite = np.isfinite(values)
    if column in COUNTS:
        wrong, wanted = values < _FEWEST, "give whole counts, or 2.5B, in all runs"
    elif family in LOSSES:
        wrong, wanted = values <= 0, "a loss is above zero; mend it, or leave the cell empty"
    else:
        wrong = (values < 0) | (values > 1)
        wanted = "it is a fraction from 0 to 1, not a percentage or a sum"
    rows = np.flatnonzero(wrong & finite)
    if len(rows):
        first = rows[0]
        return [f"{runs[first]}: {column} of {values[first]:g}{_more(len(rows))}: {wanted}"]
    if family == "loss_nats" and finite.any() and np.median(values[finite]) > _LARGEST_LOSS_NATS:
        return [f"{column} looks like a perplexity; give its logarithm, in nats"]
    return []


def _more(rows: int) -> str:
    return f" (and {rows - 1} more rows like it)" if rows > 1 else ""


def _shown(value: Any) -> str:  # Any: a cell
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
