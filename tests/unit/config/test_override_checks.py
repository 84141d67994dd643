"""transformer_overrides beside one another, the rest of the model, and a CPU."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.backend.environment import require_overrides
from megatron_codemix.config.checks import check_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]

FIELD = "model.transformer_overrides"
OF_GPUS = (
    "gradient_accumulation_fusion",
    "defer_embedding_wgrad_compute",
    "cpu_offloading",
    "fine_grained_activation_offloading",
)


def asked(**overrides: str) -> str:
    return f"{FIELD}={{{', '.join(f'{name}: {text!r}' for name, text in overrides.items())}}}"


@pytest.mark.parametrize("name", OF_GPUS)
def test_what_only_a_gpu_has_is_refused_on_a_cpu(changed: Changed, name: str) -> None:
    [problem] = check_config(changed(asked(**{name: "true"}), "backend.device=cpu"))
    assert problem.startswith(f"{FIELD}.{name}: ")
    assert problem.endswith("has no meaning on a CPU; remove it")
    assert check_config(changed(asked(**{name: "true"}))) == []
    assert check_config(changed(asked(**{name: "false"}), "backend.device=cpu")) == []


def test_a_machine_without_a_gpu_is_a_cpu(
    changed: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    config = changed(asked(cpu_offloading="true", gradient_accumulation_fusion="true"))
    with pytest.raises(ConfigError, match="has no meaning on a CPU") as caught:
        require_overrides(config, tmp_path)
    assert len(caught.value.problems) == 2
    require_overrides(changed(), tmp_path)
    (tmp_path / "nvidia0").touch()
    require_overrides(config, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([asked(offload_modules="[mlp_norm]")], "with fine_grained_activation_offloading: true"),
        ([asked(cpu_offloading_num_layers="1")], "means something only with cpu_offloading: true"),
        ([asked(wgrad_deferral_limit="1")], "only with defer_embedding_wgrad_compute: true"),
        ([asked(activation_func_fp8_input_store="true")], "with bias_activation_fusion: true"),
        ([asked(apply_rope_fusion="true")], "our own rotation is taken without being asked for"),
        (
            [asked(glu_linear_offset="1"), "model.activation=gelu"],
            "glu_linear_offset: is of gated activations, and model.activation is gelu",
        ),
        (
            [asked(activation_func_clamp_value="7", bias_activation_fusion="true")],
            "activation_func_clamp_value: is not read with bias_activation_fusion: true",
        ),
        (
            [asked(bias_activation_fusion="true"), "model.activation=gelu"],
            "adds a bias in gelu, and model.add_bias is false",
        ),
    ],
)
def test_what_nothing_would_read_is_refused(
    changed: Changed, overrides: list[str], expected: str
) -> None:
    [problem] = check_config(changed(*overrides))
    assert problem.startswith(f"{FIELD}.")
    assert expected in problem


@pytest.mark.parametrize(
    "overrides",
    [
        [asked(offload_modules="[mlp_norm]", fine_grained_activation_offloading="true")],
        [asked(apply_rope_fusion="false")],
        [asked(glu_linear_offset="1", activation_func_clamp_value="7")],
        [asked(bias_activation_fusion="true"), "model.activation=gelu", "model.add_bias=true"],
        [asked(bias_activation_fusion="true", activation_func_fp8_input_store="true")],
    ],
)
def test_what_is_read_is_taken(changed: Changed, overrides: list[str]) -> None:
    assert check_config(changed(*overrides)) == []
