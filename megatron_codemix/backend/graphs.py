"""Work of a GPU that is recorded once and asked for as a whole from then on (CUDA graphs)."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from megatron_codemix.errors import UnavailableError


@contextlib.contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """While entered, this thread's work goes to a stream of its own. CUDA's default stream cannot
    be recorded, and autograd adds gradients up in the stream in which the model was wrapped: so
    all of a run, from its model on, is in the one that is recorded."""
    outer = torch.cuda.current_stream(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    stream.wait_stream(outer)
    with torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)  # not after an error, which may be the GPU's: it would hide that


class RecordedGraph:
    """A CUDA graph, called to do its work again, and the memory that it keeps for that."""

    def __init__(self, graph: torch.cuda.CUDAGraph, own_bytes: int) -> None:
        self._graph = graph
        self.own_bytes = own_bytes
        """Of the GPU's memory. To PyTorch's counts it holds no tensor, though replays fill it."""

    def __call__(self) -> None:
        self._graph.replay()


def record_graph(work: Callable[[], None]) -> RecordedGraph:
    """As `Backend.record`. Memory that the work takes and gives back belongs to the graph as long
    as that is there; torch's cache is emptied before, so that it is not held twice.

    Segments that can grow stay on for the rest of the memory: PyTorch gives a graph's pool others,
    or such ones (pytorch/pytorch#128068, #194767).
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # Other threads may go on: the one that reads batches, and NCCL's, which asks for events.
        with torch.cuda.graph(
            graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
        ):
            before = _unfilled_bytes()  # here, where the cache has been emptied
            work()
    except RuntimeError as error:
        # What failed in the work; the end of a recording that it has spoilt fails after it.
        cause = error.__context__ or error
        if isinstance(cause, torch.OutOfMemoryError):
            raise cause from None
        raise UnavailableError(
            f"backend.cuda_graphs: a step cannot be recorded ({_first_line(cause)}); leave it out"
        ) from error
    return RecordedGraph(graph, _unfilled_bytes() - before)


def _unfilled_bytes() -> int:
    """What the allocator holds of this process's GPU and no tensor does."""
    return int(torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
