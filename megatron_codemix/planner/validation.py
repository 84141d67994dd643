"""Published speeds beside those that the time model predicts, and the fit behind its constants."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.planner.published import Published, published_rows
from megatron_codemix.planner.time.constants import (
    Constants,
    Software,
    first_guess,
    load_constants,
)
from megatron_codemix.planner.time.estimate import estimate_time
from megatron_codemix.planner.time.fit import Measurement, fit_constants

MEAN_GOAL = 0.10
WORST_GOAL = 0.20
"""Relative errors of MFU on rows that were not fitted."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published row."""

    table: str
    name: str
    is_fitted: bool
    is_further: bool
    published_mfu: float
    """Of the bf16 peak, by the table's own count of operations; as the next."""
    predicted_mfu: float
    relative_error: float
    published_tokens_per_second_per_gpu: float
    predicted_tokens_per_second_per_gpu: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of some of the rows."""

    rows: int
    mean: float
    """Of the absolute relative errors."""
    worst: float
    worst_row: str


@dataclass(frozen=True, kw_only=True)
class Validation:
    """All rows with the constants that come with the planner."""

    rows: tuple[Row, ...]
    fitted: Errors
    not_fitted: Errors
    further: Errors
    """Of sizes that nothing was fitted to."""
    by_table: dict[str, Errors]
    """Of all rows that were not fitted."""

    @property
    def meets_goals(self) -> bool:
        """Whether the rows that were not fitted are predicted within the goals."""
        return self.not_fitted.mean <= MEAN_GOAL and self.not_fitted.worst <= WORST_GOAL

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For `--json`."""
        goals = {"mean": MEAN_GOAL, "worst": WORST_GOAL}
        return asdict(self) | {"goals": goals, "meets_goals": self.meets_goals}


def validate() -> Validation:
    """Predicts every published row."""
    rows = [_predict(row) for row in published_rows()]
    left_out = [row for row in rows if not row.is_fitted]
    return Validation(
        rows=tuple(rows),
        fitted=_errors([row for row in rows if row.is_fitted]),
        not_fitted=_errors([row for row in left_out if not row.is_further]),
        further=_errors([row for row in left_out if row.is_further]),
        by_table={
            table: _errors([row for row in left_out if row.table == table])
            for table in dict.fromkeys(row.table for row in rows)
        },
    )


def fit_published() -> dict[Software, Constants]:
    """The fits whose results `tables/constants.yaml` holds, from the expected values: first
    llm-foundry's rows, the more numerous, then NVIDIA's from there."""
    foundry = fit_constants(fitted_measurements("foundry"), first_guess())
    megatron = fit_constants(fitted_measurements("megatron"), foundry)
    return {"foundry": foundry, "megatron": megatron}


def fitted_measurements(software: Software) -> list[Measurement]:
    """Rows to fit to. Tables count alike, however many rows they have."""
    rows = [row for row in published_rows() if row.is_fitted and row.software == software]
    sizes = Counter(row.table for row in rows)
    mean = len(rows) / len(sizes)
    return [
        Measurement(
            job=row.job,
            cluster=row.cluster,
            step_seconds=row.step_seconds,
            weight=mean / sizes[row.table],
        )
        for row in rows
    ]


def _predict(row: Published) -> Row:
    constants = load_constants(row.software)
    speed = estimate_time(row.job, row.cluster, constants).tokens_per_second_per_gpu
    return Row(
        table=row.table,
        name=row.name,
        is_fitted=row.is_fitted,
        is_further=row.is_further,
        published_mfu=row.mfu(row.tokens_per_second_per_gpu),
        predicted_mfu=row.mfu(speed),
        relative_error=speed / row.tokens_per_second_per_gpu - 1,
        published_tokens_per_second_per_gpu=row.tokens_per_second_per_gpu,
        predicted_tokens_per_second_per_gpu=speed,
    )


def _errors(rows: list[Row]) -> Errors:
    worst = max(rows, key=lambda row: abs(row.relative_error))
    return Errors(
        rows=len(rows),
        mean=sum(abs(row.relative_error) for row in rows) / len(rows),
        worst=abs(worst.relative_error),
        worst_row=f"{worst.table}: {worst.name}",
    )
