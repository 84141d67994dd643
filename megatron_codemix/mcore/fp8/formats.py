"""The two number formats of FP8 (arXiv 2209.05433) and a tensor rounded to one of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from megatron_codemix.backend.compiling import fused


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
    codes_by_columns: torch.Tensor | None = None
    """The same codes in memory column by column; None: they were not written so."""

    def values(self) -> torch.Tensor:
        """What the codes stand for, fp32."""
        scale = self.inverse_scale
        if self.tile is not None:
            scale = spread(scale, self.tile, self.codes.shape)
        return self.codes.float() * scale

    def transposed(self) -> "Quantised":
        """A view of it; where the codes are there in both orders, of the one that makes rows."""
        by_rows, by_columns = self.codes, self.codes_by_columns
        if by_columns is not None:
            by_rows, by_columns = by_columns, by_rows.t()
        if self.tile is None:
            return Quantised(by_rows.t(), self.inverse_scale, None, by_columns)
        rows, columns = self.tile
        return Quantised(by_rows.t(), self.inverse_scale.t(), (columns, rows), by_columns)

    def only_by_columns(self) -> "Quantised":
        """What the right operand of a product needs, where the codes are there in that order; else
        all of it."""
        if self.codes_by_columns is None:
            return self
        return self._replace(codes=self.codes_by_columns)


def quantise(
    matrix: torch.Tensor,
    scale: torch.Tensor,
    to: Format,
    tile: tuple[int, int] | None = None,
    *,
    in_both_orders: bool = False,
) -> Quantised:
    """matrix * scale in fp32, rounded to the nearest number of the format, ties to even."""
    factor = scale if tile is None else spread(scale, tile, matrix.shape)
    codes, by_columns = rounded_codes(matrix, factor, to, in_both_orders)
    return Quantised(codes, scale.reciprocal(), tile, by_columns)


def codes_of(
    matrix: torch.Tensor, factor: torch.Tensor, to: Format, in_both_orders: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """matrix * factor in the format by rows and, if asked for, by columns."""
    scaled = matrix.float() * factor
    codes = scaled.clamp_(-to.maximum, to.maximum).to(to.dtype)
    return codes, codes.t().contiguous().t() if in_both_orders else None


rounded_codes = fused(codes_of)


def spread(numbers: torch.Tensor, tile: tuple[int, int], shape: torch.Size) -> torch.Tensor:
    """One number for each tile -> one for each element of a matrix, whose last tiles may be cut."""
    rows = numbers.repeat_interleave(tile[0], 0)[: shape[0]]
    return rows.repeat_interleave(tile[1], 1)[:, : shape[1]]
