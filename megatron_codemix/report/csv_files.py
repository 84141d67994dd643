"""A report as tables for other programs: CSV as RFC 4180 has it, one value in a line where it fits.

A field is empty where `report.json` has null, and lists are joined by `; `. What each column means:
docs/reports.md.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from megatron_codemix.files import Json, write_text
from megatron_codemix.report.warnings import layout_words
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.repetition import seed_of, without_seed
from megatron_codemix.study.tree import StudyTree

Row = dict[str, Json]
Report = Mapping[str, Json]

_COST = (
    "device", "processes", "train_seconds", "wall_seconds", "evaluate_seconds", "gpu_hours",
    "processor_hours", "attempts", "restarts", "failures", "shared_with", "own_part", "trained_by",
)  # fmt: skip


def write_tables(report: Report, tree: StudyTree, folder: Path) -> None:
    """Writes each table into `folder`, atomically; one without rows has its header alone."""
    tables: dict[str, tuple[tuple[str, ...], Iterable[Mapping[str, Json]]]] = {
        "variants": (VARIANTS, _variants(report, tree)),
        "comparisons": (COMPARISONS, report["comparisons"]),
        "phases": (PHASES, _phases(report, tree)),
        "sources": (SOURCES, _sources(report, tree)),
        "heldout": (HELDOUT, _heldout(report, tree)),
        "tasks": (TASKS, _tasks(report, tree)),
        "published": (PUBLISHED, _published(report)),
    }
    for name, (columns, rows) in tables.items():
        write_text(folder / f"{name}.csv", csv_text(columns, rows))


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Json]]) -> str:
    """The rows with a header; what a row has besides `columns` is an error."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _field(value) for name, value in row.items()})
    return text.getvalue()


def _field(value: Json) -> Json:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return value


_PLACE = ("cell", "point", "seed")
VARIANTS = (
    "variant", *_PLACE, "phases", "tokens", "layout", "seconds", "gpu_hours", "processor_hours",
    "restarts", "failures",
)  # fmt: skip
COMPARISONS = (
    "cell", "variant", "baseline", "metric", "lower_is_better", "value", "baseline_value",
    "difference", "low", "high", "relative", "relative_low", "relative_high", "level", "method",
    "seeds", "items", "floor", "p", "p_corrected", "verdict", "reason", "runs_to_decide",
    "models_verdict", "models_p",
)  # fmt: skip
PHASES = (
    "phase", *_PLACE, "parent", "load", "identity", "state", "steps", "requested_tokens",
    "planned_tokens", "tokens", "layout", "variants", *_COST,
)  # fmt: skip
SOURCES = (
    "phase", *_PLACE, "source", "planned_tokens", "consumed_tokens", "epochs", "chain_tokens",
    "loss_nats", "bits_per_byte",
)  # fmt: skip
HELDOUT = ("variant", *_PLACE, "source", "bits_per_byte", "low", "high", "relative")
TASKS = (
    "variant", *_PLACE, "kind", "name", "metric", "value", "stderr", "random_baseline",
    "above_random", "items", "tasks",
)  # fmt: skip
PUBLISHED = (
    "figure", "measure", "unit", "source", "row", "model", "variant", "cell", "against_row",
    "against_model", "against_variant", "against_cell", "at", "paper", "printed", "ours", "low",
    "high", "seeds", "over", "tasks", "why", "note",
)  # fmt: skip


def _place(tree: StudyTree, cell: str) -> Row:
    """The cell, and what it is without its seed."""
    point = tree.points[cell]
    without = without_seed(tree.spec, point) or SINGLE_CELL
    return {"cell": cell, "point": without, "seed": seed_of(tree.spec, point) or None}


def _variants(report: Report, tree: StudyTree) -> Iterator[Row]:
    costs = {(one["cell"], one["variant"]): one for one in report["cost"]["variants"]}
    for row in report["variants"]:
        cost = costs[row["cell"], row["name"]]
        names = ("seconds", "gpu_hours", "processor_hours", "restarts", "failures")
        yield {
            "variant": row["name"],
            **_place(tree, row["cell"]),
            "phases": row["phases"],
            "tokens": row["tokens"],
            "layout": layout_words(row["layout"]),
            **{name: cost[name] for name in names},
        }


def _phases(report: Report, tree: StudyTree) -> Iterator[Row]:
    names = (
        "parent", "load", "identity", "state", "steps", "requested_tokens", "planned_tokens",
        "tokens",
    )  # fmt: skip
    for row, cost in zip(report["phases"], report["cost"]["phases"], strict=True):
        yield {
            "phase": row["name"],
            **_place(tree, row["cell"]),
            **{name: row[name] for name in names},
            "layout": layout_words(row["layout"]),
            "variants": cost["variants"],
            **{name: cost[name] for name in _COST},
        }


def _sources(report: Report, tree: StudyTree) -> Iterator[Row]:
    """Of every phase: what it has read of a source, and its loss on held-out text of it."""
    for row in report["phases"]:
        for source in dict.fromkeys([*row["sources"], *row["heldout"]]):
            yield {
                "phase": row["name"],
                **_place(tree, row["cell"]),
                "source": source,
                **row["sources"].get(source, {}),
                "bits_per_byte": row["heldout"].get(source),
            }


def _heldout(report: Report, tree: StudyTree) -> Iterator[Row]:
    for row in report["variants"]:
        for source, score in row["heldout"].items():
            yield {"variant": row["name"], **_place(tree, row["cell"]), "source": source, **score}


def _tasks(report: Report, tree: StudyTree) -> Iterator[Row]:
    """Tasks, and averages of them."""
    for row in report["variants"]:
        place = {"variant": row["name"], **_place(tree, row["cell"])}
        for name, score in row["tasks"].items():
            yield {**place, "kind": "task", "name": name, **score}
        for name, score in row["averages"].items():
            yield {**place, "kind": "average", "name": name, **score}


def _published(report: Report) -> Iterator[Row]:
    for entry in report["published"]:
        for row in entry["rows"]:
            ours, against = row["ours"] or {}, row["against"] or {}
            names = ("row", "model", "variant", "cell")
            yield {
                **{name: entry[name] for name in ("figure", "measure", "unit")},
                "source": row["paper"]["source"],
                **{name: row[name] for name in (*names, "at")},
                **{f"against_{name}": against.get(name) for name in names},
                "paper": row["paper"]["value"],
                "printed": row["paper"]["printed"],
                "ours": ours.get("value"),
                **{key: ours.get(key) for key in ("low", "high", "seeds", "over", "tasks")},
                "why": row["why"],
                "note": row["paper"]["note"],
            }
