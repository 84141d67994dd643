"""The shares of the sources in the training tokens of each run."""

from collections.abc import Sequence

import numpy as np

from megatron_codemix.errors import ConfigError, FitError
from megatron_codemix.scaling.law import FloatArray, Inputs

_SUM_TOLERANCE = 0.01
"""Published shares are rounded."""


def share_inputs(law_name: str, sources: Sequence[str]) -> tuple[str, ...]:
    """The names of the shares among a law's inputs. Raises ConfigError without a mixture."""
    if len(sources) < 2 or len(set(sources)) < len(sources):
        raise ConfigError(
            [
                f"law {law_name} is about mixtures of two sources or more; got "
                f"{', '.join(sources) or 'none'}: the runs need a column share.<source> of each"
            ]
        )
    return tuple(f"share_{name}" for name in sources)


def share_matrix(law_name: str, sources: Sequence[str], inputs: Inputs) -> FloatArray:
    """[rows, sources]. Raises FitError where they do not sum to 1."""
    shares = np.stack([inputs[f"share_{name}"] for name in sources], axis=1)
    is_off = ~(np.abs(shares.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    if is_off.any():
        raise FitError(
            f"law {law_name}: in {int(is_off.sum())} of {len(shares)} rows the shares of "
            f"{', '.join(sources)} do not sum to 1; name all sources"
        )
    return shares


def require_different_mixtures(law_name: str, sources: Sequence[str], shares: FloatArray) -> None:
    """Raises FitError where the shares of some sources follow from those of the others in all
    rows, so that their effects cannot be told apart."""
    if np.linalg.matrix_rank(shares, tol=1e-6) < len(sources):
        raise FitError(
            f"law {law_name} cannot be fitted: the shares of {', '.join(sources)} do not vary "
            f"independently; at least {len(sources)} different mixtures are needed"
        )
