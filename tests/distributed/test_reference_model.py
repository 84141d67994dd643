"""The model is the architecture it says it is: losses against the same formulas in plain "
"PyTorch."""

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.plain_model import plain_losses
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, build_on_rank, markov_batch

TOLERANCE = 2e-5
"""fp32, nats; the two sum in different orders."""

COHERE = MODEL.model_copy(
    update={
        "block": "parallel",
        "normalization": "layernorm_no_bias",
        "rope_interleaved": True,
        "tie_embeddings": True,
        "logit_scale": 0.6,
    }
)
VARIANTS = {
    "grouped queries, untied": MODEL,
    "tied": MODEL.model_copy(update={"tie_embeddings": True}),
    "gelu, layernorm": MODEL.model_copy(
        update={"activation": "gelu", "normalization": "layernorm"}
    ),
    "parallel block": MODEL.model_copy(update={"block": "parallel"}),
    "queries and keys normalised": MODEL.model_copy(update={"qk_norm": True}),
    "as Cohere": COHERE,
    "as Cohere, queries and keys normalised": COHERE.model_copy(update={"qk_norm": True}),
    "wide heads, rope base": MODEL.model_copy(update={"head_dim": 32, "rope_base": 500000.0}),
}


def losses_of_both(context: RankContext, model: ModelConfig) -> tuple[object, object]:
    """(megatron-core's losses [B, S], plain PyTorch's losses [B, S]) with the same random "
    "weights."""
    import torch

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of
    from megatron_codemix.mcore.step import token_losses

    [built], parallel, backend = build_on_rank(Job(layout=LayoutConfig(), model=model))
    weights = dict(global_parameters(gpt_of(built)))
    generator = torch.Generator().manual_seed(0)
    for name, weight in weights.items():  # larger than at step 0, so that every part matters
        with torch.no_grad():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.3 * noise if weight.dim() == 1 else 0.15 * noise)
            assert torch.isfinite(weight).all(), name
    batch = markov_batch([0, 1, 2])
    plain = plain_losses(
        weights, model, torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
    )
    return token_losses(built, batch, parallel, backend).numpy(), plain.detach().numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_equal_plain_pytorch(name: str) -> None:
    found, expected = run_distributed(losses_of_both, 1, VARIANTS[name])[0]
    assert expected.std() > 0.5, "the weights make no difference"
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=TOLERANCE)
