"""Collectives of gloo for tensors on a GPU, by way of the host: for several ranks on one GPU, which
NCCL refuses; gloo sends from host memory alone.

What ranks compute, they compute on the GPU; what they send is right, and slow.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any  # torch's and its groups' types are Any to callers that patch them

import torch
import torch.distributed as dist

_TENSORS: dict[str, tuple[str, ...]] = {
    "all_reduce": ("tensor",),
    "broadcast": ("tensor",),
    "all_gather": ("tensor_list", "tensor"),
    "all_gather_into_tensor": ("output_tensor", "input_tensor"),
    "reduce_scatter_tensor": ("output", "input"),
    "all_to_all_single": ("output", "input"),
    "send": ("tensor",),
    "recv": ("tensor",),
}
"""Collective -> its arguments that are tensors, or lists of them; the first is what it writes."""


def send_by_way_of_the_host() -> None:
    """Replaces the collectives of `torch.distributed` in this process, before megatron.core keeps
    references to them."""
    for name, tensors in _TENSORS.items():
        setattr(dist, name, _by_way_of_the_host(getattr(dist, name), tensors))
    dist.isend, dist.irecv = _sending(dist.isend), _receiving(dist.irecv)
    dist.P2POp = _Message
    dist.batch_isend_irecv = lambda messages: [message.start() for message in messages]
    dist._coalescing_manager = _OneByOne


class _Done:
    """The handle of what is over."""

    def wait(self) -> bool:
        return True

    def is_completed(self) -> bool:
        return True


class _OneByOne(_Done):
    """torch collects what is asked of it in here; this lets each be done at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def __enter__(self) -> "_OneByOne":
        return self

    def __exit__(self, *exception: Any) -> None: ...


def _by_way_of_the_host(
    collective: Callable[..., Any], tensors: Sequence[str]
) -> Callable[..., Any]:
    signature = inspect.signature(collective)

    @functools.wraps(collective)
    def staged(*arguments: Any, **options: Any) -> _Done | None:
        bound = signature.bind(*arguments, **options)
        given = [bound.arguments[name] for name in tensors]
        hosts = [_on_host(one) for one in given]
        bound.arguments.update(zip(tensors, hosts, strict=True))
        is_async = bound.arguments.pop("async_op", False)
        collective(*bound.args, **bound.kwargs)
        # It alone: what is read may be the buffer that the result is a part of.
        _copy_back(given[0], hosts[0])
        return _Done() if is_async else None

    return staged


def _on_host(given: Any) -> Any:
    """Copies: gloo wants tensors without gaps, and may share no memory with the caller's."""
    if isinstance(given, torch.Tensor):
        return given.detach().to("cpu", copy=True).contiguous()
    return [_on_host(one) for one in given]


def _copy_back(given: Any, host: Any) -> None:
    if isinstance(given, torch.Tensor):
        given.detach().copy_(host)
    else:
        for one, other in zip(given, host, strict=True):
            _copy_back(one, other)


@dataclass
class _Arriving:
    """A message that is in host memory once it is there."""

    work: Any
    tensor: torch.Tensor
    host: torch.Tensor

    def wait(self) -> bool:
        self.work.wait()
        self.tensor.detach().copy_(self.host)
        return True


@dataclass
class _Leaving:
    """A message whose host memory must live until it has left."""

    work: Any
    host: torch.Tensor

    def wait(self) -> bool:
        self.work.wait()
        return True


def _sending(isend: Callable[..., Any]) -> Callable[..., _Leaving]:
    def staged(tensor: torch.Tensor, *arguments: Any, **options: Any) -> _Leaving:
        host = _on_host(tensor)
        return _Leaving(isend(host, *arguments, **options), host)

    return staged


def _receiving(irecv: Callable[..., Any]) -> Callable[..., _Arriving]:
    def staged(tensor: torch.Tensor, *arguments: Any, **options: Any) -> _Arriving:
        host = _on_host(tensor)
        return _Arriving(irecv(host, *arguments, **options), tensor, host)

    return staged


@dataclass
class _Message:
    """torch's P2POp, which takes no other functions than torch's own."""

    op: Callable[..., Any]
    tensor: torch.Tensor
    peer: int
    group: Any = None

    def start(self) -> Any:
        return self.op(self.tensor, self.peer, self.group)
