"""Bits per byte of held-out documents: against plain PyTorch, and the same on any number of
ranks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from megatron_codemix.bench.chaos.compare import read_tensors
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.plain_model import plain_losses
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE, VOCABULARY, write_run

TOLERANCE = 1e-5
"""Relative, fp32: padding and batches change the order of sums."""

NORM_NAMES = {
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "mlp.linear_fc1.layer_norm_weight": "pre_mlp_layernorm.weight",
}
"""Checkpoints have Transformer Engine's names, in which a norm belongs to the layer behind it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("evaluate")
    config = write_run(folder)
    done = codemix("train", config, "--run-dir", folder / "run")
    assert done.returncode == 0, done.stderr
    return RunDirectory(folder / "run")


def evaluate(run: RunDirectory, *arguments: str) -> dict[str, dict[str, float]]:
    done = codemix("evaluate", run.path, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["sources"]


def weights_of(run: RunDirectory) -> dict[str, torch.Tensor]:
    """By the whole model's names; the checkpoint stacks what all layers have. Without the rows that
    pad the output layer: scores are over the tokenizer's vocabulary."""
    config = load_run_config(run.config)
    weights = {}
    for name, value in read_tensors(run.checkpoint(run.complete_steps()[-1])).items():
        if name.startswith("optimizer"):
            continue
        if not name.startswith("decoder.layers."):
            is_table = name == "embedding.word_embeddings.weight"  # tied: the output layer too
            weights[name] = value[:VOCABULARY] if is_table else value
            continue
        for layer in range(config.model.num_layers):
            part = NORM_NAMES.get(part := name.removeprefix("decoder.layers."), part)
            weights[f"decoder.layers.{layer}.{part}"] = value[layer]
    return weights


def test_each_document_against_plain_pytorch(run: RunDirectory) -> None:
    scores = evaluate(run)
    config, weights = load_run_config(run.config), weights_of(run)
    lines = read_jsonl(run.evaluation / "heldout.jsonl")
    assert len(lines) == 2 * 12
    for line in lines:
        shard = TokenShard.open(config.data.sources[line["source"]].validation)
        body = shard.document(line["document"])[:-1].astype(np.int64)
        stream = torch.from_numpy(np.append(END_OF_DOCUMENT, body))
        nats = 0.0
        for start in range(0, len(body), SEQUENCE):
            inputs = stream[start : min(start + SEQUENCE, len(body))][None]
            labels = stream[start + 1 : start + 1 + SEQUENCE][None]
            nats += float(plain_losses(weights, config.model, inputs, labels).sum())
        assert line["nats"] == pytest.approx(nats, rel=TOLERANCE)
        assert line["tokens"] == line["bytes"] == len(body)  # a token is a byte here
    for source, values in scores.items():
        rows = [line for line in lines if line["source"] == source]
        expected = sum(r["nats"] for r in rows) / math.log(2) / sum(r["bytes"] for r in rows)
        assert values["bits_per_byte"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "layout",
    [
        ["--nproc", "3"],
        ["--nproc", "2", "--tensor", "2"],
        ["--nproc", "4", "--pipeline", "2"],
    ],
)
def test_the_layout_does_not_matter(run: RunDirectory, tmp_path: Path, layout: list[str]) -> None:
    one = evaluate(run)
    others = evaluate(run, *layout, "--out", str(tmp_path))
    for source, values in one.items():
        assert others[source]["bits_per_byte"] == pytest.approx(
            values["bits_per_byte"], rel=TOLERANCE
        )
        assert others[source]["documents"] == values["documents"] == 12


def test_budget_takes_the_first_documents(run: RunDirectory) -> None:
    whole = evaluate(run)
    assert evaluate(run, "--max-bytes-per-source", "200")["text"]["bytes"] <= 200
    assert evaluate(run)["text"] == whole["text"]
