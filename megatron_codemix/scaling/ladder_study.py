"""A ladder as a study file, which `codemix study check | plan | run` takes."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import yaml

from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.scaling.ladder import Ladder
from megatron_codemix.scaling.rung import Branch, Rung, decimal
from megatron_codemix.units import format_count

Node = dict[str, Any]  # Any: what YAML holds

_SHAPE = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads")
_OPTIONAL_SHAPE = ("num_query_groups", "head_dim")
CODE, TEXT = "code", "text"
_WIDTH = 120


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the ladder's phases run."""

    world_size: int
    """Processes of one phase."""
    microbatch_sequences: int | None
    """None: the whole batch of a process at once."""
    precision: str
    has_gpus: bool
    validation_bytes: int
    """Held-out text of each source, at the end of every phase."""


def study_text(ladder: Ladder, machine: Machine, name: str, command: str) -> str:
    """The study file, with what made it at its top."""
    tree = study_tree(ladder, machine, name)
    lists = {key: tree.pop(key) for key in ("variants", "compare", "evaluation", "origin")}
    body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=_WIDTH)
    body += yaml.safe_dump(lists, sort_keys=False, default_flow_style=False, width=10 * _WIDTH)
    return _header(ladder, command) + _spaced(body)


def study_tree(ladder: Ladder, machine: Machine, name: str) -> Node:
    """The content of the study file: a stable training and its decays for each size, the matrix
    over shares of code (and seeds)."""
    rungs, design = ladder.rungs, ladder.design
    phases: Node = {}
    for rung in rungs:
        phases[f"{rung.name}-stable"] = _stable_phase(rung, machine)
        for branch in rung.branches:
            phases[f"{rung.name}-{branch.name}"] = _decay_phase(rung, branch, machine)
    matrix: Node = {"code": [_share_name(share) for share in design.shares]}
    if design.seeds > 1:
        matrix["train.seed"] = list(range(1, design.seeds + 1))
    ends = [f"{rung.name}-{branch.name}" for rung in rungs for branch in rung.branches]
    return {
        "name": name,
        "world_size": machine.world_size,
        "defaults": _defaults(ladder, machine),
        "matrix": matrix,
        "axes": {"code": {_share_name(share): _mixture(share) for share in design.shares}},
        "phases": phases,
        "variants": {end: end for end in ends},
        "compare": {"baseline": ends[-1]},
        "evaluation": {"heldout": {"kind": "validation"}},
        "origin": _origin(ladder),
    }


def _defaults(ladder: Ladder, machine: Machine) -> Node:
    largest = ladder.rungs[-1]
    return {
        "model": _family(largest.model),
        "tokenizer": {"path": "{data}/tokenizer.json"},
        "data": {
            "sequence_length": largest.sequence_length,
            "sources": {
                source: {
                    "train": f"{{data}}/{source}.train",
                    "validation": f"{{data}}/{source}.validation",
                }
                for source in (TEXT, CODE)
            },
            "mixture": {"weights": {TEXT: 1}},
        },
        "optimizer": {"kind": "adamw", "weight_decay": 0.1, "beta1": 0.9},
        "schedule": {"kind": "constant", "lr": largest.learning_rate, "warmup_tokens": 0},
        "train": {
            "train_tokens": largest.stable_tokens,
            "global_batch_sequences": largest.batch_sequences,
            "seed": 1,
        },
        "layout": {"microbatch_sequences": 1},
        "precision": {"kind": machine.precision},
        "checkpoint": {"keep_last": 1},
        "validation": {
            # Longer than any phase: each validates at its end alone.
            "every_tokens": format_count(10 * ladder.target.tokens),
            "max_bytes_per_source": machine.validation_bytes,
        },
        "backend": {"device": "auto" if machine.has_gpus else "cpu"},
    }


def _family(model: ModelConfig) -> Node:
    """Every field of the model that is not its default, sizes included (a phase replaces them)."""
    record = model.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in record.items() if value is not None}


def _stable_phase(rung: Rung, machine: Machine) -> Node:
    return {
        "set": {
            **_size(rung, machine),
            "train.train_tokens": rung.stable_tokens,
            "schedule": {
                "kind": "constant",
                "lr": rung.learning_rate,
                "warmup_tokens": rung.warmup_tokens,
            },
            "checkpoint.keep_every_tokens": rung.keep_every_tokens,
        }
    }


def _decay_phase(rung: Rung, branch: Branch, machine: Machine) -> Node:
    return {
        "init_from": {
            "phase": f"{rung.name}-stable",
            "load": "weights+optimizer",
            "at_tokens": branch.from_tokens,
        },
        "set": {
            **_size(rung, machine),
            "train.train_tokens": branch.decay_tokens,
            "schedule": {
                "kind": "wsd",
                "peak_lr": rung.learning_rate,
                "final_lr": 0,
                "warmup_tokens": 0,
                "decay_tokens": branch.decay_tokens,
                "decay": "one_minus_sqrt",
            },
        },
    }


def _size(rung: Rung, machine: Machine) -> Node:
    optional = {key: getattr(rung.model, key) for key in _OPTIONAL_SHAPE}
    microbatch = machine.microbatch_sequences or rung.batch_sequences // machine.world_size
    return {
        **{f"model.{key}": getattr(rung.model, key) for key in _SHAPE},
        **{f"model.{key}": value for key, value in optional.items() if value is not None},
        "train.global_batch_sequences": rung.batch_sequences,
        "layout.microbatch_sequences": microbatch,
        "optimizer.beta2": rung.beta2,
    }


def _mixture(share: Fraction) -> Node:
    weights = {TEXT: float(1 - share), CODE: float(share)}
    return {"data.mixture.weights": {name: part for name, part in weights.items() if part}}


def _share_name(share: Fraction) -> str:
    return f"code{decimal(100 * share)}"


def _origin(ladder: Ladder) -> dict[str, str]:
    by_tokens = ladder.design.budgets is not None
    return {
        "world_size": "inferred: decides nothing that is learned",
        "defaults.model": "inferred: the target's family at the largest size; phases set theirs",
        "defaults.optimizer.weight_decay": "paper 2412.04403, as in AI2's ladder",
        "defaults.optimizer.beta1": "inferred: the usual value",
        "defaults.schedule": "inferred: phases set theirs",
        "defaults.train": "inferred: phases set theirs; a seed of its own gives the noise",
        "defaults.validation": "inferred: losses are taken at the end of each phase",
        "axes.code": "inferred: shares around that of interest",
        "phases": (
            "paper 2406.19146: batch 160 (N/108M)^(2/3) sequences of 2048, beta2 0.99 below 2^19 "
            "tokens; "
            + _rate_words(ladder)
            + (
                "batch for the middle budget / 20 in place of N, rate by its root (2205.10287), "
                "warmup at most a tenth of the smallest budget"
                if by_tokens
                else "warmup N tokens; budgets in multiples of 20 N (2203.15556)"
            )
            + "; decays of arXiv 2405.18392"
        ),
    }


def _rate_words(ladder: Ladder) -> str:
    if ladder.design.learning_rate is not None:
        return "one rate for all sizes (width transfer, 2203.03466); "
    factor = ladder.design.rate_factor
    times = "" if factor == 1 else f", times {factor:.3g}"
    return f"rate 0.0047 (N/108M)^(-1/3), half of it for a stable rate{times}; "


def _header(ladder: Ladder, command: str) -> str:
    target, design = ladder.as_dict()["target"], ladder.design
    sizes = ", ".join(rung.name for rung in ladder.rungs)
    part = ladder.flops / ladder.target.flops
    lines = [
        f"A ladder for {format_count(target['parameters_total'])} parameters on "
        f"{format_count(target['tokens'])} tokens, made by",
        "",
        f"  {command}",
        "",
        f"{len(ladder.rungs)} sizes ({sizes} parameters without embeddings), "
        f"{len(ladder.rungs[0].branches)} budgets, "
        f"{len(design.shares)} shares of code: {ladder.num_points} losses for "
        f"{ladder.flops:.2g} floating-point operations, {part:.2g} of the target's.",
        "Each size is trained once at a stable rate; the budgets branch off from it and decay.",
    ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _spaced(body: str) -> str:
    """An empty line before each section, and before each phase that is a training of its own."""
    lines: list[str] = []
    for line in body.splitlines():
        is_section = line[:1] not in (" ", "-", "")
        is_stable = line.startswith("  ") and line.endswith("-stable:")
        if (is_section or is_stable) and lines and not lines[-1].endswith("phases:"):
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
