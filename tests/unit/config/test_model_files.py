"""The model files: each says where its numbers are from, and has the parameters published of it."""

import pytest

from megatron_codemix.config.loader import load_tree, origins
from megatron_codemix.config.parameters import count_parameters
from tests.helpers.model_files import MODEL_FILES, load_model

PUBLISHED = {
    "20m": (19_101_888, 50_304),
    "60m": (57_078_144, 50_304),
    "150m": (151_898_880, 50_304),
    "300m": (319_980_544, 50_304),
    "1b": (1_100_048_384, 32_000),
    "7b": (6_738_415_616, 32_000),
    "13b": (13_015_864_320, 32_000),
    "34b": (33_743_970_304, 32_000),
    "70b": (68_976_648_192, 32_000),
}
"""Model -> (parameters, rows of its tables), as released: DataDecide's table of sizes, and the
model cards of TinyLlama 1.1B, Llama 2 7B, 13B and 70B, Code Llama 34B."""


def test_no_file_is_forgotten() -> None:
    assert set(MODEL_FILES) == {*PUBLISHED, "tiny", "470m", "2_8b"}


@pytest.mark.parametrize("name", MODEL_FILES)
def test_every_value_has_its_origin(name: str) -> None:
    tree = load_tree(MODEL_FILES[name])
    given = {
        f"{section}.{field}" for section in tree if section != "origin" for field in tree[section]
    }
    assert set(origins(tree)) == given
    for text in origins(tree).values():
        is_reason = text.startswith("inferred: ") and len(text) > len("inferred: because")
        assert is_reason or text.startswith("paper ")


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_released_model(name: str) -> None:
    total, rows = PUBLISHED[name]
    assert count_parameters(load_model(name), rows) == total


@pytest.mark.parametrize(("name", "size"), [("470m", 470e6), ("2_8b", 2.8e9)])
def test_the_first_papers_models_have_its_form_and_sizes(name: str, size: float) -> None:
    model = load_model(name)
    assert count_parameters(model) == pytest.approx(size, rel=0.01)
    assert model.block == "parallel"
    assert model.activation == "swiglu"
    assert not model.add_bias
    assert model.vocabulary_size == 256_000
    assert load_tree(MODEL_FILES[name])["data"] == {"sequence_length": "8192"}


@pytest.mark.parametrize("name", MODEL_FILES)
def test_every_model_can_be_split_over_a_node(name: str) -> None:
    """Heads, key/value heads, MLP and vocabulary over tensor-parallel ranks."""
    model = load_model(name)
    tensor = 4
    for size in (model.num_query_groups or model.num_attention_heads, model.ffn_hidden_size):
        assert size % tensor == 0


def test_comments_state_the_total() -> None:
    for name, (total, _) in PUBLISHED.items():
        assert f"{total:,} parameters" in MODEL_FILES[name].read_text(), name
    for name in ("470m", "2_8b"):
        assert f"{count_parameters(load_model(name)):,} parameters" in MODEL_FILES[name].read_text()
