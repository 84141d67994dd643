"""The host's processors and memory: how fast they are, and how pages are kept."""

import ctypes
import time

import torch

_PRODUCT_SIZE = 384
_PRODUCT_SECONDS = 0.05


def matrix_product_flops(dtype: torch.dtype) -> float:
    """Operations a second of a matrix product that fits the cache, the best of some 50 ms."""
    size = _PRODUCT_SIZE
    left, right = (torch.ones(size, size, dtype=dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + _PRODUCT_SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2.0 * size**3 / (time.perf_counter() - started))
    return best


def keep_freed_memory() -> None:
    """glibc: serve large blocks from the heap and never trim it (mallopt(3): M_MMAP_THRESHOLD -3,
    M_TRIM_THRESHOLD -1)."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # musl or another system: only speed is lost
        return
    libc.mallopt(-3, 1 << 30)
    libc.mallopt(-1, (1 << 31) - 1)
