"""NVIDIA DALI in the place of our own loader: the same batches, staged and cast by its pipeline.

DALI has no reader that cuts windows out of a token shard, so its external source asks our sampler.
Tokens travel as the shards store them and become int64 where they are used: on a GPU that is an
eighth of the bytes. DALI is imported only where a pipeline is built (0.7 s, and never before a
fork).
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.batches import Batch
from megatron_codemix.errors import UnavailableError

Fill = Callable[[int, list[Batch]], None]
"""Reads the microbatches of a step into these batches."""


def require_dali() -> None:
    """Raises UnavailableError where DALI is not installed. Imports nothing."""
    try:
        is_installed = importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:  # no package of NVIDIA's at all
        is_installed = False
    if not is_installed:
        raise UnavailableError(
            "data.loader: dali, but NVIDIA DALI is not installed; "
            "pip install 'megatron_codemix[dali]', or set data.loader=own"
        )


class DaliLoader:
    """The microbatches of each step from a DALI pipeline, one step for each of its iterations.

    What `take` returns is the consumer's until its next call of `take`. On a GPU the arrays are the
    GPU's, to be read through DLPack.
    """

    def __init__(
        self,
        steps: range,
        fill: Fill,
        buffers: Sequence[Batch],
        *,
        token_dtype: npt.DTypeLike,
        device_id: int | None,
        depth: int,
        checkpoint: bytes | None = None,
    ) -> None:
        """Builds the pipeline.

        fill: called in the consumer's thread, `depth` steps ahead. buffers: a step's microbatches,
        for `fill` to write to. token_dtype: uint16 or int32, that of the shards. device_id: the
        GPU; None: stay on the host. checkpoint: what `checkpoint` returned, to go on from there.
        """
        self._steps = steps
        self._fill = fill
        self._buffers = list(buffers)
        size, length = self._buffers[0].tokens.shape
        self._windows = np.empty((len(self._buffers), size, length + 1), token_dtype)
        self._with_documents = self._buffers[0].document_ids is not None
        self._pipeline = self._build_pipeline(device_id, depth, checkpoint)

    def take(self) -> list[Batch]:
        """The next step's microbatches. Raises StopIteration after the last step."""
        outputs = self._pipeline.run()
        return [
            self._batch([_as_array(output[number]) for output in outputs])
            for number in range(len(self._buffers))
        ]

    def checkpoint(self) -> bytes:
        """The pipeline's state after the step that was taken last."""
        state: bytes = self._pipeline.checkpoint()
        return state

    def close(self) -> None:
        """Frees the pipeline and its memory."""
        del self._pipeline

    def _read(self, info: Any) -> tuple[npt.NDArray[Any], ...]:
        """The external source: a pure function of the iteration, so that DALI may go on from any.
        Each array has a step's microbatches in its first dimension."""
        if info.iteration >= len(self._steps):
            raise StopIteration
        self._fill(self._steps[info.iteration], self._buffers)
        for windows, batch in zip(self._windows, self._buffers, strict=True):
            # Labels are the inputs one token later: no more than the last one is news.
            windows[:, :-1] = batch.tokens
            windows[:, -1] = batch.labels[:, -1]
        names = ["loss_mask", "position_ids", "source_id"]
        names += ["document_ids"] if self._with_documents else []
        rest = [np.stack([getattr(batch, name) for batch in self._buffers]) for name in names]
        return (self._windows, *rest)

    def _build_pipeline(self, device_id: int | None, depth: int, checkpoint: bytes | None) -> Any:
        try:
            from nvidia.dali import Pipeline, fn, types  # see above
        except (ImportError, OSError, RuntimeError) as error:
            raise _unusable("does not load", error) from error
        pipeline = Pipeline(
            batch_size=len(self._buffers),
            num_threads=1,
            device_id=device_id,
            prefetch_queue_depth=depth,
            enable_checkpointing=True,
            checkpoint=checkpoint,
        )
        ndims = [2, 2, 2, 1, 2][: 4 + self._with_documents]
        with pipeline:
            inputs = fn.external_source(
                source=self._read, num_outputs=len(ndims), batch=True, batch_info=True, ndim=ndims
            )
            windows, *rest = inputs if device_id is None else [node.gpu() for node in inputs]
            tokens = fn.cast(windows[:, :-1], dtype=types.INT64)
            labels = fn.cast(windows[:, 1:], dtype=types.INT64)
            pipeline.set_outputs(tokens, labels, *rest)
        try:
            pipeline.build()
        except RuntimeError as error:  # of a driver that is older than its CUDA, or none
            raise _unusable(f"finds no device {device_id} that it can use", error) from error
        return pipeline

    def _batch(self, arrays: list[Any]) -> Batch:
        tokens, labels, loss_mask, position_ids, source_id, *document_ids = arrays
        return Batch(
            tokens=tokens,
            labels=labels,
            loss_mask=loss_mask,
            position_ids=position_ids,
            document_ids=document_ids[0] if document_ids else None,
            source_id=source_id,
        )


def _unusable(what: str, error: Exception) -> UnavailableError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UnavailableError(
        f"data.loader: dali, but NVIDIA DALI {what} ({lines[0]}); codemix doctor says what is "
        "installed; install the extra [dali] for this driver's CUDA, or set data.loader=own"
    )


class _DeviceArray:
    """A tensor of DALI's on a GPU, with the shape as numpy and torch give it."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self.shape = tuple(tensor.shape())

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


def _as_array(tensor: Any) -> Any:
    """Without a copy."""
    return np.asarray(tensor) if hasattr(tensor, "__array_interface__") else _DeviceArray(tensor)
