"""A complete configuration to change one thing of."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig

COMPLETE = """\
model:
  num_layers: 4
  hidden_size: 96
  ffn_hidden_size: 256
  num_attention_heads: 4
  vocabulary_size: 8000
  tie_embeddings: yes
data:
  sequence_length: 256
  sources:
    text: {train: shards/text}
    code: {train: shards/code, validation: shards/code.validation}
    markup: {train: shards/markup}
  mixture:
    weights: {text: 0.8, code: 0.2}
tokenizer: {path: tokenizer.json}
optimizer: {weight_decay: 0.1}
schedule: {kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 32768}
train: {train_tokens: 0.5M, global_batch_sequences: 16, seed: 1}
precision: {kind: fp32}
"""


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """Path of a file that holds a complete configuration."""
    path = tmp_path / "complete.yaml"
    path.write_text(COMPLETE)
    return path


@pytest.fixture
def changed(complete: Path) -> Callable[..., RunConfig]:
    """The complete configuration with `key=value` overrides."""
    return lambda *overrides: load_run_config(complete, overrides)
