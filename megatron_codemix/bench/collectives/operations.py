"""The collectives that training makes, each on tensors whose result is known.

Shapes: N numbers in all, of which each of n ranks has or gets N / n in gathering and scattering.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist

ELEMENT_BYTES = 4
"""fp32, as gradients are reduced."""


@dataclass(frozen=True)
class Ranks:
    """Those that take part, and this one's place among them."""

    group: dist.ProcessGroup
    place: int
    size: int


class Collective(Protocol):
    """One call on prepared tensors."""

    def __init__(self, num_elements: int, ranks: Ranks, device: torch.device) -> None: ...

    def fill(self) -> None:
        """Values by which `is_right` knows a result."""

    def call(self) -> None:
        """Every rank calls it; on a GPU it may still be under way."""

    def is_right(self) -> bool:
        """Of one call after `fill`."""

    @staticmethod
    def bus_factor(size: int) -> float:
        """Bytes through each rank's link in one direction for each byte of the tensor, in a ring:
        the bus bandwidth of NVIDIA's nccl-tests is this times N bytes a second."""


class AllReduce:
    """Sum over the ranks, as of gradients."""

    def __init__(self, num_elements: int, ranks: Ranks, device: torch.device) -> None:
        self.ranks = ranks
        self.values = torch.zeros(num_elements, device=device)

    def fill(self) -> None:
        self.values.fill_(self.ranks.place + 1)

    def call(self) -> None:
        dist.all_reduce(self.values, group=self.ranks.group)

    def is_right(self) -> bool:
        return bool((self.values == self.ranks.size * (self.ranks.size + 1) / 2).all())

    @staticmethod
    def bus_factor(size: int) -> float:
        return 2 * (size - 1) / size


class AllGather:
    """Each rank's part to all, as of the distributed optimizer's weights."""

    def __init__(self, num_elements: int, ranks: Ranks, device: torch.device) -> None:
        self.ranks = ranks
        self.part = torch.zeros(num_elements // ranks.size, device=device)
        self.whole = torch.zeros(self.part.numel() * ranks.size, device=device)

    def fill(self) -> None:
        self.part.fill_(self.ranks.place + 1)

    def call(self) -> None:
        dist.all_gather_into_tensor(self.whole, self.part, group=self.ranks.group)

    def is_right(self) -> bool:
        found = self.whole.view(self.ranks.size, -1)
        expected = torch.arange(1, self.ranks.size + 1, device=found.device)
        return bool((found == expected.unsqueeze(1)).all())

    @staticmethod
    def bus_factor(size: int) -> float:
        return (size - 1) / size


class ReduceScatter:
    """Each rank gets the sum of its part, as of the distributed optimizer's gradients."""

    def __init__(self, num_elements: int, ranks: Ranks, device: torch.device) -> None:
        self.ranks = ranks
        self.part = torch.zeros(num_elements // ranks.size, device=device)
        self.whole = torch.zeros(self.part.numel() * ranks.size, device=device)

    def fill(self) -> None:
        places = torch.arange(self.ranks.size, device=self.whole.device, dtype=torch.float32)
        self.whole.view(self.ranks.size, -1).copy_(places.unsqueeze(1))

    def call(self) -> None:
        dist.reduce_scatter_tensor(self.part, self.whole, group=self.ranks.group)

    def is_right(self) -> bool:
        return bool((self.part == self.ranks.size * self.ranks.place).all())

    @staticmethod
    def bus_factor(size: int) -> float:
        return (size - 1) / size


class SendReceive:
    """To the next rank and from the one before, all at once, as pipeline stages do."""

    def __init__(self, num_elements: int, ranks: Ranks, device: torch.device) -> None:
        self.ranks = ranks
        self.sent = torch.zeros(num_elements, device=device)
        self.received = torch.zeros(num_elements, device=device)

    def fill(self) -> None:
        self.sent.fill_(self.ranks.place + 1)

    def call(self) -> None:
        group, place, size = self.ranks.group, self.ranks.place, self.ranks.size
        following, before = (place + 1) % size, (place - 1) % size
        operations = [
            dist.P2POp(dist.isend, self.sent, group=group, group_peer=following),
            dist.P2POp(dist.irecv, self.received, group=group, group_peer=before),
        ]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    def is_right(self) -> bool:
        return bool((self.received == (self.ranks.place - 1) % self.ranks.size + 1).all())

    @staticmethod
    def bus_factor(size: int) -> float:
        return 1.0


COLLECTIVES: dict[str, type[Collective]] = {
    "all_reduce": AllReduce,
    "all_gather": AllGather,
    "reduce_scatter": ReduceScatter,
    "send_receive": SendReceive,
}
