"""The model is the architecture it says it is: losses against the same formulas in plain "
"PyTorch."""

import math

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MoeConfig, PrecisionConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.plain_model import plain_losses, plain_router_loss
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, OPTIMIZER, Job, build_on_rank, markov_batch, token_losses

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
MOE = MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.3, router_z_coefficient=0.02)
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
    "experts": MODEL.model_copy(update={"moe": MOE}),
    "one expert of four, by its share": MODEL.model_copy(
        update={"moe": MOE.model_copy(update={"top_k": 1, "normalize_chosen": False})}
    ),
    "wide heads, rope base": MODEL.model_copy(update={"head_dim": 32, "rope_base": 500000.0}),
}


def losses_of_both(context: RankContext, model: ModelConfig) -> tuple[object, object]:
    """(megatron-core's losses [B, S], plain PyTorch's losses [B, S]) with the same random "
    "weights."""
    import torch

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of

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


def gradient_norms_of_both(context: RankContext, microbatch: int) -> tuple[float, float]:
    """(our gradient norm of a step on 4 samples, plain PyTorch's from the same weights), the
    router's losses included."""
    import torch

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
    from megatron_codemix.mcore.step import train_step

    layout = LayoutConfig(microbatch_sequences=microbatch)
    model = MODEL.model_copy(update={"moe": MOE, "init_std": 0.1})
    chunks, parallel, backend = build_on_rank(Job(layout=layout, model=model))
    weights = {
        name: value.detach().clone().requires_grad_()
        for name, value in global_parameters(gpt_of(chunks[0]))
    }
    whole = markov_batch([0, 1, 2, 3])
    logits: list[torch.Tensor] = []
    tokens, labels = torch.from_numpy(whole.tokens), torch.from_numpy(whole.labels)
    loss = plain_losses(weights, model, tokens, labels, logits).mean()
    (loss + plain_router_loss(logits, MOE)).backward()
    squares = [float(weight.grad.double().square().sum()) for weight in weights.values()]

    wrapped = wrap_data_parallel(chunks, layout, parallel)
    precision = PrecisionConfig(kind="fp32")
    optimizer = build_optimizer(OPTIMIZER, layout, precision, wrapped, parallel)
    set_step_sizes(optimizer, lr=0.0, weight_decay=0.0)
    batches = [
        markov_batch(list(range(start, start + microbatch))) for start in range(0, 4, microbatch)
    ]
    result = train_step(
        wrapped, optimizer, batches, num_sources=2, parallel=parallel, backend=backend
    )
    return result.grad_norm, math.sqrt(sum(squares))


@pytest.mark.parametrize("microbatch", [1, 2, 4])
def test_gradients_of_experts_and_router_equal_plain_pytorch(microbatch: int) -> None:
    found, expected = run_distributed(gradient_norms_of_both, 1, microbatch)[0]
    assert found == pytest.approx(expected, rel=TOLERANCE)
