"""A folder in Hugging Face's format, and the run that it is to become: every check before anything
is written. Free of megatron-core."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.loader import Tree, build_run_config, load_tree, merge, read_overrides
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import ModelConfig, RunConfig
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import ConfigError, DataError, RunError
from megatron_codemix.files import read_json
from megatron_codemix.hugging_face.safetensors_files import SafetensorsFolder
from megatron_codemix.hugging_face.shape import Family, head_width, model_of, query_groups
from megatron_codemix.hugging_face.tensors import parts_of
from megatron_codemix.runs import CHAT_TEMPLATE, RunDirectory

_TRAINING_ONLY = {"init_std", "z_loss"}
"""Fields of the model that a configuration may set otherwise than config.json."""

_BUFFER = "rotary_emb.inv_freq"
"""Older versions of transformers stored this; it follows from the base."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """A folder that was checked, and the run that it becomes."""

    folder: Path
    weights: SafetensorsFolder
    family: Family
    model: ModelConfig
    """As config.json has it: its vocabulary may count padding rows behind the tokenizer's."""
    config: RunConfig
    tokenizer: Tokenizer
    chat_template: str | None
    """In Jinja, as the folder has it."""

    @property
    def is_bf16(self) -> bool:
        """Whether all numbers are; else they are kept in fp32."""
        return set(self.weights.codes.values()) == {"BF16"}


def prepare_import(
    folder: Path, config_path: Path, overrides: Sequence[str], out: RunDirectory
) -> Import:
    """Checks everything but the weights' values; writes nothing.

    config_path: the run's configuration. Its `model` and `tokenizer` may be left out; they are the
        folder's.
    Raises ConfigError for an architecture or an option that has no counterpart here and for a
    configuration that is not this model's, DataError where files are missing or damaged.
    """
    if out.path.exists() and any(out.path.iterdir()):
        raise RunError(f"{out.path}: is not empty; name a new directory")
    place = folder / "config.json"
    try:
        record = read_json(place)
    except FileNotFoundError:
        raise DataError(f"{place}: is missing; give a folder that save_pretrained made") from None
    except ValueError as error:
        raise DataError(f"{place}: is not JSON ({error})") from error
    model, family = model_of(record, str(place))
    weights = SafetensorsFolder(folder)
    _require_tensors(weights, model, family)
    tree = read_overrides(load_tree(config_path), overrides)
    tokenizer = _tokenizer(folder, tree)
    ours = _with_vocabulary(model, tokenizer, place)
    tree = merge(
        tree,
        {
            "model": {**ours.model_dump(mode="json"), **(tree.get("model") or {})},
            "tokenizer": {"path": str(tokenizer.path)},
        },
    )
    tree.pop("init_from", None)  # it has no parent, so it is no tuning of one
    tree = {**tree, "train": {**(tree.get("train") or {}), "stage": "pretrain"}}
    config = build_run_config(tree, str(config_path))
    asked, wanted = _resolved(config.model), _resolved(ours)
    problems = [
        f"model.{name}: {asked[name]}, but {wanted[name]} by {place}; leave it out or set it to "
        "that"
        for name in sorted(wanted.keys() - _TRAINING_ONLY)
        if asked[name] != wanted[name]
    ]
    problems += check_config(config)
    if problems:
        raise ConfigError(problems)
    return Import(
        folder=folder,
        weights=weights,
        family=family,
        model=model,
        config=config,
        tokenizer=tokenizer,
        chat_template=_chat_template(folder),
    )


def _chat_template(folder: Path) -> str | None:
    """In a file of its own, or in the tokenizer's configuration. Raises DataError."""
    place = folder / CHAT_TEMPLATE
    try:
        if place.exists():
            return place.read_text(encoding="utf-8")
        place = folder / "tokenizer_config.json"
        found = read_json(place).get("chat_template") if place.exists() else None
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{place}: cannot be read ({error})") from error
    return found if isinstance(found, str) else None  # a list: several, none of which is the one


def _require_tensors(weights: SafetensorsFolder, model: ModelConfig, family: Family) -> None:
    """Raises DataError unless these are the model's tensors, in formats that fp32 holds."""
    found = weights.shapes
    wanted = {name: s for part in parts_of(model, family) for name, s in part.theirs.items()}
    ignored = {"lm_head.weight"} if model.tie_embeddings else set()
    problems = [f"{name}: is missing" for name in wanted.keys() - found.keys()]
    problems += [
        f"{name}: has no place in {family.architecture} by its config.json"
        for name in found.keys() - wanted.keys() - ignored
        if not name.endswith(_BUFFER)
    ]
    problems += [
        f"{name}: is {found[name]}, and {shape} by config.json"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    problems += [
        f"{name}: its number format {code} is not read (F32, BF16 and F16 are)"
        for name, code in weights.codes.items()
        if code not in ("F32", "BF16", "F16")
    ]
    if problems:
        raise DataError(*(f"{weights.folder}: {problem}" for problem in sorted(problems)))


def _tokenizer(folder: Path, tree: Tree) -> Tokenizer:
    """The folder's; where it has none, the configuration's. Raises DataError unless they agree."""
    named = (tree.get("tokenizer") or {}).get("path")
    own = folder / "tokenizer.json"
    if not own.exists():
        if named is None:
            raise DataError(f"{own}: is missing, and the configuration names no tokenizer.path")
        return Tokenizer.load(Path(named))
    tokenizer = Tokenizer.load(own)
    if named is not None and Tokenizer.load(Path(named)).hash != tokenizer.hash:
        raise DataError(f"tokenizer.path: {named} is not {own}, with which the model was trained")
    return tokenizer


def _with_vocabulary(model: ModelConfig, tokenizer: Tokenizer, place: Path) -> ModelConfig:
    entries, rows = tokenizer.vocabulary_size, model.vocabulary_size
    if entries <= rows <= padded_vocabulary_size(entries):
        return model.model_copy(update={"vocabulary_size": entries})
    raise DataError(
        f"{place}: vocab_size: {rows}, but {tokenizer.path} has {entries} entries; a table has "
        f"between as many and {padded_vocabulary_size(entries)} rows"
    )


def _resolved(model: ModelConfig) -> dict[str, Any]:  # Any: whatever the fields hold
    """The fields, with what an absent one stands for."""
    return model.model_dump() | {
        "num_query_groups": query_groups(model),
        "head_dim": head_width(model),
    }
