"""What variants have cost, their seeds together."""

from collections.abc import Mapping, Sequence

from megatron_codemix.files import Json

Row = Mapping[str, Json]

_SUMS = ("tokens", "seconds", "gpu_hours", "processor_hours", "restarts", "failures")


def variant_costs(costs: Row, cells: Mapping[str, Row]) -> list[dict[str, Json]]:
    """By point of the matrix and variant: `cell`, `variant`, `runs`, the sums of the report's rows
    (None where one is not known), and whether all are complete.

    costs, cells: of the report.
    """
    gathered: dict[tuple[str, str], list[Row]] = {}
    for row in costs["variants"]:
        gathered.setdefault((cells[row["cell"]]["group"], row["variant"]), []).append(row)
    return [
        {
            "cell": cell,
            "variant": variant,
            "runs": len(rows),
            "is_complete": all(row["is_complete"] for row in rows),
            **{key: _sum([row[key] for row in rows]) for key in _SUMS},
        }
        for (cell, variant), rows in gathered.items()
    ]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
