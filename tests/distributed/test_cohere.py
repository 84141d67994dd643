"""The parallel block with a biasless LayerNorm, interleaved RoPE, tied tables and a logit scale is
the Cohere architecture of `transformers`: losses with the same weights."""

from collections.abc import Mapping

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Job, build_on_rank, markov_batch, token_losses

TOLERANCE = 2e-5
"""fp32, nats; the two sum in different orders."""

MODEL = ModelConfig(
    num_layers=3,
    hidden_size=64,
    ffn_hidden_size=96,
    num_attention_heads=4,
    num_query_groups=2,
    vocabulary_size=256,
    block="parallel",
    normalization="layernorm_no_bias",
    rope_base=500000.0,
    rope_interleaved=True,
    tie_embeddings=True,
    logit_scale=0.6,
)


def cohere_weights(weights: Mapping[str, object], model: ModelConfig) -> dict[str, object]:
    """The weights under transformers' names; megatron-core keeps queries, keys and values of a
    group together, and gate and value in one matrix."""
    groups = model.num_query_groups
    head = model.hidden_size // model.num_attention_heads
    per_group = model.num_attention_heads // groups
    found = {
        "model.embed_tokens.weight": weights["embedding.word_embeddings.weight"],
        "model.norm.weight": weights["decoder.final_layernorm.weight"],
    }
    for number in range(model.num_layers):
        ours, theirs = f"decoder.layers.{number}.", f"model.layers.{number}."
        mixed = weights[f"{ours}self_attention.linear_qkv.weight"]
        mixed = mixed.view(groups, per_group + 2, head, model.hidden_size)
        gate, up = weights[f"{ours}mlp.linear_fc1.weight"].chunk(2)
        found |= {
            f"{theirs}input_layernorm.weight": weights[f"{ours}input_layernorm.weight"],
            f"{theirs}self_attn.q_proj.weight": mixed[:, :per_group].flatten(0, 2),
            f"{theirs}self_attn.k_proj.weight": mixed[:, per_group].flatten(0, 1),
            f"{theirs}self_attn.v_proj.weight": mixed[:, per_group + 1].flatten(0, 1),
            f"{theirs}self_attn.o_proj.weight": weights[f"{ours}self_attention.linear_proj.weight"],
            f"{theirs}mlp.gate_proj.weight": gate,
            f"{theirs}mlp.up_proj.weight": up,
            f"{theirs}mlp.down_proj.weight": weights[f"{ours}mlp.linear_fc2.weight"],
        }
        if model.qk_norm:  # Cohere has weights for each head
            for letter, heads in (("q", model.num_attention_heads), ("k", groups)):
                scale = weights[f"{ours}self_attention.{letter}_layernorm.weight"]
                found[f"{theirs}self_attn.{letter}_norm.weight"] = scale.expand(heads, head)
    return found


def losses_of_both(context: RankContext, model: ModelConfig) -> tuple[object, object]:
    """(megatron-core's losses [B, S], transformers' losses [B, S]) with the same random weights."""
    import torch
    from transformers import CohereConfig, CohereForCausalLM

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of

    [built], parallel, backend = build_on_rank(Job(layout=LayoutConfig(), model=model))
    weights = dict(global_parameters(gpt_of(built)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in weights.values():  # larger than at step 0, so that every part matters
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.3 * noise if weight.dim() == 1 else 0.15 * noise)
    theirs = CohereForCausalLM(
        CohereConfig(
            vocab_size=weights["embedding.word_embeddings.weight"].shape[0],
            hidden_size=model.hidden_size,
            intermediate_size=model.ffn_hidden_size,
            num_hidden_layers=model.num_layers,
            num_attention_heads=model.num_attention_heads,
            num_key_value_heads=model.num_query_groups,
            layer_norm_eps=model.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": model.rope_base},
            logit_scale=model.logit_scale,
            use_qk_norm=model.qk_norm,
            tie_word_embeddings=True,
        )
    )
    missing = theirs.load_state_dict(cohere_weights(weights, model), strict=False)
    assert missing.missing_keys == ["lm_head.weight"]  # the tied one
    assert missing.unexpected_keys == []
    batch = markov_batch([0, 1, 2])
    with torch.no_grad():
        logits = theirs(torch.from_numpy(batch.tokens)).logits
    labels = torch.from_numpy(batch.labels)
    expected = torch.nn.functional.cross_entropy(logits.mT, labels, reduction="none")
    return token_losses(built, batch, parallel, backend).numpy(), expected.numpy()


@pytest.mark.parametrize("qk_norm", [False, True])
def test_losses_equal_those_of_transformers(qk_norm: bool) -> None:
    model = MODEL.model_copy(update={"qk_norm": qk_norm})
    found, expected = run_distributed(losses_of_both, 1, model)[0]
    assert expected.std() > 0.5, "the weights make no difference"
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=0)
