"""Settings with which megatron-core trains on wrong numbers and says nothing. Each guard of ours is
taken away inside the ranks, and the result must then be wrong: so the guard is needed, and the
tests of layouts would see it fall."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig, MoeConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, train_on_rank

STEPS = 6
RIGHT = 1e-5
"""Absolute, on losses in nats: the tolerance of test_layouts.py."""
WRONG = 1e-3
"""A guard's absence must be seen by far; measured: 0.03 to 0.45."""
ATTEMPTS = 5
"""Freed memory reads wrong only where it has been used again by then: seen to be missed once in
five."""

INTERLEAVED = LayoutConfig(pipeline=2, virtual_pipeline=2, microbatch_sequences=2)
MOE = MODEL.model_copy(update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=1.0)})

GUARDS = {
    "gloo reads a stage's output after it was freed": (
        Job(layout=INTERLEAVED),
        {"deallocate_pipeline_outputs": True},
    ),
    "two messages between two stages in one batch change places": (
        Job(layout=INTERLEAVED),
        {"overlap_p2p_comm": False, "batch_p2p_comm": True},
    ),
    "each context-parallel rank divides by its own number of tokens": (
        Job(layout=LayoutConfig(context=2, microbatch_sequences=2), first_label=16),
        {"calculate_per_token_loss": False},
    ),
    "the balance loss is weighed by the tokens of a rank's part of one sample": (
        Job(
            layout=LayoutConfig(tensor=2, sequence_parallel=True, expert=2, microbatch_sequences=2),
            model=MOE,
        ),
        {"moe_aux_loss_coeff": 1.0},
    ),
}


def largest_difference(job: Job, expected: list[float]) -> float:
    curves = run_distributed(train_on_rank, 2, replace(job, num_steps=STEPS))
    return max(abs(one - other) for one, other in zip(curves[0].loss, expected, strict=True))


@pytest.mark.parametrize("name", GUARDS)
def test_without_its_guard_a_layout_trains_on_wrong_numbers(name: str) -> None:
    job, changes = GUARDS[name]
    alone = replace(job, layout=LayoutConfig(microbatch_sequences=2), num_steps=STEPS)
    expected = run_distributed(train_on_rank, 1, alone)[0].loss
    assert largest_difference(job, expected) < RIGHT
    unguarded = replace(job, config_changes=changes)
    assert any(largest_difference(unguarded, expected) > WRONG for _ in range(ATTEMPTS))


def sum_columns(context: RankContext, guarded: bool) -> tuple[bool, str]:
    """(whether the sum over two ranks of the same columns is right, what was raised)."""
    import torch
    import torch.distributed

    import megatron_codemix.mcore  # noqa: F401  # installs the guard

    all_reduce = torch.distributed.all_reduce
    if not guarded:
        all_reduce = all_reduce.__wrapped__
    columns = torch.arange(16.0).view(4, 4).t()[1:]
    expected = 2 * columns.contiguous()
    try:
        all_reduce(columns)
    except AssertionError as error:
        return torch.equal(2 * columns, expected), str(error)
    return torch.equal(columns, expected), ""


def test_gloo_is_given_no_sum_of_a_tensor_with_gaps() -> None:
    assert run_distributed(sum_columns, 2, False) == [(False, "")] * 2
    for was_left_alone, message in run_distributed(sum_columns, 2, True):
        assert was_left_alone
        assert "pass tensor.contiguous()" in message


def train_and_save_as_megatron_does(context: RankContext, job: Job) -> None:
    from megatron_codemix.mcore import checkpoint

    checkpoint.owned_state = lambda optimizer, state, metadata: optimizer.sharded_state_dict(
        state, metadata=metadata
    )
    train_on_rank(context, job)


@pytest.mark.parametrize("mended", [True, False])
def test_optimizer_state_of_several_buckets_is_saved_in_its_place(
    mended: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    overlapped = LayoutConfig(
        microbatch_sequences=2, overlap_grad_reduce=True, bucket_parameters=20_000
    )
    save = Job(layout=overlapped, num_steps=2, save=folder)
    run_distributed(train_on_rank if mended else train_and_save_as_megatron_does, 2, save)
    alone = Job(layout=LayoutConfig(microbatch_sequences=2), num_steps=4)
    expected = run_distributed(train_on_rank, 1, alone)[0].loss[2:]
    loaded = replace(alone, first_step=2, num_steps=2, load=folder)
    found = run_distributed(train_on_rank, 1, loaded)[0].loss
    difference = max(abs(one - other) for one, other in zip(found, expected, strict=True))
    assert (difference < RIGHT) if mended else (difference > WRONG)
