"""Sizes of a job, and jobs that cannot be."""

from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.job import Job

MODEL = ModelConfig(
    num_layers=8,
    hidden_size=512,
    ffn_hidden_size=2048,
    num_attention_heads=8,
    vocabulary_size=8192,
    tie_embeddings=False,
)
COMPLETE = """\
model:
  {num_layers: 4, hidden_size: 96, ffn_hidden_size: 256, num_attention_heads: 4,
   vocabulary_size: 8000, tie_embeddings: yes}
data:
  sequence_length: 256
  sources: {text: {train: shards/text}}
  mixture: {weights: {text: 1}}
tokenizer: {path: tokenizer.json}
optimizer: {weight_decay: 0.1}
schedule: {kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 32768}
train: {train_tokens: 0.5M, global_batch_sequences: 16, seed: 1}
precision: {kind: fp32}
layout: {tensor: 2, microbatch_sequences: 2}
"""


def job(world_size: int = 16, batch: int = 32, **layout: object) -> Job:
    return Job(
        model=MODEL,
        sequence_length=1024,
        global_batch_sequences=batch,
        layout=LayoutConfig(**layout),
        precision=PrecisionConfig(kind="bf16"),
        world_size=world_size,
    )


def test_what_is_left_of_the_processes_is_data_parallel() -> None:
    spread = job(tensor=2, pipeline=2, context=2, microbatch_sequences=4)
    assert spread.data_parallel == 2
    assert spread.num_microbatches == 4
    assert spread.microbatch_tokens == 4096


def test_a_job_of_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(COMPLETE)
    found = Job.of_config(load_run_config(path, []), 8)
    assert (found.data_parallel, found.num_microbatches) == (4, 2)
    with pytest.raises(ConfigError, match="not a multiple"):
        Job.of_config(load_run_config(path, []), 9)


@pytest.mark.parametrize(
    ("layout", "message"),
    [({"tensor": 3}, "layout: one copy"), ({"microbatch_sequences": 3}, "global_batch_sequences")],
)
def test_sizes_that_do_not_divide_are_refused(layout: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(**layout)
