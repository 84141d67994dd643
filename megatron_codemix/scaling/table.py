"""Runs as a table: columns that say their unit, and rows that a law can be fitted to.

Columns: `name`; `parameters_total` or `parameters_without_embedding`; `tokens`, `unique_tokens`;
`seed`; `group` (rows that belong together in a bootstrap: by default those with the same name);
`diverged` (true or false); `share.<source>` (of the training tokens); `loss_nats.<evaluation>`
(nats per token); `bits_per_byte.<source or task>`; `accuracy.<task>` and `error.<task>` (0 to 1).
Other columns are kept and mean nothing here, unless they look like a quantity without its unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.columns import (
    LOSSES,
    NUMBERS,
    PARAMETERS,
    as_numbers,
    family_of,
    holds_numbers,
    name_problems,
    value_problems,
)
from megatron_codemix.scaling.diverged import worse_than_smaller
from megatron_codemix.scaling.law import FloatArray, Inputs, Law
from megatron_codemix.scaling.table_file import read_csv, read_jsonl

_TARGETS: Mapping[str, tuple[str, ...]] = {
    "loss_nats": LOSSES,
    "error": ("error",),
    "accuracy": ("accuracy",),
}
"""What a law predicts -> families of columns that are such a thing."""


@dataclass(frozen=True)
class Excluded:
    """A run that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class RunTable:
    """Runs, checked; make one with `of_frame` or `read_table`."""

    frame: pd.DataFrame
    where: str
    """For messages: the file."""
    excluded: tuple[Excluded, ...] = ()
    keep_diverged: bool = False
    """Whether only runs that are marked so have diverged."""

    @classmethod
    def of_frame(
        cls, frame: pd.DataFrame, where: str, lines: Sequence[int] | None = None
    ) -> "RunTable":
        """Raises DataError with everything that is wrong with the columns and their values.

        lines: of each row in the file `where`, for messages.
        """
        frame = frame.reset_index(drop=True).copy()
        is_named = "name" in frame
        if not is_named:
            frame.insert(0, "name", [f"row {number}" for number in range(1, len(frame) + 1)])
        frame["name"] = frame["name"].astype(str)
        runs = [f"run {name}" for name in frame["name"]]
        if lines is not None:
            runs = [
                f"line {line} ({run})" if is_named else f"line {line}"
                for line, run in zip(lines, runs, strict=True)
            ]
        problems = name_problems(frame.columns)
        for column in filter(holds_numbers, frame.columns):
            frame[column], unreadable = as_numbers(frame[column], runs)
            problems += unreadable
        problems += value_problems(frame, runs)
        if problems:
            raise DataError(*(f"{where}: {problem}" for problem in problems))
        kept, excluded = _without_copies(frame)
        return cls(frame=kept, where=where, excluded=excluded)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def sources(self) -> tuple[str, ...]:
        """Those with a share."""
        return tuple(c.removeprefix("share.") for c in self.frame if family_of(c) == "share")

    @property
    def names(self) -> list[str]:
        return list(self.frame["name"])

    @property
    def groups(self) -> list[str]:
        """A label for each row; rows with the same one are drawn together."""
        return [str(label) for label in self.frame["group" if "group" in self.frame else "name"]]

    def columns(self, family: str) -> list[str]:
        """The table's columns of a family: "loss_nats" -> ["loss_nats.c4_en", ...]."""
        return [column for column in self.frame if family_of(column) == family]

    def where_equal(self, column: str, value: Any) -> "RunTable":  # Any: what a cell may hold
        """The runs with that value. Raises DataError where there is none."""
        if column not in self.frame:
            known = ", ".join(map(str, self.frame))
            raise DataError(f"{self.where}: no column {column}; there are: {known}")
        values = self.frame[column].unique()
        if value not in list(values):
            known = ", ".join(map(str, values))
            raise DataError(f"{self.where}: no run with {column} = {value}; there are: {known}")
        rows = self.frame[self.frame[column] == value].reset_index(drop=True)
        return replace(self, frame=rows)

    def usable_for(self, target_column: str) -> "RunTable":
        """The runs that have a value of `target_column` and have not diverged, the others listed.

        A run has diverged if its column `diverged` says so, or by the rule of `diverged.py`.
        """
        self.require(target_column)
        reasons: dict[int, str] = {}
        if "diverged" in self.frame:
            for row in np.flatnonzero(_flags(self.frame["diverged"])):
                reasons[int(row)] = "it is marked as diverged"
        for row in np.flatnonzero(~np.isfinite(self._values(target_column)[:, 0])):
            reasons.setdefault(int(row), f"{target_column} is no finite number")
        for number, reason in (
            {} if self.keep_diverged else worse_than_smaller(self.frame)
        ).items():
            reasons.setdefault(number, reason)
        if not reasons:
            return self
        known = {(gone.name, gone.reason) for gone in self.excluded}
        gone = [Excluded(self.names[row], reasons[row]) for row in sorted(reasons)]
        new = tuple(one for one in gone if (one.name, one.reason) not in known)
        kept = self.frame.drop(index=list(reasons)).reset_index(drop=True)
        return replace(self, frame=kept, excluded=self.excluded + new)

    def _values(self, *columns: str) -> FloatArray:
        """[runs, columns]."""
        values: FloatArray = self.frame[list(columns)].to_numpy(dtype=float)
        return values

    def inputs_for(
        self,
        law: Law,
        target_column: str,
        parameters_column: str | None = None,
        *,
        loss_column: str | None = None,
    ) -> tuple[Inputs, FloatArray]:
        """What `law.fit` takes, from the rows of `usable_for(target_column)` in their order.

        parameters_column: which count of parameters; absent: the one there is, else the total.
        loss_column: for laws of a loss (error, accuracy); absent: the only one, or the target
            task's bits per byte. Raises DataError.
        """
        family = family_of(target_column)
        if family not in _TARGETS.get(law.target, (law.target,)):
            wanted = " or ".join(f"{f}.<name>" for f in _TARGETS.get(law.target, (law.target,)))
            raise DataError(f"law {law.name} predicts {wanted}, and {target_column} is none")
        table = self.usable_for(target_column)
        columns = {
            quantity: table._column_of(quantity, target_column, parameters_column, loss_column)
            for quantity in law.inputs
        }
        incomplete = [column for column in columns.values() if table.frame[column].isna().any()]
        if incomplete:
            raise DataError(
                f"{self.where}: " + "; ".join(map(table._missing_words, dict.fromkeys(incomplete)))
            )
        inputs = {
            quantity: table.frame[column].to_numpy(dtype=float)
            for quantity, column in columns.items()
        }
        return inputs, table.frame[target_column].to_numpy(dtype=float)

    def _column_of(
        self,
        quantity: str,
        target_column: str,
        parameters_column: str | None,
        loss_column: str | None,
    ) -> str:
        if quantity == "parameters":
            there = [name for name in PARAMETERS if name in self.frame]
            column = parameters_column or next(iter(there), PARAMETERS[0])
        elif quantity.startswith("share_"):
            column = f"share.{quantity.removeprefix('share_')}"
        elif quantity in LOSSES:
            of_task = f"{quantity}.{target_column.partition('.')[2]}"
            there = self.columns(quantity)
            if loss_column is None and of_task not in there and len(there) != 1:
                known = ", ".join(there) or f"no column {quantity}.<name>"
                raise DataError(f"{self.where}: say which loss {target_column} follows: {known}")
            column = loss_column or (of_task if of_task in there else there[0])
        else:
            column = quantity
        self.require(column)
        return column

    def _missing_words(self, column: str) -> str:
        rows = self.frame.index[self.frame[column].isna()]
        text = f"{len(rows)} of {len(self)} runs have no {column} (first: {self.names[rows[0]]})"
        others = [c for c in PARAMETERS if c != column and c in self.frame]
        if column in PARAMETERS and others and self.frame.loc[rows, others[0]].notna().all():
            text += f" but {others[0]}; counts with and without embeddings do not mix"
        return text

    def require(self, column: str) -> None:
        """Raises DataError where there is no such column."""
        if column not in self.frame:
            alike = [c for c in self.frame if c.split(".")[0] == column.split(".")[0]]
            known = ", ".join(alike or [c for c in self.frame if c in NUMBERS or family_of(c)])
            raise DataError(f"{self.where}: no column {column}; there are: {known}")


def read_table(path: Path) -> RunTable:
    """A CSV file, or a JSON object on each line. Raises DataError."""
    if path.suffix == ".csv":
        rows = read_csv(path)
    elif path.suffix == ".jsonl":
        rows = read_jsonl(path)
    else:
        raise DataError(f"{path}: a table of runs is a .csv or a .jsonl file")
    if rows.frame.empty:
        raise DataError(f"{path}: there is no run in it; give a line for each")
    return RunTable.of_frame(rows.frame, str(path), rows.lines)


def _without_copies(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Excluded, ...]]:
    """The rows that differ in more than their name from all before them, and the others. Rows
    without a result are not compared."""
    results = [c for c in frame if family_of(c) not in (None, "share")]
    has_result = frame[results].notna().any(axis=1).to_numpy(dtype=bool)
    cells = frame.drop(columns=["name"]).itertuples(index=False, name=None)
    rows = [tuple(map(str, row)) for row in cells]
    first: dict[tuple[str, ...], str] = {}
    excluded, is_copy = [], np.zeros(len(frame), dtype=bool)
    for place, (name, row) in enumerate(zip(frame["name"], rows, strict=True)):
        if has_result[place] and row in first:
            is_copy[place] = True
            excluded.append(Excluded(name, f"the same as run {first[row]}"))
        first.setdefault(row, name)
    return frame[~is_copy].reset_index(drop=True), tuple(excluded)


def _flags(values: Sequence[Any]) -> list[bool]:  # Any: cells
    return [str(value).strip().lower() in ("true", "1", "1.0", "yes") for value in values]
