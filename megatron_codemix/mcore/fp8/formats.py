"""The two number formats of FP8 (arXiv 2209.05433) and a tensor rounded to one of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch


@dataclass(frozen=True)
class Format:
    """A format with its largest finite number; what lies beyond becomes that."""

    dtype: torch.dtype
    maximum: float


E4M3 = Format(torch.float8_e4m3fn, 448.0)
E5M2 = Format(torch.float8_e5m2, 57344.0)


class Quantised(NamedTuple):
    """A matrix in FP8: `codes` times `inverse_scale`, which has one number for all of it or one for
    each tile of `tile` rows and columns."""

    codes: torch.Tensor
    inverse_scale: torch.Tensor
    tile: tuple[int, int] | None = None

    def values(self) -> torch.Tensor:
        """What the codes stand for, fp32."""
        scale = self.inverse_scale
        if self.tile is not None:
            scale = spread(scale, self.tile, self.codes.shape)
        return self.codes.float() * scale

    def transposed(self) -> "Quantised":
        """A view of it."""
        if self.tile is None:
            return Quantised(self.codes.t(), self.inverse_scale)
        rows, columns = self.tile
        return Quantised(self.codes.t(), self.inverse_scale.t(), (columns, rows))


def quantise(
    matrix: torch.Tensor, scale: torch.Tensor, to: Format, tile: tuple[int, int] | None = None
) -> Quantised:
    """matrix * scale in fp32, rounded to the nearest number of the format, ties to even."""
    factor = scale if tile is None else spread(scale, tile, matrix.shape)
    scaled = matrix.float() * factor
    codes = scaled.clamp_(-to.maximum, to.maximum).to(to.dtype)
    return Quantised(codes, scale.reciprocal(), tile)


def spread(numbers: torch.Tensor, tile: tuple[int, int], shape: torch.Size) -> torch.Tensor:
    """One number for each tile -> one for each element of a matrix, whose last tiles may be cut."""
    rows = numbers.repeat_interleave(tile[0], 0)[: shape[0]]
    return rows.repeat_interleave(tile[1], 1)[:, : shape[1]]
