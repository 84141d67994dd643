"""The numbers of a report: relative changes, tokens and epochs, warnings. Plain values in,
`report.json` out."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from megatron_codemix.config.plan import layout_text
from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.report.comparisons import compare, settings
from megatron_codemix.report.cost import cost
from megatron_codemix.report.items import ItemStore
from megatron_codemix.report.layouts import layouts
from megatron_codemix.report.measures import measured_groups
from megatron_codemix.report.not_run import not_run
from megatron_codemix.report.published import published
from megatron_codemix.report.statistics.decisions import LEVEL
from megatron_codemix.report.statistics.items import value_noises
from megatron_codemix.report.statistics.noise import interval
from megatron_codemix.report.tasks import averages, left_out, task_scores
from megatron_codemix.report.warnings import agreed, warnings
from megatron_codemix.study.evaluation import HeldoutSpec, ValidationSpec
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.repetition import seed_axes, without_seed

Report = dict[str, Any]  # Any: JSON values


def relative_change(value: float, baseline: float) -> float:
    """(value - baseline) / baseline, the one definition in use; for losses, negative is better."""
    return (value - baseline) / baseline


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """Loss of a text in bits for each UTF-8 byte of it: comparable between tokenizers."""
    return nats / math.log(2) / num_bytes


def build_report(records: StudyRecords) -> Report:
    """The content of `report.json`. Everything that depends on the clock is in `wall_seconds`,
    `timing` and `cost`, and in the hours of `not_run`."""
    spec = records.tree.spec
    rows = [
        _variant_row(records, cell, variant)
        for cell in records.tree.cells
        for variant in spec.variants
        if records.is_complete(cell, variant)
    ]
    store = ItemStore()
    _add_intervals(records, rows, store)
    _add_relative(rows, spec.compare.baseline)
    not_compared = left_out(rows)
    for row in rows:
        row["averages"] = averages(row["tasks"], not_compared)
    measured = measured_groups(records, rows, not_compared, store)
    comparisons = compare(measured.values(), spec.compare.baseline)
    costs = cost(records)
    errors = [
        line["max_error_samples"] for phase in records.phases.values() for line in phase.ledger
    ]
    phases = [_phase_row(phase) for phase in records.phases.values()]
    return {
        "study": spec.name,
        "baseline": spec.compare.baseline,
        "cells": _cells(records),
        "variants": rows,
        "tasks_left_out": not_compared,
        "comparisons": comparisons,
        "statistics": settings(comparisons),
        "seeds": seed_statistics(
            rows, {c: without_seed(spec, p) for c, p in records.tree.points.items()}
        ),
        "phases": phases,
        "ledger_max_error_samples": max(errors, default=None),
        "warnings": warnings(records, rows, store),
        "token_scale": float(spec.token_scale),
        "evaluation": _evaluation(records),
        "commit": agreed(phase.provenance.get("commit") for phase in records.phases.values()),
        "versions": agreed(phase.provenance.get("versions") for phase in records.phases.values()),
        "published": published(records, measured),
        "not_run": not_run(records, rows, not_compared, costs),
        "layouts": layouts(phases),
        "cost": costs,
        "wall_seconds": records.study.wall_seconds,
        "timing": _timing(records),
    }


def _cells(records: StudyRecords) -> dict[str, dict[str, Json]]:
    """Cell -> what its comparisons call it, and its point of the matrix without its seed."""
    spec = records.tree.spec
    seeds = seed_axes(spec)
    return {
        cell: {
            "group": without_seed(spec, point) or SINGLE_CELL,
            "point": {axis: value for axis, value in point.items() if axis not in seeds},
        }
        for cell, point in records.tree.points.items()
    }


def _evaluation(records: StudyRecords) -> dict[str, Json]:
    """What the numbers were taken on."""
    asked = records.tree.spec.evaluation
    tasks = asked.tasks
    return {
        "max_bytes_per_source": _heldout_bytes(records, asked.heldout),
        "tasks": None if tasks is None else {"names": tasks.names, "limit": tasks.limit},
    }


def _heldout_bytes(records: StudyRecords, heldout: HeldoutSpec | ValidationSpec) -> int:
    """The largest of all phases, where each validates by itself."""
    if isinstance(heldout, HeldoutSpec):
        return heldout.max_bytes_per_source
    asked_of_phases = [node.config.validation for node in records.tree.nodes.values()]
    return max(one.max_bytes_per_source for one in asked_of_phases if one is not None)


def _variant_row(records: StudyRecords, cell: str, variant: str) -> dict[str, Json]:
    chain = records.chain(cell, variant)
    heldout = chain[-1].heldout
    assert heldout is not None  # is_complete
    return {
        "name": variant,
        "cell": cell,
        "phases": [phase.node.name for phase in chain],
        "tokens": sum(phase.tokens for phase in chain),
        "layout": _layout(chain[-1]),
        "heldout": {
            source: {"bits_per_byte": bits_per_byte(value["nats"], value["bytes"])}
            for source, value in sorted(heldout["sources"].items())
            if math.isfinite(value["nats"])
        },
        "tasks": task_scores(chain[-1].tasks or {}),
    }


def _add_intervals(
    records: StudyRecords, rows: Sequence[dict[str, Json]], store: ItemStore
) -> None:
    """Fills in `low` and `high` of bits per byte: over documents, None where those were not
    kept."""
    for source in sorted({source for row in rows for source in row["heldout"]}):
        found = {
            place: store.heldout(records.chain(row["cell"], row["name"])[-1], source)
            for place, row in enumerate(rows)
            if source in row["heldout"]
        }
        kept = {place: items for place, items in found.items() if items is not None}
        noises = value_noises(kept, f"heldout/{source}")
        for place in found:
            score = rows[place]["heldout"][source]
            ends = (
                interval(score["bits_per_byte"], noises[place], LEVEL)
                if place in noises
                else (None, None)
            )
            score["low"], score["high"] = ends


def _add_relative(rows: list[dict[str, Json]], baseline: str) -> None:
    """Fills in `relative`: against the baseline in the same cell, None where that is not there
    yet."""
    bases = {row["cell"]: row["heldout"] for row in rows if row["name"] == baseline}
    for row in rows:
        base = bases.get(row["cell"], {})
        for source, value in row["heldout"].items():
            value["relative"] = (
                relative_change(value["bits_per_byte"], base[source]["bits_per_byte"])
                if source in base
                else None
            )


def seed_statistics(
    rows: Sequence[Mapping[str, Json]], groups: Mapping[str, str]
) -> list[dict[str, Json]]:
    """Mean and standard deviation (n - 1) over cells that differ only in the seed; [] where none
    do.

    groups: cell -> what its cell is called without the seed.
    """
    gathered: dict[tuple[str, str], list[Mapping[str, Json]]] = {}
    for row in rows:
        gathered.setdefault((groups[row["cell"]], row["name"]), []).append(row["heldout"])
    result = []
    for (group, name), heldouts in gathered.items():
        if len(heldouts) < 2:
            continue
        sources = {}
        for source in sorted(set.intersection(*(set(heldout) for heldout in heldouts))):
            values = [heldout[source]["bits_per_byte"] for heldout in heldouts]
            changes = [heldout[source]["relative"] for heldout in heldouts]
            sources[source] = {
                "bits_per_byte_mean": statistics.fmean(values),
                "bits_per_byte_deviation": statistics.stdev(values),
                "relative_mean": None if None in changes else statistics.fmean(changes),
                "relative_deviation": None if None in changes else statistics.stdev(changes),
            }
        result.append({"cell": group, "name": name, "num_seeds": len(heldouts), "heldout": sources})
    return result


def _phase_row(phase: PhaseRecord) -> dict[str, Json]:
    last = phase.ledger[-1] if phase.ledger else {"sources": {}}
    parent = phase.node.parent
    return {
        "cell": phase.node.cell,
        "name": phase.node.name,
        "parent": parent,
        "load": phase.config.init_from.load if phase.config.init_from else None,
        "identity": phase.status.identity,
        "trained_with": phase.trained_with,
        "state": phase.status.state,
        "steps": phase.status.step,
        "requested_tokens": phase.config.train.train_tokens,
        "planned_tokens": phase.plan.get("train_tokens"),
        "tokens": phase.tokens,
        "layout": _layout(phase),
        "sources": {
            name: {
                key: source.get(key)
                for key in (
                    "planned_tokens",
                    "consumed_tokens",
                    "epochs",
                    "chain_tokens",
                    "loss_nats",
                )
            }
            for name, source in sorted(last["sources"].items())
        },
        "heldout": {
            name: bits_per_byte(value["nats"], value["bytes"])
            for name, value in sorted((phase.heldout or {"sources": {}})["sources"].items())
            if math.isfinite(value["nats"])
        },
    }


def _layout(phase: PhaseRecord) -> dict[str, Json]:
    """How the phase was spread over processes, in its last attempt."""
    layout = phase.config.layout
    return {
        "text": layout_text(layout, phase.plan.get("data_parallel") or "?"),
        "tensor": layout.tensor,
        "pipeline": layout.pipeline,
        "virtual_pipeline": layout.virtual_pipeline,
        "context": layout.context,
        "expert": layout.expert,
        "data_parallel": phase.plan.get("data_parallel"),
        "world_size": phase.plan.get("world_size"),
        "sequence_parallel": layout.sequence_parallel,
        "microbatch_sequences": layout.microbatch_sequences,
    }


def _timing(records: StudyRecords) -> dict[str, Json]:
    """What a second run of the same study need not repeat: times, speeds, numbers of attempts."""
    phases = {}
    seconds = tokens = 0.0
    for key, phase in records.phases.items():
        trained = phase.status.train_seconds
        phases[key] = {
            "train_seconds": trained,
            "train_wall_seconds": phase.wall.train,
            "evaluate_wall_seconds": phase.wall.evaluate,
            "own_part": phase.own_part,
            "trained_by": [asdict(trainer) for trainer in phase.trainers],
            "tokens_per_second": phase.tokens / trained if trained else None,
            "attempts": phase.status.attempts,
            "failures": phase.status.failures,
        }
        # What another study has trained, or what another cell has counted, is not counted again.
        seconds += phase.own_part * trained
        tokens += phase.own_part * phase.tokens if trained else 0
    return {
        "study_starts": records.study.starts,
        "train_seconds": seconds,
        "tokens_per_second": tokens / seconds if seconds else None,
        "phases": phases,
    }
