"""Batches of the default order in one call, wherever nothing is left to work out or to check."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.batches import Batch
from megatron_codemix.data.mixture.mixture import KnownDraws, Mixture
from megatron_codemix.data.order.stateless import StatelessOrder
from megatron_codemix.data.source import Source
from megatron_codemix.ops import BatchReader, TokenGather, WindowSource


class _State(NamedTuple):
    """What a reader was made for: it is renewed when this changes."""

    segment: int
    stop_cursors: list[int]
    gather: TokenGather


class WindowBatches:
    """Reads batches of whole windows; threads may share it.

    `read` fails where a batch needs more than windows of blocks that were checked: the table of the
    mixture is to be filled further, another segment begins, a source begins an epoch, a block is
    touched for the first time. Whoever has done that by other means calls `renew`.
    """

    def __init__(self) -> None:
        self._reader: tuple[_State, BatchReader] | None = None

    def read(self, samples: npt.NDArray[np.int64], into: Batch) -> bool:
        """Whether `into` has become these samples. If not, its contents mean nothing."""
        kept = self._reader
        return kept is not None and kept[1].read(samples, into.tokens, into.labels, into.source_id)

    def renew(
        self, mixture: Mixture, sources: Sequence[Source], gather: TokenGather, sample: int
    ) -> None:
        """Reads as `sample`'s segment says from now on, all that is known and checked by now.

        Costs nothing to speak of where nothing has changed.
        """
        draws = mixture.known_draws(sample)
        if draws is None:
            return
        stop_cursors = [source.stop_cursor for source in sources]
        state = _State(draws.segment, stop_cursors, gather)
        if self._reader is None or self._reader[0] != state:
            self._reader = state, _open_reader(draws, sources, gather)


def reads_windows(sources: Sequence[Source]) -> bool:
    """Whether all samples are windows as they lie in the shards."""
    return all(
        isinstance(source.order, StatelessOrder) and source.transform is None for source in sources
    )


def _open_reader(draws: KnownDraws, sources: Sequence[Source], gather: TokenGather) -> BatchReader:
    windows = []
    for number, anchor in zip(draws.numbers.tolist(), draws.anchors.tolist(), strict=True):
        source = sources[number]
        assert isinstance(source.order, StatelessOrder), source.order
        checked = source.shard.checked_blocks
        windows.append(
            WindowSource(
                number=number,
                order=source.order.windows,
                first_cursor=source.start_cursor + anchor,
                stop_cursor=source.stop_cursor,
                is_checked=checked.is_checked,
                block_shift=checked.block_shift,
            )
        )
    return BatchReader(
        gather, draws.order, windows, first_sample=draws.first_sample, stop_sample=draws.stop
    )
