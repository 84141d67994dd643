"""A checkpoint as a folder that `transformers` loads, written tensor by tensor."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from megatron_codemix.checkpoints import refusing_damage, require_unchanged
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.corpus.instructions.template import ChatRenderer, ChatTemplate
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.files import (
    atomic_folder,
    read_json,
    require_free_bytes,
    write_json,
    write_text,
)
from megatron_codemix.hugging_face.safetensors_files import ShardPlan, ShardWriter
from megatron_codemix.hugging_face.shape import Dtype, Family, config_json, family_of
from megatron_codemix.hugging_face.stored import StoredWeights
from megatron_codemix.hugging_face.tensors import parts_of
from megatron_codemix.run_checkpoints import run_of_checkpoint
from megatron_codemix.runs import RunDirectory

_CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    architecture: str
    num_parameters: int
    dtype: Dtype
    taken_from: str
    """Which of the checkpoint's numbers these are."""
    files: list[str]
    """Those with weights."""


def export(
    folder: Path,
    out: Path,
    *,
    dtype: Dtype | None,
    max_shard_bytes: int,
    overwrite: bool,
    advance: Callable[[int], None],
) -> Exported:
    """Writes the weights of the checkpoint in `folder`, their shape and the tokenizer to `out`,
    which is whole or absent. Holds one parameter in memory.

    dtype: absent: the most exact numbers that are there, in their format: the weights, or where
        those are bf16 the optimizer's fp32 master copies of them.
    advance: told of the bytes of the checkpoint's files, as they are verified.

    Raises ConfigError for a model that no architecture computes, RunError where the checkpoint is
    incomplete, damaged or another model's or `out` is in use, UnavailableError if the disk is full.
    """
    run = run_of_checkpoint(folder)
    config = load_run_config(run.config)
    family = family_of(config.model)
    _require_place(out, overwrite=overwrite)
    tokenizer = _tokenizer(config, run)
    template = _template(run)
    with refusing_damage(folder):
        require_unchanged(folder, advance)
    stored = StoredWeights(folder)
    prefix, dtype, taken_from = _source(stored, dtype)
    parts = list(parts_of(config.model, family))
    shapes = {name: shape for part in parts for name, shape in part.theirs.items()}
    plan = ShardPlan.of(shapes, dtype, max_shard_bytes)
    require_free_bytes(out, plan.num_bytes, f"an export of {plan.num_parameters:,} parameters")
    with atomic_folder(out, replace=overwrite) as temporary:
        with ShardWriter(temporary, plan) as writer:
            for part in parts:
                weight = stored.read(part.ours, prefix)
                if tuple(weight.shape) != part.shape:
                    raise RunError(
                        f"{folder}: {part.ours} is {tuple(weight.shape)}, and {part.shape} by "
                        f"{run.config}; this is not its checkpoint"
                    )
                for name, values in zip(part.theirs, part.split(weight), strict=True):
                    writer.write(name, values)
        _write_descriptions(temporary, config, family, tokenizer, dtype, template)
    return Exported(
        architecture=family.architecture,
        num_parameters=plan.num_parameters,
        dtype=dtype,
        taken_from=taken_from,
        files=list(plan.files),
    )


def _source(stored: StoredWeights, asked: Dtype | None) -> tuple[str, Dtype, str]:
    """(prefix of the names to read, format to write, what that is in words)."""
    masters = stored.master_prefix()
    if stored.dtype == torch.float32:
        return "", asked or "float32", "the weights, which are fp32"
    if asked != "bfloat16" and masters is not None:
        return masters, "float32", "the optimizer's fp32 master weights"
    return "", asked or "bfloat16", "the weights, which are bf16"


def _require_place(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise RunError(f"{out}: exists; name a new directory, or replace it with --overwrite")
    if not out.is_dir() or not (out / _CONFIG).is_file() or any(p.is_dir() for p in out.iterdir()):
        raise RunError(f"{out}: is not an exported model, so it is not replaced; name another")


def _tokenizer(config: RunConfig, run: RunDirectory) -> Tokenizer:
    """The run's. Raises ConfigError where the file is not what it was when the run was trained."""
    tokenizer = Tokenizer.load(config.tokenizer.path)
    status = run.read_status()
    recorded = run.attempt(status.attempts if status else 0) / "provenance.json"
    is_same = (
        tokenizer.hash == read_json(recorded)["data"]["tokenizer_hash"]
        if recorded.exists()
        else tokenizer.vocabulary_size == config.model.vocabulary_size
    )
    if not is_same:
        raise ConfigError(
            [
                f"{config.tokenizer.path}: is not the tokenizer that {run.path} was trained with; "
                "restore it"
            ]
        )
    return tokenizer


def _template(run: RunDirectory) -> ChatTemplate | None:
    """Of the conversations that it was tuned on, or that came with it when it was imported."""
    path = run.chat_template
    return ChatTemplate(path.name, path.read_text(encoding="utf-8")) if path.exists() else None


def _write_descriptions(
    folder: Path,
    config: RunConfig,
    family: Family,
    tokenizer: Tokenizer,
    dtype: Dtype,
    template: ChatTemplate | None,
) -> None:
    """Shape, defaults of generation, tokenizer with its chat template. The end-of-document token
    also stands before the first document, as in training; where a turn ends with a token of its
    own, generation stops at that as well."""
    end, length = tokenizer.end_of_document_id, config.data.sequence_length
    record = config_json(
        config.model, family, sequence_length=length, end_of_document_id=end, dtype=dtype
    )
    write_json(folder / _CONFIG, record)
    stops = {"bos_token_id": end, "eos_token_id": _ends_of_text(tokenizer, template)}
    write_json(folder / "generation_config.json", stops)
    write_text(folder / "tokenizer.json", tokenizer.content)
    token = tokenizer.end_of_document
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token,
            "eos_token": token,
            "model_max_length": length,
            "clean_up_tokenization_spaces": False,
            **({"chat_template": template.source} if template else {}),
        },
    )


def _ends_of_text(tokenizer: Tokenizer, template: ChatTemplate | None) -> int | list[int]:
    """What a generated text ends with."""
    end = tokenizer.end_of_document_id
    if template is None or not template.marks_answers:
        return end
    renderer = ChatRenderer(template, tokenizer.special_tokens, tokenizer.end_of_document)
    token = renderer.frame()[1].strip()
    number = tokenizer.token_id(token) if token in tokenizer.special_tokens else None
    return end if number in (None, end) else [end, number]
