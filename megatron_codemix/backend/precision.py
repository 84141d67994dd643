"""Which number format is fast on this machine's processors, by measurement."""

import time
from dataclasses import dataclass

import torch

_ROWS, _WIDTH, _COLUMNS = 1024, 128, 4096
_ROUNDS = 7
BF16_PAYS_FROM = 1.2
"""fp32 is kept unless bf16's products are this much faster: they are not the whole step."""


@dataclass(frozen=True)
class MatmulTimes:
    """Seconds of one product of a tiny model's output layer, forward and backward shapes alike."""

    fp32: float
    bf16: float

    @property
    def choice(self) -> str:
        """The precision.kind to take."""
        return "bf16" if self.fp32 >= BF16_PAYS_FROM * self.bf16 else "fp32"


def measure_matmul() -> MatmulTimes:
    """On one thread; takes well under a second, or about one where bf16 is emulated."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return MatmulTimes(fp32=_seconds(torch.float32), bf16=_seconds(torch.bfloat16))
    finally:
        torch.set_num_threads(threads)


def _seconds(dtype: torch.dtype) -> float:
    left = torch.randn(_ROWS, _WIDTH).to(dtype)
    right = torch.randn(_WIDTH, _COLUMNS).to(dtype)
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - started)
    return best
