"""Keys and values of what attention has read, row by row, so that a new token costs one place.

Rows lie in slots and have lengths of their own. What lies behind a row's end is finite and never
seen: zeros, or what padding and earlier rows have left.

Shapes: L places of a slot, S places of a prompt, B rows, H heads of this rank, G groups of heads
that share keys (H in a multiple of G), D head width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from megatron_codemix.mcore.layers import SdpaCoreAttention

SPAN_ROWS = 8
SPAN_SHARE = 0.8
"""Neighbouring spans are one where the shorter has at least this share of the longer's length."""


class Span(NamedTuple):
    """Neighbouring rows that are read as far as the longest of them goes."""

    rows: slice
    end: int
    mask: torch.Tensor
    """[rows, 1, 1, end]: 0 where a row is, -inf behind it."""


def spans_of(lengths: Sequence[int]) -> list[tuple[slice, int]]:
    """(rows, longest length) of each span, in order. Attention to long rows takes as long as they
    take to read, and with one span all are read as far as the longest goes: a third less for 48
    prompts of HumanEval's lengths, the longest first."""
    spans: list[tuple[slice, int]] = []
    for start in range(0, len(lengths), SPAN_ROWS):
        rows = slice(start, min(start + SPAN_ROWS, len(lengths)))
        end = max(lengths[rows])
        if spans:
            before, longest = spans[-1]
            if min(end, longest) >= SPAN_SHARE * max(end, longest):
                spans.pop()
                rows, end = slice(before.start, rows.stop), max(end, longest)
        spans.append((rows, end))
    return spans


class KeyValueCache:
    """Of the layers of one pipeline stage. From its making until `close` these layers attend
    through it: each forward pass must be announced by `fill` or `extend`."""

    def __init__(self, attentions: list[SdpaCoreAttention], *, num_slots: int, length: int) -> None:
        self.num_slots, self.length = num_slots, length
        self._attentions = attentions
        self._layers = [LayerCache(self, attention) for attention in attentions]
        self.filled: torch.Tensor | None = None
        """int64 [B]: slots of the rows that are read from their beginning; None: each row of the
        first slots gets one more token."""
        self.positions = torch.empty(0, dtype=torch.long)
        """int64 [B]: where the new token of each of the first slots stands."""
        self.rows = torch.empty(0, dtype=torch.long)
        self.spans: list[Span] = []
        """All rows of the forward pass."""
        for attention, layer in zip(attentions, self._layers, strict=True):
            attention.memory = layer

    def fill(self, slots: torch.Tensor) -> None:
        """The next forward pass reads prompts, from their first tokens on, into these slots."""
        self.filled = slots

    def extend(self, positions: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
        """The next forward pass reads one token for each of the first slots, at its position."""
        self.filled = None
        self.positions = torch.tensor(positions).to(device)
        self.rows = torch.arange(len(positions), device=device)
        self.spans = [
            Span(rows, end, self._mask(self.positions[rows], end, dtype))
            for rows, end in spans_of([position + 1 for position in positions])
        ]

    @staticmethod
    def _mask(positions: torch.Tensor, end: int, dtype: torch.dtype) -> torch.Tensor:
        is_behind = torch.arange(end, device=positions.device) > positions[:, None]
        mask = torch.zeros(is_behind.shape, dtype=dtype, device=positions.device)
        return mask.masked_fill_(is_behind, -torch.inf)[:, None, None]

    def move(self, source: int, target: int, length: int) -> None:
        """Brings a row of this length to another slot."""
        for layer in self._layers:
            layer.move(source, target, length)

    def close(self) -> None:
        """Layers attend as before."""
        for attention in self._attentions:
            attention.memory = None


class LayerCache:
    """Of one layer; its memory is taken when it first reads."""

    def __init__(self, cache: KeyValueCache, attention: SdpaCoreAttention) -> None:
        self._cache = cache
        self._attention = attention
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[S, B, H, D], [S, B, G, D] twice -> [S, B, H * D]; S is 1 in `extend`."""
        keys, values = self._memory_like(key)
        slots = self._cache.filled
        if slots is None:
            return self._extended(query, key, value, keys, values)
        keys[slots, :, : len(key)] = key.permute(1, 2, 0, 3)
        values[slots, :, : len(value)] = value.permute(1, 2, 0, 3)
        return self._attention.attend(query, key, value, None)

    def move(self, source: int, target: int, length: int) -> None:
        for tensor in (self._keys, self._values):
            if tensor is not None:
                tensor[target, :, :length] = tensor[source, :, :length]

    def _extended(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """The heads of a group are given as places of one: all of them see the same keys, and no
        key is repeated."""
        cache = self._cache
        keys[cache.rows, :, cache.positions] = key[0]
        values[cache.rows, :, cache.positions] = value[0]
        size, groups, width = key.shape[1:]
        queries = query[0].reshape(size, groups, -1, width)
        outputs = [
            F.scaled_dot_product_attention(
                queries[span.rows],
                keys[span.rows, :, : span.end],
                values[span.rows, :, : span.end],
                attn_mask=span.mask,
                scale=self._attention.softmax_scale,
            )
            for span in cache.spans
        ]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return output.reshape(1, size, -1)

    def _memory_like(self, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[slots, G, L, D] each."""
        if self._keys is None or self._values is None:
            _, _, groups, width = key.shape
            shape = (self._cache.num_slots, groups, self._cache.length, width)
            self._keys, self._values = key.new_zeros(shape), key.new_zeros(shape)
        return self._keys, self._values
