"""With a document mask the tokens of one document cannot reach another's logits, in any layout."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from megatron_codemix.config.schema import LayoutConfig, PrecisionConfig
from megatron_codemix.data.batches import Batch
from megatron_codemix.data.documents import PADDING, positions_in_documents
from megatron_codemix.launch.placement import RankContext
from tests.helpers.plain_model import plain_losses
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, OPTIMIZER, SEQUENCE, Job, build_on_rank

TOLERANCE = 2e-5
"""fp32, nats and gradients: sums are taken in another order."""

END_OF_DOCUMENT = 0
LABELS = [[20, 1, 30, 13], [7, 40, 10, 7]]
"""Labels of each document, in each of two samples; the last of the second sample is padding."""
PERTURBED = [2, 1]
"""Which document of each sample is changed."""

LAYOUTS = {
    "one process": (1, LayoutConfig(), "fp32"),
    "one process, bf16": (1, LayoutConfig(), "bf16"),
    "tp2 with sequence parallelism": (2, LayoutConfig(tensor=2, sequence_parallel=True), "fp32"),
    "pp2, bf16": (2, LayoutConfig(pipeline=2), "bf16"),
    "dp2": (2, LayoutConfig(), "fp32"),
    "pp2 with two chunks": (2, LayoutConfig(pipeline=2, virtual_pipeline=2), "fp32"),
    "cp2": (2, LayoutConfig(context=2), "fp32"),
    "cp2, bf16, recomputed": (2, LayoutConfig(context=2, recompute="selective"), "bf16"),
    "tp2 x pp2": (4, LayoutConfig(tensor=2, pipeline=2), "fp32"),
    "tp2 x cp2 with sequence parallelism": (
        4,
        LayoutConfig(tensor=2, context=2, sequence_parallel=True),
        "fp32",
    ),
}


def make_batch(*, is_masked: bool = True, is_perturbed: bool = False) -> Batch:
    """Two samples of several documents. An end-of-document token opens each but the first of a
    sample, so it is never perturbed."""
    rng = np.random.default_rng(5)
    rows = rng.integers(1, 256, (2, SEQUENCE + 1))
    documents = np.array([np.repeat(range(len(lengths)), lengths) for lengths in LABELS])
    for row, lengths in enumerate(LABELS):
        rows[row, np.cumsum(lengths)] = END_OF_DOCUMENT
        if is_perturbed:
            end = int(np.cumsum(lengths)[PERTURBED[row]])
            start = end - lengths[PERTURBED[row]] + 1
            rows[row, start:end] = 255 - rows[row, start:end] // 2
    documents[1, -LABELS[1][-1] :] = PADDING
    return Batch(
        tokens=rows[:, :-1].copy(),
        labels=rows[:, 1:].copy(),
        loss_mask=(documents != PADDING).astype(np.float32),
        position_ids=positions_in_documents(documents),
        document_ids=documents if is_masked else None,
        source_id=np.array([0, 1], np.int16),
    )


def one_sample(batch: Batch, row: int) -> Batch:
    ids = None if batch.document_ids is None else batch.document_ids[row : row + 1]
    rows = {
        name: getattr(batch, name)[row : row + 1]
        for name in ("tokens", "labels", "loss_mask", "position_ids", "source_id")
    }
    return Batch(document_ids=ids, **rows)


@dataclass(frozen=True)
class Seen:
    """What one training step on each batch has shown; logits [2, places, V of this rank], or none
    where this rank has none (another stage, another data-parallel rank's sample)."""

    places: np.ndarray
    """Of the sequence, those that this rank has."""
    logits: dict[str, list[np.ndarray]]
    nats: dict[str, list[float]]
    grad_norm: dict[str, float]


def steps_on_rank(context: RankContext, layout: LayoutConfig, precision: str) -> Seen:
    """Training steps with a learning rate of 0, so that all start from the same weights."""
    import torch

    from megatron_codemix.mcore.context import context_part
    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
    from megatron_codemix.mcore.step import train_step

    job = Job(layout=layout, precision=precision, model=MODEL.model_copy(update={"init_std": 0.2}))
    chunks, parallel, backend = build_on_rank(job)
    model = wrap_data_parallel(chunks, layout, parallel)
    optimizer = build_optimizer(OPTIMIZER, layout, PrecisionConfig(kind=precision), model, parallel)
    set_step_sizes(optimizer, lr=0.0, weight_decay=0.0)
    captured: list[torch.Tensor] = []
    if parallel.is_last_stage:
        gpt_of(chunks[-1]).output_layer.register_forward_hook(
            # A copy: the loss is computed in place.
            lambda module, inputs, output: captured.append(output[0].detach().float().clone())
        )
    places = context_part(torch.arange(SEQUENCE), parallel, dim=0).numpy()
    seen = Seen(places, {}, {}, {})
    rows = [parallel.data_rank] if parallel.data_size == 2 else [0, 1]
    for name, batch in batches().items():
        captured.clear()
        result = train_step(
            model,
            optimizer,
            [one_sample(batch, row) for row in rows],
            num_sources=2,
            parallel=parallel,
            backend=backend,
        )
        seen.logits[name] = [logits[:, 0].numpy() for logits in captured]
        seen.nats[name] = result.source_nats.tolist()
        seen.grad_norm[name] = result.grad_norm
    return seen


def batches() -> dict[str, Batch]:
    named = {
        "masked": make_batch(),
        "masked, perturbed": make_batch(is_perturbed=True),
        "open": make_batch(is_masked=False),
        "open, perturbed": make_batch(is_masked=False, is_perturbed=True),
    }
    # Only the loss of what was not perturbed: its gradient cannot depend on the other document.
    for name in list(named):
        documents = make_batch().document_ids
        is_perturbed = documents == np.array(PERTURBED)[:, None]
        mask = np.where(is_perturbed, 0, named[name].loss_mask).astype(np.float32)
        named[f"{name}, loss elsewhere"] = replace(named[name], loss_mask=mask)
    return named


@pytest.fixture(scope="module")
def one_process() -> Seen:
    return run_distributed(steps_on_rank, 1, LayoutConfig(), "fp32")[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_document_changes_no_other_documents_logits_and_gradients(
    name: str, one_process: Seen
) -> None:
    num_ranks, layout, precision = LAYOUTS[name]
    seen = run_distributed(steps_on_rank, num_ranks, layout, precision)
    documents = make_batch().document_ids
    num_compared = num_changed = 0
    for rank, found in enumerate(seen):
        for number, logits in enumerate(found.logits["masked"]):
            row = rank if name == "dp2" else number
            is_other = documents[row] != PERTURBED[row]
            is_after = np.arange(SEQUENCE) > np.flatnonzero(~is_other)[-1]
            is_other, is_after = is_other[found.places], is_after[found.places]
            closed = found.logits["masked, perturbed"][number]
            assert np.array_equal(closed[is_other], logits[is_other]), f"sample {row} leaks"
            num_changed += int((closed[~is_other] != logits[~is_other]).any(axis=1).sum())
            before, after = found.logits["open"], found.logits["open, perturbed"]
            changed = (before[number] != after[number]).any(axis=1)
            assert changed[is_after].all(), "without a mask every later token sees the change"
            num_compared += 1
        elsewhere = "loss elsewhere"
        norms = found.grad_norm
        assert norms[f"masked, {elsewhere}"] == norms[f"masked, perturbed, {elsewhere}"]
        assert norms[f"open, {elsewhere}"] != norms[f"open, perturbed, {elsewhere}"]
        if precision == "fp32":
            assert norms == pytest.approx(one_process.grad_norm, rel=TOLERANCE)
            for case, nats in one_process.nats.items():
                assert found.nats[case] == pytest.approx(nats, rel=TOLERANCE)
    assert num_compared == 2 * layout.tensor * layout.context
    assert num_changed == layout.tensor * sum(
        lengths[number] - 1  # the separator that opens a document is not changed
        for lengths, number in zip(LABELS, PERTURBED, strict=True)
    )


def both_on_rank(context: RankContext) -> tuple[np.ndarray, np.ndarray, float]:
    """(our losses of a masked batch, plain PyTorch's of each document alone, largest difference of
    a gradient relative to the largest gradient)."""
    import torch

    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.layers import document_attention_mask
    from megatron_codemix.mcore.model import gpt_of

    model = MODEL.model_copy(update={"init_std": 0.2})
    [built], _, _ = build_on_rank(Job(layout=LayoutConfig(), model=model))
    weights = dict(global_parameters(gpt_of(built)))
    batch = make_batch()
    tokens, positions, documents, labels = (
        torch.from_numpy(getattr(batch, name))
        for name in ("tokens", "position_ids", "document_ids", "labels")
    )
    ours = built(tokens, positions, document_attention_mask(documents), labels=labels)
    (ours * torch.from_numpy(batch.loss_mask)).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in weights.items()}
    for weight in weights.values():
        weight.grad = None
    alone = torch.zeros(ours.shape)
    for row, number in [(row, number) for row in range(2) for number in range(4)]:
        places = np.flatnonzero(batch.document_ids[row] == number)
        if len(places):
            losses = plain_losses(
                weights, model, tokens[row, places][None], labels[row, places][None]
            )
            losses.sum().backward()
            alone[row, torch.from_numpy(places)] = losses[0].detach()
    difference = max(
        float((gradients[name] - weight.grad).abs().max() / weight.grad.abs().max())
        for name, weight in weights.items()
    )
    return (ours.detach() * torch.from_numpy(batch.loss_mask)).numpy(), alone.numpy(), difference


def test_masked_documents_equal_each_document_alone_in_plain_pytorch() -> None:
    ours, alone, gradient_difference = run_distributed(both_on_rank, 1)[0]
    assert alone.std() > 0.5
    assert ours == pytest.approx(alone, abs=TOLERANCE, rel=TOLERANCE)
    assert gradient_difference < TOLERANCE
