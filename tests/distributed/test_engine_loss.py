"""The trial of Transformer Engine's cross-entropy: what rounds as its kernels do passes, what is
wrong in one place does not, and no rank is left alone with that. The kernels need a GPU; their
arithmetic, read in Transformer Engine 2.11, is restated in torch."""

from functools import partial
from typing import Any

import pytest

from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, build_on_rank, markov_batch, token_losses

VOCABULARY = 96
"""Of a rank."""


def imitation(mistake: str = "") -> Any:  # Any: a Kernel
    import torch
    import torch.distributed

    class Imitation(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor, group: Any) -> Any:
            if mistake == "fails":
                raise RuntimeError("PTX assembly aborted")
            if mistake == "rank 1 is off" and group.rank() == 1:
                logits = logits + 1
            place = labels - group.rank() * VOCABULARY * (mistake != "labels of rank 0")
            is_mine = (place >= 0) & (place < VOCABULARY)
            place = place.clamp(0, VOCABULARY - 1).unsqueeze(-1)
            values = logits.float()
            maximum = values.amax(-1)
            torch.distributed.all_reduce(maximum, torch.distributed.ReduceOp.MAX, group=group)
            label = torch.where(is_mine, values.gather(-1, place).squeeze(-1), -torch.inf)
            torch.distributed.all_reduce(label, torch.distributed.ReduceOp.MAX, group=group)
            total = (values - maximum.unsqueeze(-1)).exp().sum(-1)
            torch.distributed.all_reduce(total, group=group)
            softmax = (values - maximum.unsqueeze(-1)).exp() / total.unsqueeze(-1)
            logits.copy_(softmax)  # rounded to the logits' format before 1 is taken from it
            logits.scatter_add_(-1, place, -is_mine.unsqueeze(-1).to(logits.dtype))
            ctx.gradient = logits
            return maximum + total.log() - label

        @staticmethod
        def backward(ctx: Any, weights: torch.Tensor) -> Any:  # type: ignore[override]
            if mistake != "weights are all 1":
                ctx.gradient.mul_(weights.unsqueeze(-1))
            return ctx.gradient, None, None

    return Imitation.apply


MISTAKES = {
    "labels of rank 0": "its losses differ from ours",
    "weights are all 1": "its gradients differ from ours by",
    "fails": "RuntimeError: PTX assembly aborted",
    "rank 1 is off": "its losses differ from ours",
}


ENGINE_LOSS = {"cross_entropy_loss_fusion": "true", "cross_entropy_fusion_impl": "te"}
TP2 = LayoutConfig(tensor=2)


def refusals(context: RankContext) -> dict[str, str]:
    """Of each kernel, and of a model that is to be trained; "" where it is taken."""
    import torch
    from torch.distributed import group

    from megatron_codemix.mcore.engine_loss import engine_entropies, require_right_losses
    from megatron_codemix.mcore.groups import destroy_model_parallel
    from megatron_codemix.mcore.model import wrap_data_parallel

    cpu = torch.device("cpu")
    cases: dict[str, tuple[Any, torch.dtype]] = {
        "right in bf16": (imitation(), torch.bfloat16),
        "right in fp32": (imitation(), torch.float32),
        "not there": (engine_entropies, torch.bfloat16),
        **{name: (imitation(name), torch.bfloat16) for name in MISTAKES},
    }
    found = {
        name: refusal(partial(require_right_losses, VOCABULARY, group.WORLD, cpu, dtype, kernel))
        for name, (kernel, dtype) in cases.items()
    }
    losses = []
    for overrides in (ENGINE_LOSS, {}):
        model = MODEL.model_copy(update={"transformer_overrides": overrides})
        [chunk], parallel, backend = build_on_rank(Job(layout=TP2, model=model))
        if overrides:
            train = partial(wrap_data_parallel, [chunk], TP2, parallel)
            found["a model in training"] = refusal(train)
        losses.append(token_losses(chunk.eval(), markov_batch([0, 1]), parallel, backend))
        destroy_model_parallel()
    found["a model that is read"] = "" if torch.equal(*losses) else "its losses are others"
    return found


def refusal(work: Any) -> str:
    from megatron_codemix.errors import UnavailableError

    try:
        work()
    except UnavailableError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def found() -> list[dict[str, str]]:
    return run_distributed(refusals, 2)


def test_what_rounds_as_the_kernels_do_is_taken(found: list[dict[str, str]]) -> None:
    for of_rank in found:
        assert of_rank["right in bf16"] == of_rank["right in fp32"] == ""


@pytest.mark.parametrize(("mistake", "expected"), MISTAKES.items())
def test_what_is_wrong_is_refused_on_every_rank(
    found: list[dict[str, str]], mistake: str, expected: str
) -> None:
    said = [of_rank[mistake] for of_rank in found]
    assert all("cross_entropy_fusion_impl: te cannot be had: " in one for one in said)
    assert any(expected in one for one in said), said


def test_where_it_is_not_installed_that_is_said(found: list[dict[str, str]]) -> None:
    for of_rank in found:
        assert "remove it and cross_entropy_loss_fusion" in of_rank["not there"]
        assert "transformer_engine" in of_rank["not there"]
    said = [of_rank["a model in training"] for of_rank in found]
    assert all("cross_entropy_fusion_impl: te cannot be had" in one for one in said)


def test_a_model_that_is_read_has_megatron_cores_losses(found: list[dict[str, str]]) -> None:
    """To the bit, on any machine."""
    assert [of_rank["a model that is read"] for of_rank in found] == ["", ""]
