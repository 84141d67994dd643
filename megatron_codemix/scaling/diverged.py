"""Which runs have diverged, by the losses of runs that had less to learn from."""

import numpy as np
import pandas as pd

from megatron_codemix.scaling.columns import LOSSES, PARAMETERS, family_of
from megatron_codemix.scaling.law import FloatArray

DIVERGED_RATIO = 1.1
_EPOCHS_WITHOUT_HARM = 4.0
"""More repetition can raise the loss of a sound run (Muennighoff et al. 2023, figure 3)."""
_WITNESSES = 2
"""One wrong loss that is too low must not condemn all runs that are larger."""


def worse_than_smaller(frame: pd.DataFrame) -> dict[int, str]:
    """Row -> why it has diverged: each of its losses is more than 1.1 times those of two runs with
    no more parameters, no more tokens and the same shares (and, with unique tokens, no more of
    them). Size and data do not make a sound run worse on everything; runs with more than four
    epochs are not judged so, as repetition does.

    frame: numbers as `RunTable` checks them, rows counted from 0.
    """
    parameters = next((name for name in PARAMETERS if name in frame), None)
    loss_columns = [c for family in LOSSES for c in frame if family_of(c) == family]
    if parameters is None or "tokens" not in frame or not loss_columns:
        return {}
    has_unique = "unique_tokens" in frame
    sizes = _values(frame, [parameters, "tokens", *(["unique_tokens"] if has_unique else [])])
    shares = _values(frame, [c for c in frame if family_of(c) == "share"])
    is_smaller = (sizes[None] <= sizes[:, None]).all(axis=-1)  # [runs, runs no larger]
    is_smaller &= (shares[None] == shares[:, None]).all(axis=-1)
    is_worse = np.ones(len(frame), dtype=bool)
    if has_unique:
        is_worse = sizes[:, 1] <= _EPOCHS_WITHOUT_HARM * sizes[:, 2]
    losses = _values(frame, loss_columns)
    for column in losses.T:
        is_better = is_smaller & (DIVERGED_RATIO * column[None] < column[:, None])
        is_worse &= is_better.sum(axis=1) >= _WITNESSES
    first = losses[:, 0]
    more = ", and its other losses likewise" if len(loss_columns) > 1 else ""
    reasons = {}
    for row in np.flatnonzero(is_worse).tolist():
        best = np.argsort(np.where(is_smaller[row], first, np.inf), kind="stable")[:_WITNESSES]
        others = " and ".join(f"{frame['name'].iloc[one]} ({first[one]:.4g})" for one in best)
        reasons[row] = (
            f"diverged: its {loss_columns[0]} of {first[row]:.4g} is more than {DIVERGED_RATIO} "
            f"times those of {others}, which are no larger and saw no more tokens{more}"
        )
    return reasons


def _values(frame: pd.DataFrame, columns: list[str]) -> FloatArray:
    """[runs, columns]."""
    values: FloatArray = frame[columns].to_numpy(dtype=float)
    return values
