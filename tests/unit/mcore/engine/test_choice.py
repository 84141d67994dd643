"""Whose layers are taken, what is said of it, and what is refused. The GPU is one that is not
there: all that is asked here is answered before it would be needed."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.backend import engine as engine_module
from megatron_codemix.backend.devices import CpuBackend, CudaBackend
from megatron_codemix.config.schema import (
    BackendConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.engine import choice
from megatron_codemix.mcore.engine.choice import Asked, choose_engine
from tests.helpers.training import MODEL

# megatron-core warns of its own defaults.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")

BF16 = PrecisionConfig(kind="bf16")
INSTALLED = "2.11.0"


def asked(
    precision: Any = BF16, model: ModelConfig = MODEL, document_mask: bool = False, **backend: Any
) -> Asked:
    return Asked(
        BackendConfig(**backend), model, LayoutConfig(), precision, 64, document_mask=document_mask
    )


def auto_attention() -> Any:  # Any: as much of a TransformerConfig as is read
    from megatron.core.transformer.enums import AttnBackend

    return SimpleNamespace(attention_backend=AttnBackend.auto)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> CudaBackend:
    """On which Transformer Engine is installed, loads, and passes its trial."""
    monkeypatch.setattr(engine_module, "compute_capability", lambda device: (9, 0))
    monkeypatch.setattr(engine_module, "engine_version", lambda: INSTALLED)
    monkeypatch.setattr(engine_module, "engine_problem", lambda: None)
    monkeypatch.setattr(choice, "_trial", lambda *arguments: None)
    return CudaBackend(0)


def chosen(one: Asked, backend: Any) -> Any:
    return choose_engine(one, auto_attention(), None, backend)  # type: ignore[arg-type]  # not read


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_on_a_cpu_nothing_is_asked_or_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(asked(), CpuBackend()) is None
    assert lines(caplog) == []


def test_theirs_are_taken_and_that_is_said(
    gpu: CudaBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(asked(), gpu).left_out == {}
    assert lines(caplog) == [("INFO", "transformer layers: Transformer Engine's")]


def test_parts_that_are_ours_are_named(gpu: CudaBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = MODEL.model_copy(update={"logit_scale": 0.5})
    taken = chosen(asked(model=model, document_mask=True), gpu)
    assert taken.left_out.keys() == {"last norm", "attention"}
    [(level, said)] = lines(caplog)
    assert level == "INFO"
    assert said.startswith(
        "transformer layers: Transformer Engine's, the last norm ours: model.logit_scale scales"
    )
    assert "; the attention ours: data.document_mask is a dense mask" in said


def test_a_model_of_ours_is_said_without_a_warning(
    gpu: CudaBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(asked(model=MODEL.model_copy(update={"block": "parallel"})), gpu) is None
    [(level, said)] = lines(caplog)
    assert level == "INFO"
    assert said.startswith(
        "transformer layers: ours, not Transformer Engine's: model.block is parallel"
    )


LACKING = {
    "an older GPU": ("compute_capability", lambda device: (7, 5), "this GPU has 7.5"),
    "not installed": ("engine_version", lambda: None, "it is not installed"),
    "does not load": ("engine_problem", lambda: "OSError: libcudnn", "not load (OSError: libcudnn"),
}


@pytest.mark.parametrize("what", [*LACKING, "a trial that fails"])
@pytest.mark.parametrize("precision", [BF16, Fp8Config(recipe="tensorwise")])
def test_a_machine_without_it_goes_on_by_auto_alone(
    what: str,
    precision: Any,
    gpu: CudaBackend,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    if what in LACKING:
        name, stand_in, reason = LACKING[what]
        monkeypatch.setattr(engine_module, name, stand_in)
    else:
        reason = "a layer of it gives another output"
        monkeypatch.setattr(choice, "_trial", lambda *arguments: reason)
    by_name = {"engine": "transformer_engine"} if precision is BF16 else {}
    with pytest.raises(UnavailableError) as refused:
        chosen(asked(precision, **by_name), gpu)
    assert reason in str(refused.value)
    if precision is BF16:
        assert str(refused.value).startswith("backend.engine: ")
        assert chosen(asked(), gpu) is None
        [(level, said)] = lines(caplog)
        assert level == "WARNING"
        assert reason in said
    else:
        assert str(refused.value).startswith("precision.recipe: ")
        assert "take precision.recipe=torch_scaled_mm" in str(refused.value)


def test_torch_leaves_it_out_in_silence(gpu: CudaBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert chosen(asked(engine="torch"), gpu) is None
    assert lines(caplog) == []


def test_a_kernel_that_cannot_compute_the_attention_is_refused() -> None:
    """cuDNN's, on a CPU."""
    from megatron.core.transformer.enums import AttnBackend

    from megatron_codemix.mcore.transformer import build_transformer_config

    backend, alone = CpuBackend(), SimpleNamespace(groups=None)
    config = build_transformer_config(MODEL, LayoutConfig(), BF16, backend.device)
    config.attention_backend = AttnBackend.fused
    with pytest.raises(UnavailableError, match=r"backend\.attention: PyTorch's fused kernels"):
        choice._require_kernel(asked(attention="fused"), config, alone, backend)
    config.attention_backend = AttnBackend.unfused
    choice._require_kernel(asked(attention="unfused"), config, alone, backend)


def test_a_chosen_kernel_gives_what_torchs_choice_gives() -> None:
    from megatron.core.transformer.enums import AttnBackend

    from megatron_codemix.mcore.engine.attention import ChosenSdpaAttention
    from megatron_codemix.mcore.layers import SdpaCoreAttention
    from megatron_codemix.mcore.transformer import build_transformer_config, layer_spec

    cpu = torch.device("cpu")
    config = build_transformer_config(MODEL, LayoutConfig(), PrecisionConfig(kind="fp32"), cpu)
    config.attention_backend = AttnBackend.unfused
    core = layer_spec(config, MODEL).submodules.self_attention.submodules.core_attention
    assert core is ChosenSdpaAttention
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(16, 2, heads, 16, generator=generator) for heads in (4, 2, 2))
    found, expected = (
        attention(config, 1, None, "self")(query, key, value)
        for attention in (ChosenSdpaAttention, SdpaCoreAttention)
    )
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
