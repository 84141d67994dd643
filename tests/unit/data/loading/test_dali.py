"""Where DALI is not installed these are skipped; `make test` installs it."""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.data.batches import Batch, allocate_batch
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.loading import dali
from megatron_codemix.data.loading.dali import DaliLoader, require_dali
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.errors import DataError, UnavailableError
from tests.helpers.tiny import SEQUENCE, markov_documents, write_shard

MICROBATCHES, MICROBATCH, NUM_STEPS = 3, 2, 7


@pytest.fixture
def _dali_is_installed() -> None:
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI (extra `dali`) is not installed")


needs_dali = pytest.mark.usefixtures("_dali_is_installed")


@pytest.fixture(params=["windows", "document mask", "padded"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> MixtureDataset:
    for seed, name in enumerate(("code", "text")):
        write_shard(tmp_path / name, markov_documents(seed, 30), tokenizer="a" * 64, source=name)
    packing = "best_fit" if request.param == "padded" else None
    return MixtureDataset(
        [SourceSpec("code", tmp_path / "code", packing), SourceSpec("text", tmp_path / "text")],
        constant_plan({"code": 600_000, "text": 448_576}),
        sequence_length=SEQUENCE,
        seed=3,
        document_mask=request.param == "document mask",
    )


def samples_of(step: int) -> list[list[int]]:
    numbers = np.arange(step * 6, step * 6 + 6).reshape(MICROBATCHES, MICROBATCH)
    return numbers.tolist()


def open_dali(dataset: MixtureDataset, steps: range, **options) -> DaliLoader:
    def fill(step: int, batches: list[Batch]) -> None:
        for indices, batch in zip(samples_of(step), batches, strict=True):
            dataset.batch(indices, into=batch)

    buffers = [
        allocate_batch(MICROBATCH, SEQUENCE, with_documents=dataset.document_mask)
        for _ in range(MICROBATCHES)
    ]
    return DaliLoader(
        steps, fill, buffers, **{"token_dtype": np.uint16, "device_id": None, "depth": 2} | options
    )


def assert_equal(ours: Batch, expected: Batch) -> None:
    for name, array in vars(expected).items():
        if array is None:
            assert getattr(ours, name) is None
            continue
        assert getattr(ours, name).dtype == array.dtype, name
        np.testing.assert_array_equal(getattr(ours, name), array, err_msg=name)


@needs_dali
@pytest.mark.parametrize("token_dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("depth", [1, 3])
def test_gives_the_batches_of_the_dataset_bit_for_bit(dataset, token_dtype, depth):
    loader = open_dali(dataset, range(NUM_STEPS), token_dtype=token_dtype, depth=depth)

    for step in range(NUM_STEPS):
        batches = loader.take()
        assert len(batches) == MICROBATCHES
        for indices, batch in zip(samples_of(step), batches, strict=True):
            assert_equal(batch, dataset.batch(indices))
    with pytest.raises(StopIteration):
        loader.take()
    loader.close()


@needs_dali
def test_starts_at_any_step(dataset):
    loader = open_dali(dataset, range(4, NUM_STEPS))
    assert_equal(loader.take()[1], dataset.batch(samples_of(4)[1]))
    loader.close()


@needs_dali
def test_goes_on_from_its_checkpoint_with_the_very_next_step(dataset):
    first = open_dali(dataset, range(NUM_STEPS))
    for _ in range(3):
        first.take()
    checkpoint = first.checkpoint()
    first.close()

    second = open_dali(dataset, range(NUM_STEPS), checkpoint=checkpoint)

    for step in range(3, NUM_STEPS):
        assert_equal(second.take()[0], dataset.batch(samples_of(step)[0]))
    second.close()


@needs_dali
def test_damaged_data_surfaces_as_it_is(dataset):
    def fill(step: int, batches: list[Batch]) -> None:
        raise DataError("block 7 of code.bin is damaged")

    loader = open_dali(dataset, range(NUM_STEPS))
    loader.close()
    buffers = [allocate_batch(MICROBATCH, SEQUENCE)]
    loader = DaliLoader(
        range(NUM_STEPS), fill, buffers, token_dtype=np.uint16, device_id=None, depth=2
    )
    with pytest.raises(DataError, match="block 7"):
        loader.take()
    loader.close()


@needs_dali
def test_an_installed_dali_is_found():
    require_dali()


@pytest.mark.parametrize("has_parent", [True, False])
def test_a_missing_dali_is_refused_with_what_to_install(has_parent, monkeypatch):
    def find_spec(name: str) -> None:
        if not has_parent:
            raise ModuleNotFoundError(f"No module named {name.split('.')[0]!r}")

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(UnavailableError, match=r"pip install 'megatron_codemix\[dali\]'"):
        dali.require_dali()


@pytest.mark.parametrize(
    "failure", ['OSError("libdali.so: cannot open")', 'ImportError("libdali.so: cannot open")']
)
def test_a_dali_that_does_not_load_is_told(dataset, failure, tmp_path, monkeypatch):
    package = tmp_path / "site" / "nvidia" / "dali"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(f"raise {failure}")
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in [name for name in sys.modules if name.split(".")[0] == "nvidia"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nvidia", importlib.import_module("nvidia"))
    with pytest.raises(UnavailableError, match=r"^data\.loader: dali, but NVIDIA DALI does not "):
        open_dali(dataset, range(NUM_STEPS))


@needs_dali
def test_a_gpu_without_a_driver_is_told(dataset, tmp_path):
    if may_have_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError, match=r"set data\.loader=own"):
        open_dali(dataset, range(NUM_STEPS), device_id=0)
