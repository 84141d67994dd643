"""The formula for parameters against the model that megatron-core builds, of every model file."""

import pytest

from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MoeConfig, PrecisionConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.model_files import MODEL_FILES, load_model
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL

FORMS = {
    "layernorm, biases": {"normalization": "layernorm", "add_bias": True, "activation": "gelu"},
    "parallel, biases": {"block": "parallel", "normalization": "layernorm", "add_bias": True},
    "queries and keys normalised": {"qk_norm": True},
    "all of it": {"block": "parallel", "normalization": "layernorm", "qk_norm": True},
    "experts": {"moe": MoeConfig(num_experts=8, top_k=2, balance_coefficient=0.0)},
    "wide heads, tied": {"head_dim": 48, "tie_embeddings": True},
}


def built_parameters(context: RankContext, models: list[ModelConfig]) -> list[int]:
    """Parameters of the whole model in one process, built without memory for them."""
    import torch
    from megatron.core.models.gpt import GPTModel

    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.mcore.transformer import build_layer_spec, build_transformer_config

    meta = torch.device("meta")
    torch.cuda.current_device = lambda: meta  # where megatron-core puts what it makes
    layout = LayoutConfig()
    parallel = initialize_model_parallel(layout, 0)
    counts = []
    for model in models:
        config = build_transformer_config(model, layout, PrecisionConfig(kind="bf16"), meta)
        with meta:
            built = GPTModel(
                config,
                build_layer_spec(config, model),
                vocab_size=padded_vocabulary_size(model.vocabulary_size),
                max_sequence_length=64,
                share_embeddings_and_output_weights=model.tie_embeddings,
                position_embedding_type="rope",
                pg_collection=parallel.groups,
            )
        counts.append(sum(parameter.numel() for parameter in built.parameters()))
    return counts


def test_the_formula_counts_what_is_built() -> None:
    forms = [MODEL.model_copy(update=change) for change in FORMS.values()]
    models = [*map(load_model, MODEL_FILES), *forms]
    built = run_distributed(built_parameters, 1, models)[0]
    names = [*MODEL_FILES, *FORMS]
    expected = {name: count_parameters(m) for name, m in zip(names, models, strict=True)}
    assert dict(zip(names, built, strict=True)) == expected


def made_parameters(context: RankContext, name: str) -> int:
    from megatron_codemix.mcore.model import gpt_of
    from tests.helpers.training import Job, build_on_rank

    chunks, _, _ = build_on_rank(Job(layout=LayoutConfig(), model=load_model(name)))
    return sum(parameter.numel() for parameter in gpt_of(chunks[0]).parameters())


@pytest.mark.parametrize("name", ["tiny", "20m"])
def test_small_models_are_made_with_their_weights(name: str) -> None:
    assert run_distributed(made_parameters, 1, name) == [count_parameters(load_model(name))]
