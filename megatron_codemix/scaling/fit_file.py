"""What `codemix scaling fit --out` has written, read again, and what it predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from megatron_codemix.config.problems import readable
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.files import read_json
from megatron_codemix.scaling.analysis import FittedLaw
from megatron_codemix.scaling.fit_record import FitFileRecord, problems_of_fit
from megatron_codemix.scaling.populations import Where, where_words
from megatron_codemix.scaling.target import Point, predict

FIT_FILE = "fit.json"
_SHOWN = 3
"""Problems of a damaged file that are told."""


@dataclass(frozen=True)
class StoredFit:
    target: str
    where: Where
    parameters_column: str | None
    fitted: FittedLaw


@dataclass(frozen=True)
class PointPrediction:
    """One law at one point."""

    target: str
    where: Where
    law: str
    value: float
    low: float
    high: float
    """NaN where there is no interval."""
    run_spread: float
    """Relative scatter of single runs about the law; NaN where it is not known."""
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "target": self.target,
            "where": self.where,
            "law": self.law,
            "value": self.value,
            "low": _finite(self.low),
            "high": _finite(self.high),
            "run_spread": _finite(self.run_spread),
            "warnings": list(self.warnings),
        }


def read_fits(path: Path) -> list[StoredFit]:
    """The fits in the file, or in that of a folder. Raises DataError where it is something else, or
    damaged."""
    if path.is_dir():
        path = path / FIT_FILE
    if not path.exists():
        raise DataError(f"{path}: no such file; 'codemix scaling fit RUNS --out FOLDER' makes it")
    try:
        content = read_json(path)
        record = FitFileRecord.model_validate(content)
    except ValidationError as error:
        raise _damaged(path, readable(error.errors(), content, FitFileRecord, "")) from error
    except IsADirectoryError as error:
        raise _damaged(path, ["a folder"]) from error
    except ValueError as error:
        raise _damaged(path, ["not JSON"]) from error
    problems: list[str] = []
    for place, fit in enumerate(record.fits):
        problems += [f"fits.{place}.{problem}" for problem in problems_of_fit(fit)]
    if problems:
        raise _damaged(path, problems)
    return [
        StoredFit(
            target=fit.target_column,
            where=dict(fit.where),
            parameters_column=fit.parameters_column,
            fitted=FittedLaw.from_dict(fit.model_dump()),
        )
        for fit in record.fits
    ]


def _damaged(path: Path, problems: Sequence[str]) -> DataError:
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return DataError(
        f"{path}: no whole result of 'codemix scaling fit --out' "
        f"({'; '.join([*problems[:_SHOWN], *more])}); fit again"
    )


def predictions(stored: Sequence[StoredFit], at: Point) -> list[PointPrediction]:
    """Every law at the point; of laws fitted to each mixture by itself those of the mixture that is
    asked for, or all where none is. Raises ConfigError where the point lacks something."""
    found = []
    for one in _of_mixture(stored, at):
        prediction = predict(one.fitted, at)
        found.append(
            PointPrediction(
                target=one.target,
                where=one.where,
                law=one.fitted.law.name,
                value=float(prediction.value[0]),
                low=float(prediction.low[0]),
                high=float(prediction.high[0]),
                run_spread=one.fitted.residual_spread,
                warnings=prediction.warnings,
            )
        )
    return found


def _of_mixture(stored: Sequence[StoredFit], at: Point) -> list[StoredFit]:
    """Raises ConfigError where no fit is of the mixture, or a share has no effect."""
    by = dict.fromkeys(name for one in stored for name in one.where if name.startswith("share."))
    if not any(name.startswith("share_") for one in stored for name in one.fitted.law.inputs):
        taken = f"they are told apart by {', '.join(by)}" if by else "they are of one mixture"
        problems = [
            f"--share {name} has no effect on the fits, whose law knows no shares; {taken}"
            for name in at.shares
            if f"share.{name}" not in by
        ]
        if problems:
            raise ConfigError(problems)

    def agrees(one: StoredFit) -> bool:
        return all(
            abs(float(one.where.get(f"share.{name}", share)) - share) < 1e-6
            for name, share in at.shares.items()
        )

    chosen = [one for one in stored if agrees(one)]
    if not chosen:
        known = "; ".join(dict.fromkeys(where_words(one.where) for one in stored))
        raise ConfigError([f"--share: there is no fit to runs of that mixture; there are: {known}"])
    return chosen


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
