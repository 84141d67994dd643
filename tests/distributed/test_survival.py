"""Steps that go wrong and weights that come apart, on real processes."""

from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.config.schema import LayoutConfig, MoeConfig
from megatron_codemix.files import append_jsonl, read_jsonl
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import SEQUENCE, write_run
from tests.helpers.training import MODEL, Job, build_on_rank, train_run

BAD_STEP = 8
SAVE = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"


def train_with_a_bad_step(context: RankContext, config: Path, run: Path, bad: float | None) -> None:
    """As `codemix train`; the loss of BAD_STEP is `bad` whenever it is trained on."""
    from megatron_codemix.train import trainer

    judge = trainer.LossGuard.judge

    def spoiled(self, number, result):  # type: ignore[no-untyped-def]
        if number == BAD_STEP and bad is not None:
            result.source_nats[:] = bad
        judge(self, number, result)

    trainer.LossGuard.judge = spoiled  # type: ignore[method-assign]
    train_run(context, config, [SAVE], run)


def test_a_step_gone_wrong_is_passed_over_and_written_down(tmp_path: Path) -> None:
    config = write_run(tmp_path / "data")
    wrong, known = RunDirectory(tmp_path / "wrong"), RunDirectory(tmp_path / "known")
    run_distributed(train_with_a_bad_step, 2, config, wrong.path, float("nan"))
    assert wrong.skipped_steps() == {BAD_STEP}
    line = read_jsonl(wrong.skipped)[0]
    assert (line["loss_nats"], line["step"]) == ("nan", BAD_STEP)
    # The same run, told beforehand: it never went wrong and never went back.
    known.path.mkdir()
    append_jsonl(known.skipped, {"step": BAD_STEP})
    run_distributed(train_with_a_bad_step, 2, config, known.path, None)
    assert differing_tensors(wrong.checkpoint(20), known.checkpoint(20)) == []
    assert wrong.ledger.read_bytes() == known.ledger.read_bytes()
    last = read_jsonl(wrong.ledger)[-1]
    sources = last["sources"].values()
    assert sum(source["skipped_samples"] for source in sources) == 8
    assert last["samples"] == 20 * 8
    assert last["max_error_samples"] < 1
    steps = [line["step"] for line in read_jsonl(wrong.metrics)]
    assert steps == [step for step in range(1, 21) if step != BAD_STEP]
    audited = codemix("data", "ledger", wrong.path)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    wrong.skipped.write_text("")
    audited = codemix("data", "ledger", wrong.path)
    assert audited.returncode == 2
    assert "skipped_samples" in audited.stdout + audited.stderr


def compare_after_a_flip(
    context: RankContext, job: Job, flipped: int | None, is_expert: bool
) -> list[int]:
    import torch

    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.model import wrap_data_parallel
    from megatron_codemix.mcore.replicas import differing_replicas

    chunks, parallel, _ = build_on_rank(job)
    model = wrap_data_parallel(chunks, job.layout, parallel)
    if context.rank == flipped:
        parameters = (
            one for one in model[0].parameters() if getattr(one, "allreduce", True) != is_expert
        )
        weight = next(parameters).detach().view(-1)
        bits = weight.view(torch.int32 if weight.element_size() == 4 else torch.int16)
        bits[-1] ^= 1
    return differing_replicas(model, parallel, select_backend("cpu"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_flipped_bit_of_a_replica_is_found(precision: str) -> None:
    job = Job(layout=LayoutConfig(microbatch_sequences=2), precision=precision)
    assert run_distributed(compare_after_a_flip, 3, job, None, False) == [[]] * 3
    assert run_distributed(compare_after_a_flip, 3, job, 2, False) == [[2]] * 3


def test_one_flipped_bit_of_an_expert_is_found_by_its_replica() -> None:
    """Ranks 0 and 2 have the same two experts, ranks 1 and 3 the others."""
    job = Job(
        layout=LayoutConfig(expert=2, microbatch_sequences=2),
        model=MODEL.model_copy(
            update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)}
        ),
    )
    assert run_distributed(compare_after_a_flip, 4, job, None, True) == [[]] * 4
    assert run_distributed(compare_after_a_flip, 4, job, 3, True) == [[], [3], [], [3]]
