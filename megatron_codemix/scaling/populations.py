"""Which runs of a table belong together.

A law that knows nothing of mixtures is fitted to each mixture by itself, one that knows nothing of
size and tokens to each scale; so are runs of different populations (`BY`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.columns import PARAMETERS
from megatron_codemix.scaling.law import Law
from megatron_codemix.scaling.table import RunTable

BY = ("training_set", "set")
"""Columns that say which population a run is of."""

Where = dict[str, float | str]


def mixtures(table: RunTable) -> list[Where]:
    """The different shares that there are."""
    columns = table.columns("share")
    if not columns:
        return []
    rows = table.frame[columns].drop_duplicates()
    return [dict(zip(columns, map(float, row), strict=True)) for row in rows.to_numpy()]


def takes_shares(law: Law) -> bool:
    """Whether one fit is of many mixtures."""
    return any(name.startswith("share_") for name in law.inputs)


def populations(table: RunTable, law: Law, by: Sequence[str]) -> list[tuple[Where, RunTable]]:
    """The runs that the law may be fitted to together, with what tells them apart. Raises DataError
    where that leaves single runs."""
    unknown = [column for column in by if column not in table.frame]
    if unknown:
        known = ", ".join(map(str, table.frame))
        raise DataError(f"{table.where}: no column {', '.join(unknown)}; there are: {known}")
    columns: list[str] = [column for column in (*BY, *by) if column in table.frame]
    if "tokens" in law.inputs and not takes_shares(law):
        columns += table.columns("share")
    if takes_shares(law) and "tokens" not in law.inputs:
        columns += [c for c in (*PARAMETERS, "tokens") if c in table.frame]
    columns = [c for c in dict.fromkeys(columns) if table.frame[c].nunique(dropna=False) > 1]
    if not columns:
        return [({}, table)]
    parts = []
    for values, rows in table.frame.groupby(columns, sort=True, dropna=False):
        where: Where = {
            column: value if isinstance(value, str) else float(value)
            for column, value in zip(columns, values, strict=True)
        }
        frame = rows.reset_index(drop=True)
        parts.append((where, replace(table, frame=frame)))
    if len(parts) > len(table) / 2:
        raise DataError(
            f"{table.where}: {len(table)} runs are of {len(parts)} kinds ({', '.join(columns)}), "
            f"which law {law.name} takes by themselves; choose another law ('codemix scaling "
            "laws'), or runs by --where"
        )
    return parts


def where_words(where: Mapping[str, float | str]) -> str:
    """`training_set rpj, share.code 0.25`."""
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in where.items()
    )
