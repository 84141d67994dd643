"""The distributed optimizer's state for a checkpoint, without gathering it.

megatron-core copies the whole state to every data-parallel rank before each save
(`fully_reshardable`), only to write each tensor once. Here a tensor is written by the rank that has
most of it: one that lies on a single rank is taken as it is, and only pieces of those at the edges
between two ranks travel. What is written is the same, and loads the same way.

It is also right for gradients in several buckets (`overlap_grad_reduce`), which megatron-core
0.16.1 gathers without the padding between them and then cuts by places that count it: master
weights and moments behind the first bucket are saved shifted, without a word.
"""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

_STATES = ("param", "exp_avg", "exp_avg_sq")


@dataclass
class _Tensors:
    """One kind of state of a buffer's parameters, as megatron-core asks for it: by place."""

    by_start: dict[int, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, places: slice) -> torch.Tensor:
        return self.by_start[places.start]


@dataclass(frozen=True)
class _Piece:
    """Part of a parameter on one rank of the group, in places of its buffer."""

    rank: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def owned_state(
    optimizer: MegatronOptimizer, state: dict[str, Any], metadata: dict[str, Any]
) -> dict[str, Any]:
    """The sharded state of `optimizer` for a save. Marks in it, and in the weights' `state`, the
    one rank that writes each tensor. Every rank calls it."""
    chained: list[DistributedOptimizer] = optimizer.chained_optimizers
    gc.freeze()  # it collects garbage after each state, 0.1 s here, where none was made
    try:
        with _state_from(chained, _whole):
            sharded: dict[Any, Any] = optimizer.sharded_state_dict(state, metadata=metadata)
    finally:
        gc.unfreeze()
    parts = [sharded] if len(chained) == 1 else [sharded[n] for n in range(len(chained))]
    weights = {
        id(place.data): place
        for chunk in state.values()
        for place in chunk.values()
        if isinstance(getattr(place, "data", None), torch.Tensor)
    }
    for one, part in zip(chained, parts, strict=True):
        rank = one.data_parallel_group.rank()
        for number, (parameter, pieces) in enumerate(_pieces_of(one)):
            replica = 0 if _owner(pieces) == rank else 1
            for place in (weights[id(parameter)], *part["param_state"][number].values()):
                place.replica_id = (*place.replica_id[:-1], replica)
    return sharded


def places_of_state(
    optimizer: MegatronOptimizer, state: dict[str, Any], metadata: dict[str, Any]
) -> dict[str, Any]:
    """The sharded state of `optimizer` for a load: zeros of the right shapes."""

    def zeros(one: Any, parameter: Any, pieces: Any, name: str, size: int) -> torch.Tensor:
        return torch.zeros(size)

    with _state_from(optimizer.chained_optimizers, zeros):
        sharded: dict[str, Any] = optimizer.sharded_state_dict(
            state, is_loading=True, metadata=metadata
        )
    return sharded


_MakeTensor = Callable[[Any, torch.nn.Parameter, list[_Piece], str, int], torch.Tensor]
"""(optimizer, parameter, its pieces, kind of state, size) -> flat tensor of the whole parameter."""


@contextlib.contextmanager
def _state_from(optimizers: list[DistributedOptimizer], make: _MakeTensor) -> Iterator[None]:
    """megatron-core takes the state from `make` in place of `get_parameter_state_dp_zero`."""
    for one in optimizers:
        # An attribute of the object hides the method of the class.
        one.get_parameter_state_dp_zero = functools.partial(_parameter_state, one, make)
    try:
        yield
    finally:
        for one in optimizers:
            del one.get_parameter_state_dp_zero


def _parameter_state(optimizer: Any, make: _MakeTensor, **ignored: Any) -> dict[Any, Any]:
    pieces = iter(_pieces_of(optimizer))
    found: dict[Any, Any] = {"buckets_coalesced": True}
    for number, (buffer, ranges) in enumerate(
        zip(optimizer.buffers, optimizer.gbuf_ranges, strict=True)
    ):
        tensors = {name: _Tensors() for name in _STATES}
        for start, stop, _ in buffer.param_index_map.values():
            parameter, parts = next(pieces)
            for name, kept in tensors.items():
                kept.by_start[start] = make(optimizer, parameter, parts, name, stop - start)
        (dtype,) = ranges
        found[number] = {dtype: tensors}
    return found


def _pieces_of(optimizer: Any) -> Iterator[tuple[torch.nn.Parameter, list[_Piece]]]:
    """Each parameter, in the order of megatron-core's numbers, and where its state lies. Buckets
    are cut into as many equal shards as there are ranks."""
    num_ranks = optimizer.data_parallel_group.size()
    for buffer in optimizer.buffers:
        for parameter, (start, stop, bucket_number) in buffer.param_index_map.items():
            bucket = buffer.buckets[bucket_number]
            size = bucket.grad_data.numel() // num_ranks
            first, last = ((place - bucket.offset) // size for place in (start, stop - 1))
            shards = [(rank, bucket.offset + rank * size) for rank in range(first, last + 1)]
            yield (
                parameter,
                [_Piece(rank, max(start, at), min(stop, at + size)) for rank, at in shards],
            )


def _owner(pieces: list[_Piece]) -> int:
    return max(pieces, key=lambda piece: piece.size).rank


def _whole(
    optimizer: Any, parameter: torch.nn.Parameter, pieces: list[_Piece], name: str, size: int
) -> torch.Tensor:
    """The whole tensor where this rank owns it, elsewhere one of that size without memory."""
    group = optimizer.data_parallel_group
    rank, owner = group.rank(), _owner(pieces)
    own: torch.Tensor | None = None
    if any(piece.rank == rank for piece in pieces):
        state = optimizer._get_main_param_and_optimizer_states(parameter)
        own = state["param"].detach().view(-1)
        if name != "param":
            own = state[name] if name in state else torch.zeros_like(own)  # before the first step
    if len(pieces) == 1 and own is not None:
        return own
    if rank != owner:
        if own is not None:
            torch.distributed.send(own, torch.distributed.get_global_rank(group, owner), group)
        return torch.zeros(1).expand(size)
    assert own is not None, "the owner has a piece"
    whole = own.new_empty(size)
    for piece in pieces:
        place = whole[piece.start - pieces[0].start : piece.stop - pieces[0].start]
        if piece.rank == rank:
            place.copy_(own)
        else:
            source = torch.distributed.get_global_rank(group, piece.rank)
            torch.distributed.recv(place, source, group)
    return whole
