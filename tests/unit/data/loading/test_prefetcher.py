import subprocess
import sys
import threading

import numpy as np
import pytest

from megatron_codemix.data.loading.prefetcher import Prefetcher
from megatron_codemix.errors import DataError


def write_number(job: int, buffer: np.ndarray) -> None:
    buffer[:] = job


def one_number() -> np.ndarray:
    return np.full(1, -1)


def take_all(prefetcher) -> list[int]:
    taken = []
    while True:
        try:
            taken.append(int(prefetcher.take()[0]))
        except StopIteration:
            return taken


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("num_jobs", [0, 1, 4, 30])
def test_gives_every_job_once_and_in_order(depth, num_jobs):
    with Prefetcher(range(num_jobs), write_number, one_number, depth=depth) as prefetcher:
        assert take_all(prefetcher) == list(range(num_jobs))


def test_runs_ahead_by_its_depth_and_no_further():
    filled = [threading.Event() for _ in range(10)]

    def fill(job: int, buffer: np.ndarray) -> None:
        write_number(job, buffer)
        filled[job].set()

    with Prefetcher(range(10), fill, one_number, depth=3) as prefetcher:
        assert filled[2].wait(60)
        prefetcher.take()
        # Three are ahead of the one that was taken.
        assert filled[3].wait(60)
        assert not filled[4].is_set()


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_batch_stays_as_it_is_until_the_next_is_taken_and_so_many_more(kept):
    filled = [threading.Event() for _ in range(10)]

    def fill(job: int, buffer: np.ndarray) -> None:
        write_number(job, buffer)
        filled[job].set()

    with Prefetcher(range(10), fill, one_number, depth=2, kept=kept) as prefetcher:
        taken: list[np.ndarray] = []
        for number in range(8):
            taken.append(prefetcher.take())
            # All that may be prepared meanwhile is.
            assert filled[number + 2].wait(60)
            first = max(0, number - kept)
            assert [int(one[0]) for one in taken[first:]] == list(range(first, number + 1))


def test_buffers_are_reused():
    allocated = []

    def allocate() -> np.ndarray:
        allocated.append(one_number())
        return allocated[-1]

    with Prefetcher(range(20), write_number, allocate, depth=2) as prefetcher:
        take_all(prefetcher)
    assert len(allocated) == 3


def test_an_exception_is_raised_where_its_batch_is_taken():
    def fill(job: int, buffer: np.ndarray) -> None:
        if job == 3:
            raise DataError("block 7 of code.bin is damaged")
        write_number(job, buffer)

    with Prefetcher(range(10), fill, one_number, depth=5) as prefetcher:
        assert [int(prefetcher.take()[0]) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match="block 7"):
            prefetcher.take()
    assert not [thread for thread in threading.enumerate() if "prefetcher" in thread.name]


def test_close_ends_the_thread_with_jobs_left():
    filled: list[int] = []
    prefetcher = Prefetcher(range(10**9), lambda job, _: filled.append(job), one_number, depth=4)
    prefetcher.take()

    prefetcher.close()

    assert not [thread for thread in threading.enumerate() if "prefetcher" in thread.name]
    assert len(filled) <= 5


@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)])
def test_the_interpreter_ends_without_close(end, code):
    """In C++ and without the lock when the interpreter ends: where a daemon thread would abort."""
    program = f"""
import numpy as np
from megatron_codemix.data.loading.prefetcher import Prefetcher
from megatron_codemix.ops import RowParts, TokenGather

gather = TokenGather([np.zeros(1 << 20, np.uint16)])
zero = np.zeros(32, np.int64)
parts = RowParts(zero.astype(np.int16), np.arange(32), zero, zero + 8193)

def fill(job, buffers):
    gather.tokens_and_labels(parts, *buffers, fill=0)

def allocate():
    return np.empty((32, 8192), np.int64), np.empty((32, 8192), np.int64)

prefetcher = Prefetcher(range(10**9), fill, allocate, depth=8)
prefetcher.take()
{end}
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == code, result.stderr


def test_refuses_a_depth_of_none():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        Prefetcher(range(3), write_number, one_number, depth=0)
