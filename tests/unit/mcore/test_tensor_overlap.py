"""Buffers of overlapped collectives: their shape, and no layer that waits without a word."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.config.schema import LayoutConfig, PrecisionConfig
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.tensor_overlap import buffer_shape, require_buffered_layers
from megatron_codemix.mcore.transformer import build_transformer_config
from tests.helpers.training import MODEL

OVERLAP = LayoutConfig(tensor=2, sequence_parallel=True, tensor_overlap=True)


def test_a_buffer_holds_a_microbatch_before_it_is_cut() -> None:
    config: Any = SimpleNamespace(
        model=MODEL,
        data=SimpleNamespace(sequence_length=4096),
        layout=OVERLAP.model_copy(update={"context": 2, "microbatch_sequences": 3}),
    )
    assert buffer_shape(config) == [3 * 4096 // 2, MODEL.hidden_size]


def linear(name: str = "") -> torch.nn.Module:
    """With the marks of Transformer Engine's, which are false where a layer does not overlap."""
    layer = torch.nn.Linear(1, 1)
    if name:
        layer.ub_overlap_ag_fprop, layer.ub_overlap_rs_fprop = name == "ag", name == "rs"
    return layer


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["ag", "rs", "ag", "rs"] * 2, 0),
        (["ag", "rs", "ag", "rs", "ag", "rs", "ag", "neither"], 1),
        (["ag", "rs", "ag", "rs", "", "", "", ""], 4),
    ],
)
def test_a_layer_that_would_wait_is_told(names: list[str], missing: int) -> None:
    halves = [torch.nn.Sequential(*map(linear, names[part : part + 4])) for part in (0, 4)]
    if not missing:
        require_buffered_layers(halves, num_layers=2)
        return
    with pytest.raises(UnavailableError, match=rf"{missing} of 8 linear layers of this rank"):
        require_buffered_layers(halves, num_layers=2)


def test_a_cpu_has_no_such_buffers() -> None:
    with pytest.raises(UnavailableError, match=r"layout\.tensor_overlap: is Transformer Engine's"):
        build_transformer_config(MODEL, OVERLAP, PrecisionConfig(kind="bf16"), torch.device("cpu"))


def test_megatron_core_is_told_on_a_gpu() -> None:
    for is_on in (False, True):
        layout = OVERLAP.model_copy(update={"tensor_overlap": is_on})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
            config = build_transformer_config(
                MODEL, layout, PrecisionConfig(kind="bf16"), torch.device("cuda", 0)
            )
        assert config.tp_comm_overlap is is_on
        assert config.sequence_parallel
