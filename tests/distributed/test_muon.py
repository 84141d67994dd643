"""Muon under data and pipeline parallelism, in bf16, and through a checkpoint."""

from functools import cache
from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig, MuonConfig, PrecisionConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Curve, Job, build_on_rank, train_on_rank

FP32_TOLERANCE = 1e-5
BF16_TOLERANCE = 5e-3
"""On the loss: bf16 keeps 8 bits."""

MUON = MuonConfig(weight_decay=0.1)
ONE = LayoutConfig(microbatch_sequences=2, distributed_optimizer=False)


@cache
def one_process(precision: str) -> Curve:
    job = Job(layout=ONE, optimizer=MUON, precision=precision, num_steps=6)
    return run_distributed(train_on_rank, 1, job)[0]


def test_it_learns() -> None:
    assert one_process("fp32").loss[-1] < one_process("fp32").loss[0] - 0.3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("change", [{}, {"pipeline": 2}], ids=["dp2", "pp2"])
def test_layouts_equal_one_process(change: dict[str, int], precision: str) -> None:
    layout = ONE.model_copy(update=change)
    job = Job(layout=layout, optimizer=MUON, precision=precision, num_steps=6)
    tolerance = FP32_TOLERANCE if precision == "fp32" else BF16_TOLERANCE
    for curve in run_distributed(train_on_rank, 2, job):
        assert curve.loss == pytest.approx(one_process(precision).loss, abs=tolerance, rel=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_holds_the_whole_state(precision: str, tmp_path: Path) -> None:
    """Two steps, a checkpoint, four more: bit for bit six steps."""
    first = Job(layout=ONE, optimizer=MUON, precision=precision, num_steps=2, save=tmp_path / "two")
    rest = Job(
        layout=ONE,
        optimizer=MUON,
        precision=precision,
        first_step=2,
        num_steps=4,
        load=tmp_path / "two",
    )
    curves = [run_distributed(train_on_rank, 1, job)[0] for job in (first, rest)]
    assert curves[0].loss + curves[1].loss == one_process(precision).loss


def moved_by_muon(context: RankContext, precision: str) -> tuple[int, dict[str, list[int]]]:
    """(number of matrices, names -> rows of each part)."""
    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer

    chunks, parallel, _ = build_on_rank(Job(layout=ONE, precision=precision))
    model = wrap_data_parallel(chunks, ONE, parallel)
    built = build_optimizer(MUON, ONE, PrecisionConfig(kind=precision), model, parallel)
    matrices = built.chained_optimizers[0].optimizer.matrices
    found = {
        name: [part.shape[:-1].numel() for part in matrices[main](main)]
        for name, parameter in gpt_of(chunks[0]).named_parameters()
        if (main := getattr(parameter, "main_param", parameter)) in matrices
    }
    return len(matrices), found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_layers_matrices_and_their_parts(precision: str) -> None:
    count, found = run_distributed(moved_by_muon, 1, precision)[0]
    assert count == len(found) == 4 * MODEL.num_layers
    for name, rows in found.items():
        if name.endswith("linear_qkv.weight"):  # 4 heads of 16, 2 groups
            assert rows == [64, 32, 32]
        elif name.endswith("linear_fc1.weight"):
            assert rows == [128, 128]
        else:
            assert rows == [64]
