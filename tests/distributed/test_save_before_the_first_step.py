"""A checkpoint of an optimizer that has made no step and so has no moments, as a run leaves that
passes over its first batches: it is saved, loads, and training goes on as if it had not been."""

from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors, read_tensors
from megatron_codemix.config.schema import LayoutConfig, MuonConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import OPTIMIZER, Job, train_on_rank

NUM_STEPS = 3
PLAIN = {"distributed_optimizer": False, "microbatch_sequences": 2}
MUON = MuonConfig(weight_decay=0.1)
CASES = {
    "one": (1, LayoutConfig(microbatch_sequences=2), OPTIMIZER, "fp32"),
    "one-plain": (1, LayoutConfig(**PLAIN), OPTIMIZER, "bf16"),
    "dp2": (2, LayoutConfig(microbatch_sequences=2), OPTIMIZER, "bf16"),
    "dp2-plain": (2, LayoutConfig(**PLAIN), OPTIMIZER, "fp32"),
    "dp2-muon": (2, LayoutConfig(**PLAIN), MUON, "bf16"),
    "dp2-buckets": (
        2,
        LayoutConfig(overlap_grad_reduce=True, overlap_param_gather=True, bucket_parameters=20_000),
        OPTIMIZER,
        "fp32",
    ),
    "tp2-pp2": (4, LayoutConfig(tensor=2, pipeline=2, microbatch_sequences=2), OPTIMIZER, "fp32"),
}


@pytest.mark.parametrize("name", CASES)
def test_training_goes_on_as_if_nothing_had_been_saved(name: str, tmp_path: Path) -> None:
    num_ranks, layout, optimizer, precision = CASES[name]

    def job(num_steps: int, load: Path | None, save: Path) -> Job:
        return Job(
            layout=layout,
            optimizer=optimizer,
            precision=precision,
            num_steps=num_steps,
            load=load,
            save=save,
        )

    start, loaded, whole = tmp_path / "start", tmp_path / "loaded", tmp_path / "whole"
    run_distributed(train_on_rank, num_ranks, job(0, None, start))
    moments = [value for key, value in read_tensors(start).items() if "exp_avg" in key]
    assert moments
    assert not any(moment.any() for moment in moments)
    curves = [
        run_distributed(train_on_rank, num_ranks, job(NUM_STEPS, load, save))[0]
        for load, save in ((start, loaded), (None, whole))
    ]
    assert curves[0] == curves[1]
    assert differing_tensors(loaded, whole) == []
    assert differing_tensors(start, whole) != []
