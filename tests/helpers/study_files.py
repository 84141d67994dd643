"""A small study on disk: the file, the data that its identities need, and run directories."""

import json
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.files import append_jsonl, write_json, write_text
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree, expand, identify

SOURCES = ("code", "markup", "text")
SPLITS: tuple[Split, ...] = ("train", "validation")
NUM_DOCUMENTS = 10
"""Of every shard."""
HELD_OUT_TOKENS = 201
TOKENS_PER_STEP = 4 * 16
"""Of STUDY: 4 sequences of 16 tokens."""

SUMS = {"nats": 30.0, "tokens": 9, "bytes": 10, "bits_per_byte": 4.328}
"""Of a source, as validations and evaluations write them."""

STUDY = """\
name: small
token_scale: 1e-6
world_size: 2
defaults:
  model: {num_layers: 2, hidden_size: 16, ffn_hidden_size: 32, num_attention_heads: 2,
          vocabulary_size: 64, tie_embeddings: true}
  tokenizer: {path: "{data}/tokenizer.json"}
  data:
    sequence_length: 16
    sources:
      text: {train: "{data}/text_train", validation: "{data}/text_validation"}
      code: {train: "{data}/code_train", validation: "{data}/code_validation"}
      markup: {train: "{data}/markup_train", validation: "{data}/markup_validation"}
    mixture: {weights: {text: 1}}
  optimizer: {kind: adamw, weight_decay: 0.1}
  schedule: {kind: cosine, peak_lr: 1e-3, min_lr: 1e-4, warmup_tokens: 64M}
  train: {train_tokens: 640M, global_batch_sequences: 4, seed: 1}
  layout: {tensor: 2, microbatch_sequences: 2}
  precision: {kind: fp32}
phases:
  text: {}
  balanced:
    set: {data.mixture.weights: {text: 0.5, code: 0.5}}
  balanced-then-text:
    init_from: {phase: balanced, load: weights}
    set: {data.mixture.weights: {text: 0.75, code: 0.25}}
  cooldown:
    init_from: {phase: balanced-then-text, load: weights+optimizer}
    set:
      train.train_tokens: 200M
      schedule: {kind: linear, start_lr: 1e-4, final_lr: 1e-6}
variants:
  text-only: text
  mixed: balanced-then-text
  cooled: cooldown
compare: {baseline: text-only}
evaluation:
  heldout: {world_size: 1, max_bytes_per_source: 1KiB}
"""

BRANCHED = STUDY.replace(
    "{phase: balanced, load: weights}", "{phase: balanced, load: weights, at_tokens: 320M}"
).replace(
    "data.mixture.weights: {text: 0.5, code: 0.5}",
    "data.mixture.weights: {text: 0.5, code: 0.5}, checkpoint.keep_every_tokens: 320M",
)
"""`balanced-then-text` starts in the middle of `balanced`, which keeps that checkpoint."""

CELLS = (
    STUDY[: STUDY.index("phases:")]
    + """\
matrix: {code: [little, much]}
axes:
  code:
    little: {data.mixture.weights: {text: 0.75, code: 0.25}}
    much: {data.mixture.weights: {text: 0.25, code: 0.75}}
phases:
  base:
    set: {data.mixture.weights: {text: 1}}
  mixed:
    init_from: {phase: base, load: weights}
  even:
    init_from: {phase: base, load: weights}
    set: {data.mixture.weights: {text: 0.5, code: 0.5}}
variants: {base: base, mixed: mixed, even: even}
compare: {baseline: base}
evaluation:
  heldout: {world_size: 1, max_bytes_per_source: 1KiB}
"""
)
"""An axis that changes `mixed` alone."""

OTHER_HELD_OUT = CELLS.replace(
    "much: {", 'much: {data.sources.markup.validation: "{data}/other_held", '
)
"""Its second cell is measured on other documents."""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """The study file, beside the data of `write_data`."""
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def write_tokenizer(path: Path, num_entries: int = 64) -> None:
    """A tokenizer.json of which the last entry, the end of a document, is an added token."""
    vocabulary = {f"t{number}": number for number in range(num_entries - 1)}
    added = [{"id": num_entries - 1, "content": "<|endoftext|>"}]
    content = {"added_tokens": added, "model": {"type": "BPE", "vocab": vocabulary}}
    path.write_text(json.dumps(content), encoding="utf-8")


def write_data(folder: Path, *, num_tokens: int = 4001) -> Path:
    """A tokenizer and shards of every source, and held-out ones beside those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    made_by = tokenizer_hash(folder / "tokenizer.json")
    shards = [(f"{source}_{split}", source, split) for source in SOURCES for split in SPLITS]
    for name, source, split in [*shards, ("other_held", "markup", "validation")]:
        size = num_tokens if split == "train" else HELD_OUT_TOKENS
        for suffix, content in _shard_files(name, source, split, made_by, size).items():
            (folder / f"{name}{suffix}").write_bytes(content)
    return folder


@cache
def _shard_files(
    name: str, source: str, split: Split, made_by: str, num_tokens: int
) -> dict[str, bytes]:
    """Suffix -> content of a shard of tokens that `name` decides, in ten documents."""
    rng = np.random.default_rng(list(name.encode()))
    with TemporaryDirectory() as folder:
        prefix = Path(folder) / name
        with TokenShardWriter(prefix, np.uint16) as writer:
            for tokens in np.array_split(rng.integers(1, 63, num_tokens), NUM_DOCUMENTS):
                tokens[-1:] = 63
                writer.add_document(tokens)
            writer.finish(
                source=source,
                split=split,
                tokenizer_hash=made_by,
                vocabulary_size=64,
                end_of_document_id=63,
                num_bytes=4 * num_tokens,
                licences={},
                origin={},
            )
        for number in range(NUM_DOCUMENTS):
            line = {"id": f"{name} {number}", "bytes": 4 * num_tokens // NUM_DOCUMENTS}
            append_jsonl(Path(f"{prefix}.documents.jsonl"), line)
        return {path.name.removeprefix(name): path.read_bytes() for path in prefix.parent.iterdir()}


def small_tree(folder: Path, text: str = STUDY) -> StudyTree:
    """The study in `text` with identities, its data written below `folder`."""
    data = write_data(folder / "data")
    return identify(expand(load_study(write_study(folder, text), data_root=data)))


def write_trained(
    tree: StudyTree, out: Path, node: PhaseNode, *, epochs: float = 0.5, attempts: int = 1
) -> RunDirectory:
    """A run directory as training leaves it; the loss of every source falls by 0.01 a step, and the
    last checkpoint has nothing but its marker."""
    run, plan = tree.run_directory(out, node), tree.plan(node)
    write_text(run.config, dump_yaml(tree.resolved_config(out, node)))
    write_json(run.attempt(attempts) / "plan.json", plan.as_dict())
    provenance = {"versions": {"python": "3.11.0", "torch": "2.13.0"}, "commit": "0123abc"}
    write_json(run.attempt(attempts) / "provenance.json", provenance)
    units = quantise_weights(node.config.data.mixture.weights)
    run.metrics.unlink(missing_ok=True)
    for step in range(1, plan.num_steps + 1):
        line = {"step": step, "tokens": plan.batches.tokens(step)}
        line |= {f"loss/source/{name}_nats": 4 - 0.01 * step for name in units}
        append_jsonl(run.metrics, line | {"throughput/tokens_per_second": 1000.0})
    samples = plan.batches.samples(plan.num_steps)
    run.ledger.unlink(missing_ok=True)
    append_jsonl(
        run.ledger,
        {
            "step": plan.num_steps,
            "samples": samples,
            "tokens": plan.train_tokens,
            "sources": {
                name: {
                    "planned_samples": samples * n / WEIGHT_UNITS,
                    "planned_tokens": samples * n * 16 / WEIGHT_UNITS,
                    "consumed_samples": samples * n // WEIGHT_UNITS,
                    "consumed_tokens": samples * n // WEIGHT_UNITS * 16,
                    "skipped_samples": 0,
                    "cursor": samples * n // WEIGHT_UNITS,
                    "epochs": epochs,
                    "chain_tokens": samples * n // WEIGHT_UNITS * 16,
                    "loss_nats": 3.9,
                }
                for name, n in units.items()
            },
            "max_error_samples": 0.25,
        },
    )
    write_json(run.checkpoint(plan.num_steps) / COMPLETE_MARKER, {"files": {}})
    assert node.identity is not None
    run.write_status(
        Status(
            identity=node.identity,
            state="done",
            step=plan.num_steps,
            num_steps=plan.num_steps,
            attempts=attempts,
            train_seconds=2.0,
        )
    )
    return run


def write_evaluated(
    tree: StudyTree, run: RunDirectory, nats: dict[str, float], num_bytes: int = 1000
) -> None:
    """The held-out evaluation of a trained run: `nats` over `num_bytes` bytes of each source."""
    status = run.read_status()
    assert status is not None
    sources = {
        name: {
            "documents": 3,
            "bytes": num_bytes,
            "tokens": 300,
            "nats": value,
            "bits_per_byte": value / math.log(2) / num_bytes,
        }
        for name, value in nats.items()
    }
    asked = tree.spec.evaluation.heldout
    summary = {
        "step": status.step,
        "layout": {"tensor": 1, "pipeline": 1, "data": asked.world_size},
        "max_bytes_per_source": asked.max_bytes_per_source,
        "seconds": 1.0,
        "sources": sources,
    }
    write_json(run.evaluation / "heldout.summary.json", summary)


def write_all(tree: StudyTree, out: Path, nats: dict[str, dict[str, float]]) -> None:
    """Every phase of `tree`, done; `nats`: phase name -> source -> nats over 1000 bytes."""
    for node in tree.nodes.values():
        write_evaluated(tree, write_trained(tree, out, node), nats[node.name])


def with_changed_shard(folder: Path, source: str) -> None:
    """Puts other tokens in place of the training shard of `source`, as many of them."""
    made_by = tokenizer_hash(folder / "tokenizer.json")
    manifest = Manifest.load(folder / f"{source}_train.manifest.json")
    files = _shard_files(f"other {source}", source, "train", made_by, manifest.num_tokens)
    for suffix, content in files.items():
        (folder / f"{source}_train{suffix}").write_bytes(content)
