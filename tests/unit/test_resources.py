"""Packaged examples: found, and right."""

from pathlib import Path

import pytest

from megatron_codemix import resources
from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.resources import find_example


def test_an_example_is_found_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_example("models/tiny.yaml")
    assert found is not None
    assert found.parts[-3:] == ("examples", "models", "tiny.yaml")
    inside = tmp_path / "megatron_codemix" / "examples"
    monkeypatch.setattr(resources, "_PLACES", (inside, found.parents[1]))
    assert find_example("models/tiny.yaml") == found
    (inside / "models").mkdir(parents=True)
    (inside / "models" / "tiny.yaml").write_text("")
    assert find_example("models/tiny.yaml") == inside / "models" / "tiny.yaml"


@pytest.mark.parametrize("name", ["models/none.yaml", "models", ""])
def test_what_is_no_example_is_not_found(name: str) -> None:
    assert find_example(name) is None


def test_the_tiny_model_is_what_its_comment_says() -> None:
    path = find_example("models/tiny.yaml")
    assert path is not None
    model = build_section(ModelConfig, load_tree(path)["model"], str(path))
    assert 1.0e6 < count_parameters(model) < 1.4e6
    assert (model.hidden_size // model.num_attention_heads) % 2 == 0
    for parallel in (1, 2, 4):
        assert model.num_layers % parallel == 0
        assert model.num_attention_heads % parallel == 0
        assert model.ffn_hidden_size % parallel == 0
