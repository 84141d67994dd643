"""How often the runs of one scale rank two mixtures as those of the largest one do."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from megatron_codemix.scaling.columns import PARAMETERS
from megatron_codemix.scaling.decisions import DecisionAccuracy, decision_accuracy
from megatron_codemix.scaling.table import RunTable

CORPUS = "training_set"
"""Column of runs that are told apart by their corpus, besides its shares."""
_SHARE_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class ScaleAccuracy:
    """How often runs of one scale rank two mixtures as the largest scale does."""

    parameters: float
    tokens: float
    against: tuple[float, float]
    """Parameters and tokens of the largest scale that has some of its mixtures."""
    mixtures: int
    """Which both have."""
    accuracy: DecisionAccuracy


def mixture_columns(table: RunTable) -> list[str]:
    """Columns that say what is decided about."""
    return [c for c in (CORPUS, *table.columns("share")) if c in table.frame]


def scale_accuracies(table: RunTable, target: str) -> tuple[ScaleAccuracy, ...]:
    """Each scale beside the largest one that has two of its mixtures; smallest compute first."""
    column = next((name for name in PARAMETERS if name in table.frame), None)
    if column is None or "tokens" not in table.frame:
        return ()
    by_scale = {
        (float(size), float(tokens)): _losses(table, rows, target)
        for (size, tokens), rows in table.frame.groupby([column, "tokens"])
    }
    scales = sorted(by_scale, key=lambda scale: scale[0] * scale[1])
    found = []
    for place, scale in enumerate(scales):
        for larger in reversed(scales[place + 1 :]):
            common = sorted(by_scale[scale].keys() & by_scale[larger].keys())
            if len(common) < 2:
                continue
            losses = (np.array([by_scale[one][m] for m in common]) for one in (scale, larger))
            found.append(
                ScaleAccuracy(
                    parameters=scale[0],
                    tokens=scale[1],
                    against=larger,
                    mixtures=len(common),
                    accuracy=decision_accuracy(*losses),
                )
            )
            break
    return tuple(found)


def _losses(table: RunTable, rows: pd.DataFrame, target: str) -> dict[tuple[str, ...], float]:
    """Mixture -> mean loss over its runs."""
    named = rows[mixture_columns(table)].round(_SHARE_DIGITS).astype(str)
    keys = pd.Series([tuple(row) for row in named.to_numpy()], index=rows.index)
    return {key: float(values.mean()) for key, values in rows[target].groupby(keys)}
