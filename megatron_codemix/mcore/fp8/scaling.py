"""How Transformer Engine scales tensors into the range of FP8: four rules, restated.

Shapes: M tokens of a microbatch, K inputs, N outputs of a linear layer (a rank's part of them).
The rules are those of the recipes Float8CurrentScaling, Float8BlockScaling, DelayedScaling and
MXFP8BlockScaling with their defaults. One thing differs: a maximum is taken over the ranks that
share a tensor, where Transformer Engine takes each rank's own, so that a layout does not decide how
a weight is rounded.
"""

from typing import Protocol

import torch
import torch.distributed
import torch.nn.functional as F

from megatron_codemix.backend.compiling import fused
from megatron_codemix.mcore.fp8.formats import E4M3, E5M2, Format, Quantised, codes_of, quantise

TILE = 128
_ROW, _COLUMN, _SQUARE = (1, TILE), (TILE, 1), (TILE, TILE)
MICROBLOCK = 32
_SIGN_AND_EXPONENT = -(2**23)
"""Bits of an fp32 number without its fraction."""
_FRACTION = 2**23 - 1
_LARGEST = torch.finfo(torch.float32).max


class LayerScaling(Protocol):
    """Rounds the operands of one layer's three products. Every rank that has a part of the layer
    calls each method in the same order."""

    def of_input(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        """Input [M, K] as operand of the output and of the weight's gradient."""

    def of_weight(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        """Weight [N, K] as operand of the output and of the input's gradient."""

    def of_gradient(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        """Output's gradient [M, N] as operand of the input's gradient and of the weight's."""


class TensorwiseScaling:
    """One scale for a tensor, from its maximum as it is: E4M3 forward, E5M2 for gradients."""

    def __init__(
        self, group: torch.distributed.ProcessGroup | None, *, in_both_orders: bool = False
    ) -> None:
        """group: the ranks that share the layer's tensors; None: this one has all of them.
        in_both_orders: of memory, for products that take either."""
        self.group, self.in_both_orders = group, in_both_orders

    def of_input(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, E4M3)
        return rounded, rounded

    def of_weight(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, E4M3)
        return rounded, rounded

    def of_gradient(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, E5M2)
        return rounded, rounded

    def _rounded(self, matrix: torch.Tensor, to: Format) -> Quantised:
        if self.group is None:
            codes, by_columns, inverse = rounded_alone(matrix, to, self.in_both_orders)
        else:
            maximum = absolute_maximum(matrix)
            torch.distributed.all_reduce(maximum, torch.distributed.ReduceOp.MAX, group=self.group)
            codes, by_columns, inverse = rounded_to_range(matrix, maximum, to, self.in_both_orders)
        return Quantised(codes, inverse, None, by_columns)


class BlockwiseScaling:
    """One scale, a power of two, for 128 elements along the dimension that a product sums over, and
    for 128 x 128 elements of a weight. E4M3 in both directions."""

    def of_input(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        return _tiled(matrix, _ROW), _tiled(matrix, _COLUMN)

    def of_weight(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = _tiled(matrix, _SQUARE)
        return rounded, rounded

    def of_gradient(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        return _tiled(matrix, _ROW), _tiled(matrix, _COLUMN)


class MicroScaling:
    """MXFP8: one scale, a power of two, for 32 elements along the dimension that a product sums
    over, of a weight too, so that each tensor is rounded twice, both times from what it was. E4M3
    in both directions."""

    def of_input(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        return _microscaled(matrix)

    def of_weight(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        return _microscaled(matrix)

    def of_gradient(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        return _microscaled(matrix)


class DelayedScaling:
    """One scale for a tensor, from the largest maximum of the steps before; 1 in the first step.
    E4M3 forward, E5M2 for gradients. `finish_step` ends a step."""

    FORMATS = (E4M3, E4M3, E5M2)
    """Of input, weight, output's gradient."""

    def __init__(
        self,
        history_length: int,
        margin: int,
        device: torch.device,
        *,
        in_both_orders: bool = False,
    ) -> None:
        """in_both_orders: of memory, for products that take either."""
        self.margin, self.in_both_orders = margin, in_both_orders
        self.scale = _apart(torch.ones(3, device=device))
        self.history = torch.zeros(3, history_length, device=device)
        """Maxima of the last steps, the newest last."""
        self.maxima = torch.zeros(3, device=device)
        """Of the step that goes on, on this rank."""
        self.ranges = torch.tensor([each.maximum for each in self.FORMATS], device=device)

    def of_input(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, 0)
        return rounded, rounded

    def of_weight(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, 1)
        return rounded, rounded

    def of_gradient(self, matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
        rounded = self._rounded(matrix, 2)
        return rounded, rounded

    def finish_step(self, maxima: torch.Tensor) -> None:
        """Takes the step's maxima [3] of all ranks into the history; a scale stays where they are
        zero or not finite."""
        self.history = torch.cat([self.history[:, 1:], maxima.unsqueeze(1)], 1)
        largest = self.history.amax(1)
        is_known = largest.isfinite() & (largest > 0)
        new = (self.ranges * 2.0**-self.margin / largest).clamp(max=_LARGEST)
        self.scale = _apart(torch.where(is_known, new, self.scale))
        self.maxima = torch.zeros_like(self.maxima)

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds, on the host: scales [3] and history [3, length]."""
        return {"scale": self.scale.contiguous().cpu(), "history": self.history.cpu()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing changes where the history is of another length."""
        if state["history"].shape == self.history.shape:
            self.scale = _apart(state["scale"].to(self.scale.device))
            self.history = state["history"].to(self.history.device)

    def _rounded(self, matrix: torch.Tensor, role: int) -> Quantised:
        self.maxima[role] = torch.maximum(self.maxima[role], absolute_maximum(matrix))
        to, in_both_orders = self.FORMATS[role], self.in_both_orders
        return quantise(matrix, self.scale[role], to, in_both_orders=in_both_orders)


def _apart(numbers: torch.Tensor) -> torch.Tensor:
    """The same [n], 16 bytes from one to the next: compiled kernels take an argument to begin at
    such an address if it did when they were compiled, and copy it each time where it does not."""
    return numbers.unsqueeze(1).repeat(1, 16 // numbers.element_size())[:, 0]


def _absolute_maximum(matrix: torch.Tensor) -> torch.Tensor:
    """Largest magnitude, fp32 []."""
    return matrix.abs().amax().float()


def scale_of(maximum: torch.Tensor, to: Format, *, power_of_two: bool = False) -> torch.Tensor:
    """What brings `maximum` to the format's largest number, or no further than that with a power of
    two; 1 where the maximum is zero or not finite."""
    # Not a number divided by a tensor: torch makes that a product with a rounded reciprocal.
    scale = (torch.full_like(maximum, to.maximum) / maximum).clamp(max=_LARGEST)
    if power_of_two:
        scale = (scale.view(torch.int32) & _SIGN_AND_EXPONENT).view(torch.float32)
    # Not torch.where, which copies a number to the device and waits for it.
    return scale.masked_fill(~(maximum.isfinite() & (maximum > 0)), 1.0)


def micro_scale_of(maximum: torch.Tensor, to: Format) -> torch.Tensor:
    """Inverse of the scale that OCP's MX formats store, a power of two in E8M0, as Transformer
    Engine finds it: maximum / largest number, rounded up, so that nothing lies beyond the format.
    (The specification's own algorithm rounds down and lets the largest numbers saturate.) 1 where
    the maximum is zero or not finite, or so small that E8M0 has no scale for it."""
    stored = maximum * (1 / to.maximum)
    stored = ((stored.view(torch.int32) + _FRACTION) & _SIGN_AND_EXPONENT).view(torch.float32)
    is_known = maximum.isfinite() & (maximum > to.maximum * 2.0**-127)
    return stored.reciprocal().masked_fill(~is_known, 1.0)


def _rounded_to_range(
    matrix: torch.Tensor, maximum: torch.Tensor, to: Format, in_both_orders: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Codes by rows and, if asked for, by columns; what they are to be multiplied with."""
    scale = scale_of(maximum, to)
    # Not reciprocal(), which torch's compiler before 2.12 divides without the exact rounding.
    return *codes_of(matrix, scale, to, in_both_orders), torch.ones_like(scale) / scale


def _rounded_alone(
    matrix: torch.Tensor, to: Format, in_both_orders: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """The same with the matrix's own maximum, in one call."""
    return _rounded_to_range(matrix, _absolute_maximum(matrix), to, in_both_orders)


absolute_maximum = fused(_absolute_maximum)
rounded_to_range = fused(_rounded_to_range)
rounded_alone = fused(_rounded_alone)


def _tiled(matrix: torch.Tensor, tile: tuple[int, int]) -> Quantised:
    scale = scale_of(_maxima(matrix, tile), E4M3, power_of_two=True)
    return quantise(matrix, scale, E4M3, tile)


def _microscaled(matrix: torch.Tensor) -> tuple[Quantised, Quantised]:
    """Rounded along its rows, and along its columns."""
    tiles = (1, MICROBLOCK), (MICROBLOCK, 1)
    by_row, by_column = (
        quantise(matrix, micro_scale_of(_maxima(matrix, tile), E4M3), E4M3, tile) for tile in tiles
    )
    return by_row, by_column


def _maxima(matrix: torch.Tensor, tile: tuple[int, int]) -> torch.Tensor:
    """Largest magnitude of each tile, fp32; the last ones may be cut."""
    rows, columns = matrix.shape
    padded = F.pad(matrix, (0, -columns % tile[1], 0, -rows % tile[0]))
    tiles = padded.view(padded.shape[0] // tile[0], tile[0], padded.shape[1] // tile[1], tile[1])
    return tiles.abs().amax((1, 3)).float()
