"""Lends the state of a numpy RandomState to the extension, so that both draw from one stream."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Result = TypeVar("Result")


def draw_with(
    rng: np.random.RandomState,
    build: Callable[[npt.NDArray[np.uint32], int], tuple[Result, int]],
) -> Result:
    """The result of `build(key, position)`, which draws from the stream of `rng` and advances it.

    `build` advances `key` in place and returns its result with the new position.
    """
    state = rng.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(f"rng must be an MT19937 RandomState, not {state['bit_generator']}")
    # get_state copies, so a failure in `build` leaves `rng` as it was.
    result, position = build(state["state"]["key"], int(state["state"]["pos"]))
    state["state"]["pos"] = position
    rng.set_state(state)
    return result
