"""Safetensors files: written tensor by tensor, in blocks, and read as they are asked for.

The library's own writer wants all tensors of a file in memory. The format is a header (its length
as 8 bytes, then JSON: type, shape and place of each tensor) and the tensors' bytes
(https://github.com/huggingface/safetensors#format).
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from megatron_codemix.errors import DataError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.hugging_face.shape import Dtype

INDEX = "model.safetensors.index.json"
"""Of several files, which tensor is in which."""

_WHOLE = "model.safetensors"
_CODES: dict[Dtype, str] = {"float32": "F32", "bfloat16": "BF16"}
_BLOCK_BYTES = 2**24
_ALIGNMENT = 8

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ShardPlan:
    """Files and what each holds, in the order in which it is written."""

    files: dict[str, Shapes]
    dtype: Dtype

    @classmethod
    def of(cls, shapes: Shapes, dtype: Dtype, max_bytes: int) -> "ShardPlan":
        """Files of at most `max_bytes` of tensors, or of one tensor; named as `transformers` names
        them."""
        groups: list[Shapes] = [{}]
        size = 0
        for name, shape in shapes.items():
            own = _bytes(shape, dtype)
            if groups[-1] and size + own > max_bytes:
                groups.append({})
                size = 0
            groups[-1][name] = shape
            size += own
        if len(groups) == 1:
            return cls({_WHOLE: groups[0]}, dtype)
        count = len(groups)
        return cls(
            {
                f"model-{number:05d}-of-{count:05d}.safetensors": group
                for number, group in enumerate(groups, start=1)
            },
            dtype,
        )

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for group in self.files.values() for shape in group.values())

    @property
    def num_bytes(self) -> int:
        """Of all tensors."""
        return self.num_parameters * _item_bytes(self.dtype)


class ShardWriter:
    """Writes the tensors of a plan, in its order, into `folder`; at its end the index of several
    files."""

    def __init__(self, folder: Path, plan: ShardPlan) -> None:
        self._folder, self._plan = folder, plan
        self._order = [(file, name) for file, group in plan.files.items() for name in group]
        self._written = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        assert self._written == len(self._order), f"{self._written} of {len(self._order)} tensors"
        if len(self._plan.files) > 1:
            totals = {
                "total_parameters": self._plan.num_parameters,
                "total_size": self._plan.num_bytes,
            }
            places = {name: file for file, name in self._order}
            write_json(self._folder / INDEX, {"metadata": totals, "weight_map": places})

    def write(self, name: str, values: torch.Tensor) -> None:
        """The next tensor. `values`: in its order, whatever their dimensions, number format and
        strides; converted and copied a block at a time."""
        file, expected = self._order[self._written]
        shapes = self._plan.files[file]
        assert name == expected, f"{name}, but it is the turn of {expected}"
        assert values.numel() == math.prod(shapes[name]), (name, values.shape, shapes[name])
        is_first = name == next(iter(shapes))
        with open(self._folder / file, "wb" if is_first else "ab") as stream:
            if is_first:
                stream.write(_header(shapes, self._plan.dtype))
            for block in _blocks(values):
                data = block.to(getattr(torch, self._plan.dtype)).contiguous()
                stream.write(data.view(-1).view(torch.uint8).numpy().data)
        self._written += 1


def _blocks(values: torch.Tensor) -> Iterator[torch.Tensor]:
    row_bytes = max(1, values[0].numel() * values.element_size())
    rows = max(1, _BLOCK_BYTES // row_bytes)
    return (values[start : start + rows] for start in range(0, len(values), rows))


def _header(shapes: Shapes, dtype: Dtype) -> bytes:
    places: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + _bytes(shape, dtype)
        places[name] = {
            "dtype": _CODES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(places, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes(shape: tuple[int, ...], dtype: Dtype) -> int:
    return math.prod(shape) * _item_bytes(dtype)


def _item_bytes(dtype: Dtype) -> int:
    return {"float32": 4, "bfloat16": 2}[dtype]


class SafetensorsFolder:
    """The tensors of a model's folder, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError where files are missing or damaged, or not safetensors."""
        self.folder = folder
        self._file_of = self._places()
        self._open = {file: self._opened(file) for file in self.files}
        for name, file in self._file_of.items():
            if name not in self._open[file].keys():  # noqa: SIM118  # not a mapping
                raise DataError(f"{folder / file}: has no {name}, which {INDEX} places there")

    @cached_property
    def files(self) -> list[str]:
        """Names of the files."""
        return sorted(set(self._file_of.values()))

    @property
    def shapes(self) -> Shapes:
        """Of every tensor, by its name."""
        return {name: tuple(self._slice(name).get_shape()) for name in self._file_of}

    @property
    def codes(self) -> Mapping[str, str]:
        """Number format of every tensor in the format's own words: F32, BF16, F16, ..."""
        return {name: self._slice(name).get_dtype() for name in self._file_of}

    def read(self, name: str) -> torch.Tensor:
        """The tensor, as it is stored."""
        tensor: torch.Tensor = self._open[self._file_of[name]].get_tensor(name)
        return tensor

    def _slice(self, name: str) -> Any:  # Any: the library's type of a lazy tensor
        return self._open[self._file_of[name]].get_slice(name)

    def _places(self) -> dict[str, str]:
        index = self.folder / INDEX
        if index.exists():
            try:
                return {
                    str(name): str(file) for name, file in read_json(index)["weight_map"].items()
                }
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{index}: not an index of tensors ({error!r})") from error
        if not (self.folder / _WHOLE).exists():
            raise DataError(
                f"{self.folder}: has neither {_WHOLE} nor {INDEX}; weights in another format are "
                "not read: save the model again with transformers' save_pretrained"
            )
        return dict.fromkeys(self._opened(_WHOLE).keys(), _WHOLE)

    def _opened(self, file: str) -> Any:  # Any: the library's handle
        path = self.folder / file
        try:
            return safe_open(path, framework="pt")
        except FileNotFoundError:
            raise DataError(f"{path}: is missing, and {INDEX} names it") from None
        except SafetensorError as error:
            raise DataError(f"{path}: damaged ({error}); fetch it again") from error
