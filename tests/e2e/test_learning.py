"""Training learns what is there to learn: a tiny model memorises 64 documents, and a control whose
labels are shuffled does not."""

from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.data.batches import Batch
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import VOCABULARY, write_shard
from tests.helpers.training import OPTIMIZER

SEQUENCE = 32
NUM_STEPS = 200
MODEL = ModelConfig(
    num_layers=2,
    hidden_size=128,
    ffn_hidden_size=256,
    num_attention_heads=4,
    vocabulary_size=VOCABULARY,
    tie_embeddings=False,
)


def memorise(context: RankContext, prefix: Path, shuffle_labels: bool) -> float:
    """Loss of the last epoch over the shard."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.mcore.model import build_model, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
    from megatron_codemix.mcore.step import train_step

    backend, layout = select_backend("cpu"), LayoutConfig()
    precision = PrecisionConfig(kind="fp32")
    parallel = initialize_model_parallel(layout, 1)
    chunks = build_model(
        MODEL,
        layout,
        precision,
        sequence_length=SEQUENCE,
        seed=1,
        parallel=parallel,
        backend=backend,
    )
    model = wrap_data_parallel(chunks, layout, parallel)
    optimizer = build_optimizer(OPTIMIZER, layout, precision, model, parallel)
    dataset = MixtureDataset(
        [SourceSpec("text", prefix)],
        constant_plan({"text": 2**20}),
        sequence_length=SEQUENCE,
        seed=1,
    )
    epoch = dataset.samples_per_epoch["text"]
    rng = np.random.default_rng(0)
    loss = np.inf
    for step in range(NUM_STEPS):
        set_step_sizes(optimizer, lr=3e-3 * min(1.0, (step + 1) / 20), weight_decay=0.0)
        batch = dataset.batch(range(epoch))  # the same samples again: their order is learned too
        if shuffle_labels:
            batch = with_shuffled_labels(batch, rng)
        result = train_step(
            model, optimizer, [batch], num_sources=1, parallel=parallel, backend=backend
        )
        loss = result.loss_nats
    return loss


def with_shuffled_labels(batch: Batch, rng: np.random.Generator) -> Batch:
    """The same labels, each at a place that changes with every step: nothing to memorise."""
    labels = rng.permutation(batch.labels.reshape(-1)).reshape(batch.labels.shape)
    return Batch(**{**vars(batch), "labels": labels})


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    documents = [rng.integers(0, 256, 16) for _ in range(64)]
    write_shard(tmp_path / "memory", documents, tokenizer="t")
    return tmp_path / "memory"


def test_a_tiny_model_memorises_64_documents(shard: Path) -> None:
    assert run_distributed(memorise, 1, shard, False, timeout_seconds=110)[0] < 0.1


def test_shuffled_labels_cannot_be_memorised(shard: Path) -> None:
    """Not below the entropy of the labels' own frequencies, less what noise gives in one batch."""
    assert run_distributed(memorise, 1, shard, True, timeout_seconds=110)[0] > 4.0
