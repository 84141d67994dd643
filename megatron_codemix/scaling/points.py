"""What every law asks of the runs that it is fitted to."""

from collections.abc import Mapping, Sequence

import numpy as np

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray, Inputs, Law

NAMES: Mapping[str, str] = {
    "parameters": "model sizes",
    "tokens": "numbers of training tokens",
    "unique_tokens": "numbers of unique tokens",
    "loss_nats": "losses",
    "bits_per_byte": "task losses",
}
"""Quantities, in words."""


def require_points(
    law: Law, inputs: Inputs, target: FloatArray, *, vary: Sequence[str] = ()
) -> None:
    """Raises FitError, with all problems, unless the law can be fitted to these rows: all its
    inputs are there and finite, there are at least as many different rows as parameters, and each
    quantity of `vary` has at least two values."""
    missing = [name for name in law.inputs if name not in inputs]
    if missing:
        raise FitError(f"law {law.name} needs {', '.join(missing)}; the runs do not have it")
    rows = np.column_stack([*(inputs[name] for name in law.inputs), target])
    problems = []
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows).all(axis=1)).sum())
        problems.append(f"{bad} of {len(rows)} runs have a value that is no finite number")
    problems += [
        f"some of the {NAMES.get(name, name)} are zero or below"
        for name in law.inputs
        if not name.startswith("share_") and (inputs[name] <= 0).any()
    ]
    if law.target == "loss_nats" and (target <= 0).any():
        problems.append("some of the losses are zero or below")
    needed, different = len(law.parameter_names), len(np.unique(rows, axis=0))
    if different < needed:
        problems.append(
            f"{different} different runs are too few for {needed} parameters "
            f"({', '.join(law.parameter_names)})"
        )
    problems += [
        f"all runs have one of the {NAMES.get(name, name)} ({inputs[name][0]:g}): what changes "
        "with it cannot be seen"
        for name in vary
        if len(inputs[name]) and len(np.unique(inputs[name])) < 2
    ]
    if problems:
        raise FitError(f"law {law.name} cannot be fitted: " + "; ".join(problems))
