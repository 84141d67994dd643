"""Every call of Transformer Engine and Apex, ours and megatron-core's, against the signatures of a
real installation, and our layers against its layers (`tests/contracts/engines.json`, by
`tools/record_contracts.py`)."""

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.config.precision_checks import ENGINE_VERSION
from tools import record_contracts as contracts
from tools.engine_layers import MODELS, differences

ROOT = Path(__file__).parents[3]
RECORD = json.loads((ROOT / "tests" / "contracts" / "engines.json").read_text(encoding="utf-8"))
USES = list(contracts.uses())
FP8_STATE = "transformer_engine.pytorch.fp8.FP8GlobalStateManager"

ABSENT_FROM_2_11 = {
    "transformer_engine.pytorch.attention._SplitAlongDim": "moved; megatron-core then has none",
    "transformer_engine.pytorch.attention._SplitAlongDim.apply": "the same",
    "transformer_engine.pytorch.attention.apply_rotary_pos_emb": "until 2.2",
    "transformer_engine.pytorch.cpp_extensions.cast_to_fp8": "until 1.x",
    "transformer_engine.pytorch.module.base.get_workspace": "batch-invariant products only",
}
"""Names that megatron-core asks of other versions, behind a check of the version or a `try`."""

OF_OTHER_VERSIONS = {
    ("megatron.core.transformer.attention", f"{contracts.LAYERS}.SplitAlongDim"),  # None there
    ("megatron.core.transformer.cuda_graphs", f"{FP8_STATE}.add_fp8_tensors_to_global_buffer"),
    (
        contracts.LAYERS,
        "transformer_engine.pytorch.cpp_extensions.general_gemm",
    ),  # no get_workspace
}
"""Module and name of calls that megatron-core makes behind a check of the version or a `try`, and
that 2.11 does not take."""


def is_for_others(use: Any) -> bool:
    return (use.place.rpartition(":")[0], use.name) in OF_OTHER_VERSIONS


KNOWN = [use for use in USES if use.is_call and use.name in RECORD["signatures"]]
CALLS = [use for use in KNOWN if not is_for_others(use)]
OTHERS = [use for use in KNOWN if is_for_others(use)]


def signature(name: str) -> inspect.Signature | None:
    found = RECORD["signatures"][name]
    if found is None:
        return None
    return inspect.Signature(
        [
            inspect.Parameter(
                parameter,
                inspect._ParameterKind[kind],
                default=None if has_default else inspect.Parameter.empty,
            )
            for parameter, kind, has_default in found
        ]
    )


def bind(name: str, positional: int, keywords: tuple[str, ...], *, is_open: bool) -> None:
    """Raises TypeError where the recorded signature does not take such a call."""
    expected = signature(name)
    assert expected is not None, f"{name} cannot be called, as it was recorded"
    bound = expected.bind_partial if is_open else expected.bind
    bound(*[None] * positional, **dict.fromkeys(keywords))


def test_the_record_is_of_what_the_sources_name() -> None:
    recorded = {*RECORD["signatures"], *RECORD["absent"]}
    assert {use.name for use in USES} == recorded, "run tools/record_contracts.py again"


def test_the_record_is_of_the_versions_that_are_taken() -> None:
    assert RECORD["versions"]["megatron-core"] == version("megatron-core")
    engine = tuple(int(part) for part in RECORD["versions"]["transformer-engine"].split(".")[:2])
    assert ENGINE_VERSION <= engine < (2, 12), "megatron-core 0.16.1 takes >=2.9, <2.12"


def test_what_is_absent_is_known() -> None:
    engines = {name for name in RECORD["absent"] if name.startswith("transformer_engine")}
    assert engines == set(ABSENT_FROM_2_11)
    assert all(".fp8." not in name for name in engines)


@pytest.mark.parametrize("use", CALLS, ids=lambda use: f"{use.place} {use.name}")
def test_a_call_is_one_that_the_installed_package_takes(use: Any) -> None:
    bind(use.name, use.positional, use.keywords, is_open=use.is_open)


def test_a_call_for_other_versions_is_not_one_for_this() -> None:
    """So that the exceptions above are few and true."""
    seen = set()
    for use in OTHERS:
        try:
            bind(use.name, use.positional, use.keywords, is_open=use.is_open)
        except (TypeError, AssertionError):
            seen.add((use.place.rpartition(":")[0], use.name))
    assert seen == OF_OTHER_VERSIONS


def layers_built(module: str) -> list[tuple[str, int, list[ast.keyword]]]:
    """(name, positional arguments, keywords) of `build_module(submodules.NAME, ...)` and of
    `submodules.NAME(...)` in a module of megatron-core."""
    tree = ast.parse(contracts.source_of(module).read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="build_module"),
                args=[
                    ast.Attribute(
                        value=ast.Name(id="submodules") | ast.Attribute(attr="submodules"),
                        attr=name,
                    ),
                    *arguments,
                ],
            ):
                found.append((name, len(arguments), node.keywords))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="submodules"), attr=name)):
                found.append((name, len(node.args), node.keywords))
    return found


LAYERS_IN_SPECS = {
    "linear_qkv": ("TELayerNormColumnParallelLinear", "TEColumnParallelLinear"),
    "linear_proj": ("TERowParallelLinear",),
    "linear_fc1": ("TELayerNormColumnParallelLinear", "TEColumnParallelLinear"),
    "linear_fc2": ("TERowParallelLinear",),
    "q_layernorm": ("TENorm",),
    "k_layernorm": ("TENorm",),
    "pre_mlp_layernorm": ("TENorm",),
    "layer_norm": ("TENorm",),
}
MARKED_WITH_VALUES = re.compile(
    r"/decoder\..*layernorm\.(weight|bias)/sequence parallel: False and True"
)
"""Norms that stand by themselves: Transformer Engine marks them as it gives them values
(`reset_parameters`), which on the device of the record nothing has."""
BUILDERS = ("attention", "mlp", "transformer_block", "transformer_layer")


def test_layers_of_a_spec_are_built_as_transformer_engines_are() -> None:
    """As `EngineLayers` puts them there."""
    seen = set()
    for module in BUILDERS:
        for name, positional, words in layers_built(f"megatron.core.transformer.{module}"):
            for layer in LAYERS_IN_SPECS.get(name, ()):
                seen.add(name)
                keywords = tuple(word.arg for word in words if word.arg is not None)
                is_open = len(keywords) < len(words)
                bind(f"{contracts.LAYERS}.{layer}", positional, keywords, is_open=is_open)
    assert seen == set(LAYERS_IN_SPECS)


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    """What the record has of Transformer Engine's layers, of ours."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.engine_layers", "ours"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("part", ["parameters", "checkpoint"])
@pytest.mark.parametrize("model", MODELS)
def test_layers_of_both_have_one_form(model: str, part: str, ours: dict[str, Any]) -> None:
    """Under our names: shapes, formats and marks for parallelism of all parameters, and the places
    of all tensors in a checkpoint. So weights at step 0, gradients that are summed and files do not
    depend on whose layers they are."""
    found, expected = RECORD["layers"][model][part], ours[model][part]
    assert found
    apart = list(differences(found, expected))
    assert [one for one in apart if not MARKED_WITH_VALUES.fullmatch(one)] == []


def test_a_call_that_does_not_fit_is_found(tmp_path: Path) -> None:
    source = tmp_path / "ours.py"
    source.write_text(
        "import transformer_engine as te\n"
        "from transformer_engine.pytorch import Linear as Their\n"
        "class Ours(te.pytorch.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(8, 8, biass=True)\n"
        "Their(8, 8, bias=True)\n"
        "te.pytorch.Linear(8)\n"
        "te.pytorch.Linear(8, **{})\n"
    )
    calls = [use for use in contracts.uses_of(source, "ours.py") if use.is_call]
    assert {use.name for use in calls} == {"transformer_engine.pytorch.Linear"}
    problems = {}
    for use in calls:
        try:
            bind(use.name, use.positional, use.keywords, is_open=use.is_open)
        except TypeError as error:
            problems[use.place] = str(error)
    assert problems == {
        "ours.py:5": "got an unexpected keyword argument 'biass'",
        "ours.py:7": "missing a required argument: 'out_features'",
    }


@pytest.mark.skipif(
    importlib.util.find_spec("transformer_engine") is None,
    reason="Transformer Engine is not installed; the record stands in for it",
)
def test_the_installed_package_is_the_recorded_one() -> None:
    pytest.importorskip("transformer_engine.pytorch", exc_type=Exception)
    ended = subprocess.run(
        [sys.executable, "-m", "tools.record_contracts"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    live = json.loads(ended.stdout)
    if live["versions"]["transformer-engine"] != RECORD["versions"]["transformer-engine"]:
        pytest.skip(f"another version: {live['versions']['transformer-engine']}")
    assert live["signatures"] == RECORD["signatures"]
    assert live["layers"] == RECORD["layers"]
