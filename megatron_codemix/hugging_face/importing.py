"""A model in Hugging Face's format as a run, as if it had been trained here."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.loader import dump_yaml, with_absolute_paths
from megatron_codemix.config.plan import tokens_per_step
from megatron_codemix.config.schema import LayoutConfig, PrecisionConfig, RunConfig
from megatron_codemix.files import atomic_folder, hash_file, hash_json, rewrite_jsonl, write_text
from megatron_codemix.hugging_face.source import Import
from megatron_codemix.hugging_face.tensors import parts_of
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.mcore.background_save import start_save
from megatron_codemix.mcore.checkpoint import sharded_weights
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import ModelParallel, initialize_model_parallel
from megatron_codemix.mcore.initial_weights import global_parameters
from megatron_codemix.mcore.model import build_model, gpt_of
from megatron_codemix.mcore.rank import start_rank
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory

_STEP = 1


def import_rank(source: Import, out: RunDirectory, context: RankContext) -> None:
    """Writes the run `out`, in a process of its own. Raises as `import_into` does."""
    config = source.config
    backend = start_rank(config.backend.device, context)
    parallel = initialize_model_parallel(LayoutConfig(), config.train.seed)
    import_into(out, source, parallel, backend)
    torch.distributed.destroy_process_group()


def import_into(
    out: RunDirectory, source: Import, parallel: ModelParallel, backend: Backend
) -> None:
    """Writes the run `out`, which is whole or absent, on one rank. Twice the model must fit into
    memory, in fp32 unless all of its numbers are bf16.

    The run has one step, in which no token was trained. Evaluation and `init_from` (`load:
    weights`) take it like any other run. Raises UnavailableError if the disk is full.
    """
    config = _config_of_run(source, out)
    hashes = _hashes(source)
    identity = hash_json({"import": hashes, "model": config.model.model_dump()})
    line = {
        "step": _STEP,
        "samples": 0,
        "tokens": 0,
        "segment": 0,
        "method": "import",
        "sources": {},
        "max_error_samples": 0.0,
    }
    record: dict[str, Any] = {
        "step": _STEP,
        "tokens": 0,
        "is_scheduled": True,
        "is_kept": True,
        "identity": identity,
        "ledger": line,
        "losses": [],
        "train_seconds": 0.0,
        "layout": LayoutConfig().model_dump(mode="json"),
        "world_size": 1,
        "distributed_optimizer": None,
        "import": {"folder": str(source.folder.absolute()), "sha256": hashes},
    }
    with atomic_folder(out.path) as temporary:
        run = RunDirectory(temporary)
        setup_logging(parallel.rank, run.path / "import.log")
        [model] = build_model(
            config.model,
            LayoutConfig(),
            PrecisionConfig(kind="bf16" if source.is_bf16 else "fp32"),
            sequence_length=config.data.sequence_length,
            seed=config.train.seed,
            parallel=parallel,
            backend=backend,
        )
        _fill(dict(global_parameters(gpt_of(model))), source)
        state, folder = sharded_weights([model]), run.checkpoint(_STEP)
        with contextlib.closing(CheckpointProcess()) as process:
            save = start_save(folder, state, record, parallel, process, is_replicated=False)
            save.finish()
        rewrite_jsonl(run.ledger, [line])
        write_text(run.path / "tokenizer.json", source.tokenizer.content)
        if source.chat_template is not None:  # beside its tokenizer
            write_text(run.chat_template, source.chat_template)
        write_text(run.config, dump_yaml(config))
        run.write_status(Status(identity=identity, state="done", step=_STEP, num_steps=_STEP))


@torch.no_grad()
def _fill(parameters: Mapping[str, torch.Tensor], source: Import) -> None:
    """Every parameter. Rows of a table behind the tokenizer's entries are padding here as there."""
    parts = list(parts_of(source.model, source.family))
    assert {part.ours for part in parts} == parameters.keys()
    for part in parts:
        parameters[part.ours].copy_(part.join([source.weights.read(name) for name in part.theirs]))


def _config_of_run(source: Import, out: RunDirectory) -> RunConfig:
    """With the tokenizer where it will lie, and one step."""
    config = with_absolute_paths(source.config)
    path = out.path.absolute() / "tokenizer.json"
    train = {"train_tokens": tokens_per_step(config), "ramp_up": None}
    return config.model_copy(
        update={
            "tokenizer": config.tokenizer.model_copy(update={"path": path}),
            "train": config.train.model_copy(update=train),
        }
    )


def _hashes(source: Import) -> dict[str, str]:
    """Of what the run was made from, by the name of the file."""
    names = ["config.json", *source.weights.files]
    return {name: hash_file(source.folder / name) for name in names} | {
        "tokenizer.json": source.tokenizer.hash
    }
