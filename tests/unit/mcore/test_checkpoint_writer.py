"""The process that writes a rank's part of a checkpoint."""

import contextlib
import hashlib
import mmap
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any  # torch's functions and their arguments, and its WriteItem

import pytest
import torch
from torch.distributed.checkpoint.planner_helpers import _create_write_items

from megatron_codemix.backend.devices import Backend, CpuBackend, CudaBackend
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess


def test_a_rank_without_tensors_writes_what_else_it_has(tmp_path: Path) -> None:
    with contextlib.closing(CheckpointProcess()) as process:
        process.submit(tmp_path, "none.distcp", [], {})
        nothing = process.result()
        process.submit(tmp_path, "none.distcp", [], {"common.pt": b"small"})
        something = process.result()
    assert not isinstance(nothing, Exception), nothing
    assert (nothing.items, nothing.files) == ([], {})
    assert not isinstance(something, Exception), something
    assert [path.name for path in tmp_path.iterdir()] == ["common.pt"]
    assert something.files["common.pt"].sha256 == hashlib.sha256(b"small").hexdigest()


class OnDevice(torch.Tensor):
    """What is copied from it, and not waited for, stays on its way until `arrive`."""

    on_their_way: list[Callable[[], object]] = []

    @classmethod
    def __torch_function__(
        cls,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func is torch.Tensor.copy_ and kwargs:
                assert kwargs == {"non_blocking": True}
                to, source = args
                cls.on_their_way.append(lambda: to.copy_(source.as_subclass(torch.Tensor)))
                return to
            return func(*args, **(kwargs or {}))

    @classmethod
    def arrive(cls, device: object = None) -> None:
        while cls.on_their_way:
            cls.on_their_way.pop(0)()


class Runtime:
    """CUDA's, as far as torch has it in Python: what is registered must be mapped, and stay so."""

    def __init__(self, refusal: int = 0) -> None:
        self.refusal = refusal
        self.registered: dict[int, int] = {}
        self.sizes: list[int] = []

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's name
        assert is_mapped(address, size)
        if not self.refusal:
            self.registered[address] = size
            self.sizes.append(size)
        return self.refusal

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802 - CUDA's name
        assert is_mapped(address, self.registered.pop(address))
        return 0

    def cudaGetErrorString(self, code: int) -> str:  # noqa: N802 - CUDA's name
        return f"error {code}"


def is_mapped(address: int, size: int) -> bool:
    """Whether it is the memory of checkpoints, all of it."""
    found = re.findall(
        r"^(\w+)-(\w+) .*codemix-checkpoint", Path("/proc/self/maps").read_text(), re.MULTILINE
    )
    return any(int(low, 16) <= address and address + size <= int(high, 16) for low, high in found)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """In place of CUDA's own."""
    runtime = Runtime()

    def has_kept_an_error(*arguments: object, **options: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", OnDevice.arrive)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    monkeypatch.setattr(torch, "full", has_kept_an_error)
    return runtime


def tensors(seed: int, size: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [
        torch.randn(size, 3, generator=made),
        torch.randn(5, size, generator=made).t(),
        torch.randn(size, generator=made).bfloat16(),
        torch.empty(0, 4),
        torch.tensor(float("nan")),
    ]


def saved(process: CheckpointProcess, folder: Path, given: Sequence[torch.Tensor]) -> bytes:
    """The file, though all tensors are changed as soon as they are handed over."""
    folder.mkdir()
    on_device = [tensor.clone().as_subclass(OnDevice) for tensor in given]
    items = [_create_write_items(f"t{n}", tensor)[0] for n, tensor in enumerate(given)]
    process.submit(folder, "part.distcp", list(zip(items, on_device, strict=True)), {})
    assert not OnDevice.on_their_way
    for tensor in on_device:
        tensor.fill_(7)
    written = process.result()
    assert not isinstance(written, Exception), written
    return (folder / "part.distcp").read_bytes()


def saves(folder: Path, backend: Backend | None) -> list[bytes]:
    """Of three states, of which the second needs more memory."""
    folder.mkdir()
    with contextlib.closing(CheckpointProcess(backend)) as process:
        return [
            saved(process, folder / str(number), tensors(number, size))
            for number, size in enumerate((1000, 300_000, 1000))
        ]


def test_copies_that_a_gpu_makes_by_itself_are_awaited_and_are_the_same(
    cuda: Runtime, tmp_path: Path
) -> None:
    expected = saves(tmp_path / "ordinary", None)
    assert not cuda.sizes
    assert saves(tmp_path / "registered", CudaBackend(0)) == expected
    small, large = cuda.sizes
    assert 0 < small < large
    assert not cuda.registered, "released before it is unmapped"


def test_where_cuda_refuses_saves_are_copied_in_the_ordinary_way(
    cuda: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.refusal = 2
    assert saves(tmp_path / "refused", CudaBackend(0)) == saves(tmp_path / "ordinary", None)
    [told] = caplog.messages
    assert re.fullmatch(r"CUDA cannot pin the .* GB .* \(error 2\): each save takes longer", told)


class Late(CpuBackend):
    """Its copies have not arrived when they are said to have."""

    def __init__(self) -> None:
        self.num_registered = self.times = 0

    def register_host(self, memory: mmap.mmap) -> SimpleNamespace:
        self.num_registered += 1
        self.times += 1
        return SimpleNamespace(release=self._released)

    def _released(self) -> None:
        self.num_registered -= 1

    def wait(self) -> None:
        OnDevice.on_their_way.clear()


def test_copies_that_do_not_arrive_are_noticed_at_the_first_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = Late()
    assert saves(tmp_path / "late", late) == saves(tmp_path / "ordinary", None)
    assert late.num_registered == 0
    assert late.times == 1, "and never tried again"
    assert "is not what it holds" in caplog.text
