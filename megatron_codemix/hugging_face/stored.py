"""Reads single tensors out of a sharded checkpoint (torch_dist), whatever layout wrote it: in one
process, without a process group, and no more than is asked for."""

import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorStorageMetadata,
)

from megatron_codemix.errors import RunError

_STORED_NAMES = {
    "input_layernorm.weight": "self_attention.linear_qkv.layer_norm_weight",
    "pre_mlp_layernorm.weight": "mlp.linear_fc1.layer_norm_weight",
}
"""In checkpoints a norm has Transformer Engine's name, in which it belongs to the layer behind."""

_MASTERS = ("optimizer.state.param.", "optimizer.state.fp32_param.")
"""What the optimizer's fp32 copy of a weight is called: by the distributed one, and the other."""


class StoredWeights:
    """The weights in a checkpoint's folder, or the optimizer's fp32 master copies of them."""

    def __init__(self, folder: Path) -> None:
        """Raises RunError if there are no weights in it."""
        self.folder = folder
        metadata = FileSystemReader(folder).read_metadata()
        assert metadata.storage_data is not None, folder
        self._places = metadata.storage_data
        self._entries = {
            name: entry
            for name, entry in metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        self.dtype = self._entry("embedding.word_embeddings.weight").properties.dtype

    def master_prefix(self) -> str | None:
        """How the names of the master weights begin; None if there are none."""
        names = self._entries.keys()
        return next((p for p in _MASTERS if any(name.startswith(p) for name in names)), None)

    def read(self, name: str, prefix: str = "") -> torch.Tensor:
        """The whole tensor, on the CPU. `name`: in the whole model, such as
        `decoder.layers.3.mlp.linear_fc1.weight`. Raises RunError if it is not there."""
        name, layer = self._stored(name, prefix)
        entry = self._entry(name)
        size = entry.size if layer is None else entry.size[1:]
        whole: torch.Tensor | None = None
        for chunk in entry.chunks:
            if layer is not None and not _holds(chunk, layer):
                continue
            part = self._load(name, chunk)
            offsets = chunk.offsets
            if layer is not None:
                part, offsets = part[layer - offsets[0]], offsets[1:]
            if part.shape == size:
                return part
            if whole is None:
                whole = torch.empty(size, dtype=entry.properties.dtype)
            place = tuple(
                slice(start, start + length)
                for start, length in zip(offsets, part.shape, strict=True)
            )
            whole[place] = part
        if whole is None:
            raise RunError(f"{self.folder}: has no {name} of layer {layer}")
        return whole

    def _stored(self, name: str, prefix: str) -> tuple[str, int | None]:
        """(name in the file, place in the stack that it makes with those of the other layers)."""
        match = re.fullmatch(r"decoder\.layers\.(\d+)\.(.*)", name)
        if match is None:
            return prefix + name, None
        inner = _STORED_NAMES.get(match[2], match[2])
        stacked = f"{prefix}decoder.layers.{inner}"
        if stacked in self._entries:
            return stacked, int(match[1])
        return f"{prefix}decoder.layers.{match[1]}.{inner}", None  # where layers are not alike

    def _entry(self, name: str) -> TensorStorageMetadata:
        if name not in self._entries:
            raise RunError(f"{self.folder}: has no {name}; it is not a checkpoint of this model")
        return self._entries[name]

    def _load(self, name: str, chunk: ChunkStorageMetadata) -> torch.Tensor:
        place = self._places[MetadataIndex(name, chunk.offsets)]
        with open(self.folder / place.relative_path, "rb") as stream:
            window = _Window(stream, place.offset, place.length)
            tensor: torch.Tensor = torch.load(
                window,  # type: ignore[arg-type]  # has what torch reads of an IO[bytes]
                map_location="cpu",
                weights_only=True,
            )
        return tensor


def _holds(chunk: ChunkStorageMetadata, layer: int) -> bool:
    return chunk.offsets[0] <= layer < chunk.offsets[0] + chunk.sizes[0]


class _Window(io.RawIOBase):
    """A part of a file as a file, from which torch reads straight into the tensor's memory."""

    def __init__(self, stream: BinaryIO, start: int, length: int) -> None:
        self._stream, self._start, self._length = stream, start, length
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:  # Any: typeshed's Buffer, which Python 3.11 lacks
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._length - self._place))
        self._stream.seek(self._start + self._place)
        count = self._stream.readinto(view[:wanted])  # type: ignore[attr-defined]  # of every file
        self._place += count
        return int(count)
