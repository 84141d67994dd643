"""Files and overrides to a typed configuration and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megatron_codemix.config.loader import (
    build_run_config,
    dump_yaml,
    load_run_config,
    load_run_config_and_tree,
    load_tree,
    origins,
    read_overrides,
    resolve_extends,
)
from megatron_codemix.config.schema import LinearSchedule, RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]


def test_the_field_types_the_text(changed: Changed) -> None:
    config = changed("train.train_tokens=200B", "schedule.peak_lr=3e-4", "model.add_bias=no")
    assert config.train.train_tokens == 200 * 10**9
    assert config.schedule.kind == "cosine"
    assert config.schedule.peak_lr == 3e-4
    assert config.model.add_bias is False
    assert config.model.tie_embeddings is True
    assert config.data.sources["text"].train == Path("shards/text")


def test_overrides_take_yaml_text_and_nothing(changed: Changed) -> None:
    config = changed(
        "schedule={kind: linear, start_lr: 1e-4, final_lr: 0}",
        "optimizer.clip_grad_norm=null",
        "data.mixture.weights={text: 1}",
        "tokenizer.path='null'",
    )
    assert config.schedule == LinearSchedule(start_lr=1e-4, final_lr=0)
    assert config.optimizer.clip_grad_norm is None
    assert config.data.mixture.weights == {"text": 1.0}
    assert config.tokenizer.path == Path("null")


def test_later_overrides_count(changed: Changed) -> None:
    assert changed("train.seed=2", "train.seed=3").train.seed == 3


def test_extends_is_laid_under_the_file_in_order(complete: Path) -> None:
    folder = complete.parent
    (folder / "sub").mkdir()
    (folder / "sub" / "a.yaml").write_text("extends: ../complete.yaml\ntrain: {seed: 2}\n")
    (folder / "b.yaml").write_text("train: {seed: 3}\nlayout: {tensor: 2}\n")
    (folder / "top.yaml").write_text("extends: [sub/a.yaml, b.yaml]\nlayout: {pipeline: 2}\n")
    config = load_run_config(folder / "top.yaml", ["layout.pipeline=4"])
    assert (config.train.seed, config.layout.tensor, config.layout.pipeline) == (3, 2, 4)
    assert config.model.num_layers == 4


def test_extends_finds_the_packaged_examples(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("extends: examples/models/tiny.yaml\nmodel: {num_layers: 2}\n")
    tree = load_tree(path)
    assert tree["model"]["num_layers"] == "2"
    assert tree["model"]["vocabulary_size"] == "8192"
    assert "model.num_layers" not in origins(tree)
    assert origins(tree)["model.hidden_size"].startswith("inferred")


def test_a_file_beside_goes_before_a_packaged_example(tmp_path: Path) -> None:
    (tmp_path / "examples" / "models").mkdir(parents=True)
    (tmp_path / "examples" / "models" / "tiny.yaml").write_text("model: {num_layers: 7}\n")
    (tmp_path / "run.yaml").write_text("extends: examples/models/tiny.yaml\n")
    assert load_tree(tmp_path / "run.yaml") == {"model": {"num_layers": "7"}}


def test_a_circle_of_extends_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: ./a.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:1: extends: a circle: .*a.* -> .*b.* -> .*a"):
        load_tree(tmp_path / "a.yaml")


def test_the_same_base_twice_is_no_circle(complete: Path) -> None:
    folder = complete.parent
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text("extends: complete.yaml\n")
    (folder / "top.yaml").write_text("extends: [a.yaml, b.yaml]\n")
    assert load_run_config(folder / "top.yaml") == load_run_config(complete)


@pytest.mark.parametrize("extends", ["nowhere.yaml", "{a: b}", "[[a]]", "examples/nothing.yaml"])
def test_bad_extends_is_an_error_with_its_line(tmp_path: Path, extends: str) -> None:
    (tmp_path / "run.yaml").write_text(f"\nextends: {extends}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:2: extends"):
        load_tree(tmp_path / "run.yaml")


def test_resolve_extends_works_on_a_mapping_inside_a_file(complete: Path) -> None:
    tree = resolve_extends({"extends": "complete.yaml", "train": {"seed": "5"}}, complete.parent)
    assert build_run_config(tree, "defaults").train.seed == 5


def test_origin_is_checked(complete: Path) -> None:
    text = complete.read_text() + "origin: {model.hidden: paper, train.seed: I made it up}\n"
    complete.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_run_config(complete)
    assert len(caught.value.problems) == 2
    assert "model.hidden_size" in caught.value.problems[0]


def test_read_overrides_raises_without_a_list_for_problems() -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        read_overrides({}, ["train.seed"])


# Round trip: whatever the values, loading what was dumped gives the same configuration.

_names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
_positive = st.floats(min_value=1e-300, max_value=1e300)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "hidden_size": st.integers(1, 2**70),
        "rope_base": _positive,
        "norm_epsilon": _positive,
        "num_query_groups": st.none() | st.integers(1, 64),
        "transformer_overrides": st.dictionaries(_names, _names),
        "activation": st.sampled_from(["swiglu", "geglu", "gelu"]),
    },
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=_changes,
    tokens=st.integers(1, 10**15),
    weights=st.dictionaries(_names, st.floats(0, 1), min_size=1),
    path=_names.filter(lambda name: "\0" not in name),
)
def test_dumped_configuration_loads_to_an_equal_one(
    tmp_path: Path,
    changed: Changed,
    model: dict[str, Any],
    tokens: int,
    weights: dict[str, float],
    path: str,
) -> None:
    content = changed().model_dump()
    content["model"] |= model
    content["train"]["train_tokens"] = tokens
    content["data"]["mixture"]["weights"] = weights
    content["tokenizer"]["path"] = path
    config = RunConfig.model_validate(content)
    target = tmp_path / "dumped.yaml"
    target.write_text(dump_yaml(config), encoding="utf-8")
    assert load_run_config(target) == config


def test_every_leaf_is_in_the_dump(changed: Changed) -> None:
    text = dump_yaml(changed())
    for word in ("num_query_groups: null", "train_tokens: 500K", "init_from: null", "tensor: 1"):
        assert word in text


def test_a_malformed_override_does_not_hide_the_others(complete: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run_config_and_tree(complete, ["train.sed=3", "layout.tensr=2", "foo=1", "bar"])
    message = str(caught.value)
    assert len(caught.value.problems) == 4
    for words in ("train.sed", "layout.tensr", "foo", "override 'bar'"):
        assert words in message
