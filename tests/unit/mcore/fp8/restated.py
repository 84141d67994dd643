"""FP8 and Transformer Engine's scaling rules, once more, in numpy: the formats from their
definition (arXiv 2209.05433, table 1), rounding by looking for the nearest of all numbers."""

import numpy as np


def e4m3_table() -> np.ndarray:
    """Value of each of the 256 codes, float64: 4 bits of exponent (bias 7), 3 of fraction; no
    infinity, all ones are NaN."""
    return _table(exponent_bits=4, fraction_bits=3, bias=7, not_numbers={0x7F: np.nan})


def e5m2_table() -> np.ndarray:
    """As IEEE 754 has it: 5 bits of exponent (bias 15), 2 of fraction."""
    above = {0x7C: np.inf, 0x7D: np.nan, 0x7E: np.nan, 0x7F: np.nan}
    return _table(exponent_bits=5, fraction_bits=2, bias=15, not_numbers=above)


def _table(
    *, exponent_bits: int, fraction_bits: int, bias: int, not_numbers: dict[int, float]
) -> np.ndarray:
    values = np.empty(256)
    for code in range(128):
        exponent, fraction = code >> fraction_bits, code & ((1 << fraction_bits) - 1)
        leading = int(exponent > 0)
        power = 2.0 ** (max(exponent, 1) - bias)
        value = power * (leading + fraction / (1 << fraction_bits))
        values[code] = not_numbers.get(code, value)
        values[code + 128] = -values[code]
    assert exponent_bits + fraction_bits == 7
    return values


def nearest(numbers: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The finite number of the table that is nearest to each; of two that are as near, the one with
    an even code."""
    codes = np.arange(128)[np.isfinite(table[:128])]
    grid = table[codes]
    order = np.abs(np.abs(numbers)[..., None] - grid)
    best = order.min(-1, keepdims=True)
    is_best = order == best
    # Where two are best they stand side by side, and one of the codes is even.
    even = is_best & (codes % 2 == 0)
    chosen = np.where(is_best.sum(-1) > 1, even.argmax(-1), is_best.argmax(-1))
    return np.copysign(grid[chosen], numbers)


E4M3, E5M2 = e4m3_table(), e5m2_table()
LARGEST = {id(E4M3): 448.0, id(E5M2): 57344.0}


def rounded(matrix: np.ndarray, table: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """float32 -> what its codes stand for, in fp32 as the definition has it."""
    factor = np.asarray(scale, np.float32)
    codes = nearest((matrix.astype(np.float32) * factor).astype(np.float64), table)
    return codes.astype(np.float32) * (np.float32(1) / factor)


def tensorwise(matrix: np.ndarray, table: np.ndarray) -> np.ndarray:
    return rounded(matrix, table, np.float32(LARGEST[id(table)]) / np.abs(matrix).max())


def blockwise(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Each tile by the largest power of two that keeps it within E4M3."""
    result = np.empty_like(matrix)
    for top in range(0, matrix.shape[0], rows):
        for left in range(0, matrix.shape[1], columns):
            place = np.s_[top : top + rows, left : left + columns]
            largest = float(np.abs(matrix[place]).max())
            scale = 2.0 ** np.floor(np.log2(448 / largest)) if largest else 1.0
            result[place] = rounded(matrix[place], E4M3, scale)
    return result


def microscaled(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Each block by the smallest power of two, in E8M0 (OCP Microscaling Formats 1.0, section 5.4),
    that it can be divided by and lie within E4M3; float64's logarithm is exact enough for that."""
    result = np.empty_like(matrix)
    for top in range(0, matrix.shape[0], rows):
        for left in range(0, matrix.shape[1], columns):
            place = np.s_[top : top + rows, left : left + columns]
            largest = float(np.abs(matrix[place]).max())
            power = np.ceil(np.log2(largest / 448)) if largest else 0.0
            assert -127 <= power <= 127
            result[place] = rounded(matrix[place], E4M3, 2.0**-power)
    return result
