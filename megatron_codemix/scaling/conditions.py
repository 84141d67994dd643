"""Which runs of a table are asked for: `set=train_1m`, `share.code>0`."""

import json
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.columns import holds_numbers
from megatron_codemix.scaling.table import RunTable

_SAME_VALUE = 1e-9
_COMPARISONS: dict[str, Callable[[Any, float], Any]] = {  # Any: numpy arrays
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"([^=<>]+)(<=|>=|=|<|>)([^=<>].*)")


@dataclass(frozen=True)
class Condition:
    """`sign` is =, <, <=, > or >=; `value` as it was written."""

    column: str
    sign: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{self.value}"


def read_conditions(option: str, texts: Sequence[str] | None) -> tuple[Condition, ...]:
    """Raises ConfigError for what is none, and where a column has two values."""
    found: dict[tuple[str, str], Condition] = {}
    for text in texts or []:
        match = _FORM.fullmatch(text)
        if match is None:
            raise ConfigError(
                [f"{option} {text}: expected COLUMN=VALUE, or COLUMN>NUMBER (<, <=, >=)"]
            )
        condition = Condition(*match.groups())
        earlier = found.setdefault((condition.column, condition.sign), condition)
        if earlier != condition:
            raise ConfigError([f"{option} {text}: {option} {earlier} is given too; write one"])
    return tuple(found.values())


def runs_that(table: RunTable, conditions: Sequence[Condition]) -> RunTable:
    """The runs of which all hold. Raises ConfigError for what is no number, DataError where no run
    is left."""
    for condition in conditions:
        if condition.sign == "=":
            table = table.where_equal(condition.column, _cell(table, condition))
        else:
            table = _compared(table, condition)
    return table


def _compared(table: RunTable, condition: Condition) -> RunTable:
    column = condition.column
    if not holds_numbers(column):
        raise ConfigError([f"--where {condition}: {column} holds no numbers; give it by ="])
    bound = _number(condition)
    table.require(column)
    values = table.frame[column].to_numpy(dtype=float)
    rows = table.frame[_COMPARISONS[condition.sign](values, bound)].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            f"{table.where}: no run with {condition}; {column} goes from {np.nanmin(values):g} to "
            f"{np.nanmax(values):g}"
        )
    return replace(table, frame=rows)


def _cell(table: RunTable, condition: Condition) -> float | str:
    """The value of a cell that is meant."""
    column = condition.column
    if not holds_numbers(column):
        labels = table.frame[column].unique() if column in table.frame else []
        return next((one for one in labels if _written(one) == condition.value), condition.value)
    number = _number(condition)
    values = table.frame[column].to_numpy(dtype=float) if column in table.frame else np.array([])
    near = values[np.abs(values - number) <= _SAME_VALUE * max(1.0, abs(number))]
    return float(near[0]) if len(near) else number


def _number(condition: Condition) -> float:
    try:
        return float(condition.value)
    except ValueError as error:
        raise ConfigError([f"--where {condition}: {condition.column} holds numbers"]) from error


def _written(label: Any) -> str:  # Any: what a cell may hold
    """As JSON writes it."""
    if isinstance(label, np.generic):
        label = label.item()
    return label if isinstance(label, str) else json.dumps(label, default=str)
