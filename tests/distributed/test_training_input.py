"""What really went into the model, read back on every rank and compared with the plan."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.data.order.stateless import source_key
from megatron_codemix.files import read_jsonl
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.ops.reference import window_parts
from megatron_codemix.train.phase import prepare_phase
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import SEQUENCE, write_run

NUM_SAMPLES = 20 * 8
WEIGHTS = {"code": 0.6, "text": 0.4}

Sample = tuple[int, int, bytes, bytes]
"""Data-parallel rank, source number, tokens, labels."""


def train_and_record(
    context: RankContext, config: Path, overrides: list[str], run: Path
) -> list[Sample]:
    """Trains the whole run as `codemix train` does; every sample that reached this rank's model."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.train import rank, trainer

    seen: list[Sample] = []
    phase = prepare_phase(config, overrides, run, context.world_size)
    parallel = initialize_model_parallel(phase.config.layout, phase.config.train.seed)
    step = trainer.launch_step

    def recording_step(model, optimizer, microbatches, **others):  # type: ignore[no-untyped-def]
        for batch in microbatches:
            for row, source in enumerate(batch.source_id.tolist()):
                tokens, labels = batch.tokens[row].tobytes(), batch.labels[row].tobytes()
                seen.append((parallel.data_rank, source, tokens, labels))
        return step(model, optimizer, microbatches, **others)

    trainer.launch_step = recording_step
    assert rank._train_to_end(phase, parallel, select_backend("cpu"))
    return seen


@pytest.mark.parametrize(
    ("num_ranks", "overrides"),
    [
        (2, []),
        (4, ["layout.tensor=2"]),
        (4, ["layout.tensor=2", "layout.pipeline=2"]),
        (4, ["layout.context=2"]),
        (2, ["layout.pipeline=2", "layout.virtual_pipeline=2", "model.num_layers=4"]),
    ],
    ids=["dp2", "tp2-dp2", "tp2-pp2", "cp2-dp2", "pp2-vp2"],
)
def test_every_planned_sample_is_trained_on_once(
    num_ranks: int, overrides: list[str], tmp_path: Path
) -> None:
    config = write_run(tmp_path / "data")
    run = tmp_path / "run"
    seen = run_distributed(train_and_record, num_ranks, config, overrides, run, timeout_seconds=100)
    by_data_rank = {}
    for samples in seen:
        assert by_data_rank.setdefault(samples[0][0], samples) == samples, (
            "ranks of one data-parallel rank were given different samples"
        )
    trained = [sample[1:] for samples in by_data_rank.values() for sample in samples]
    assert Counter(trained) == Counter(planned_samples(config))
    assert len(trained) == NUM_SAMPLES
    counts = Counter(source for source, _, _ in trained)
    for number, share in enumerate(WEIGHTS.values()):
        assert abs(counts[number] - share * NUM_SAMPLES) < 1
    assert read_jsonl(run / "ledger.jsonl")[-1]["max_error_samples"] < 1


def planned_samples(config: Path) -> list[tuple[int, bytes, bytes]]:
    """Each source's first samples, cut by hand from the file: the shard as a circle, read where the
    plain-Python definition of the order says."""
    planned = []
    for number, (source, share) in enumerate(WEIGHTS.items()):
        tokens = np.fromfile(config.parent / f"{source}.bin", np.uint16).astype(np.int64)
        parts = window_parts(
            np.arange(round(share * NUM_SAMPLES)), len(tokens), SEQUENCE, source_key(1, source)
        )
        starts = {row: first for row, first, _ in reversed(parts)}  # train.seed is 1
        for first in starts.values():
            window = np.take(tokens, np.arange(first, first + SEQUENCE + 1), mode="wrap")
            planned.append((number, window[:-1].tobytes(), window[1:].tobytes()))
    return planned
