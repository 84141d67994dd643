import itertools

import numpy as np
import pytest

from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.errors import DataError

SEEDS = range(20)
NAMES = ["code", "markup", "text", "code2", "", "\0", "cöde"]


def test_the_key_of_a_source_never_changes():
    """Golden values: a run that goes on after an update must read on in the same order.

    Recorded from hashlib.blake2b when the order was defined.
    """
    assert source_key(0, "code") == 3276223706925124771
    assert source_key(1234, "text") == 12786144624711053776


def test_sources_and_seeds_have_keys_of_their_own():
    keys = {source_key(seed, name) for seed, name in itertools.product(SEEDS, NAMES)}
    assert len(keys) == len(SEEDS) * len(NAMES)
    assert all(0 <= key < 2**64 for key in keys)


def test_the_order_never_changes():
    """Golden values, as the oracle in ops/reference/ gives them."""
    order = StatelessOrder(1_000_000, 7, source_key(1234, "code"))
    parts = order.parts(np.array([0, 1, 142_856, 142_857, 10**6]))
    assert parts.first.tolist() == [601771, 381698, 365059, 918787, 3288]


def test_sources_are_read_in_unrelated_orders():
    code, text = (StatelessOrder(10**8, 100, source_key(1, name)) for name in ("code", "text"))
    cursors = np.arange(20_000)
    a, b = code.parts(cursors), text.parts(cursors)
    assert len(a.first) < 20_002 > len(b.first)  # at most one window of each is in two parts
    starts = [parts.first[np.searchsorted(parts.row, cursors)] for parts in (a, b)]
    # |r| of independent orders is below 5 / sqrt(n) but once in two million.
    assert abs(np.corrcoef(*starts)[0, 1]) < 5 / 20_000**0.5


def test_the_end_of_the_shard_and_its_start_are_one_sample_in_two_parts():
    order = StatelessOrder(101, 10, source_key(1, "code"))
    parts = order.parts(np.arange(500))
    wraps = np.flatnonzero(np.diff(parts.row) == 0)
    assert len(wraps) > 20
    assert (parts.first[wraps] + parts.length[wraps] == 101).all()
    assert (parts.first[wraps + 1] == 0).all()
    assert (parts.length[wraps] + parts.length[wraps + 1] == 11).all()


def test_a_shard_shorter_than_a_sample_is_refused():
    with pytest.raises(DataError, match=r"10 tokens are less than one sample of 10 \+ 1"):
        StatelessOrder(10, 10, 0)
    assert StatelessOrder(11, 10, 0).samples_per_epoch == 1
