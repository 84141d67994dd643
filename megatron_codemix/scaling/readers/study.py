"""The runs of a study as a table, from their run directories alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import DataError, RunError
from megatron_codemix.files import Json, read_json_object
from megatron_codemix.ledgers import read_ledger
from megatron_codemix.results import read_heldout_summary, read_validations
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.scaling.rules import body_parameters
from megatron_codemix.scaling.table import Excluded, RunTable

TRAINING = "training"
_PLACES = ("", "*/", "*/*/")
"""Of a run, of a folder of runs, of a study: `<cell>/<phase>-<identity8>`."""
_FILES = ("config.yaml", "status.json")
"""One of them is in every run."""
_SAME_SHARE_SAMPLES = 3
"""What was drawn of a source is this near the share that its mixture has, or the share is not
constant (a sample for each phase of a chain, see docs/data_order.md)."""


@dataclass(frozen=True)
class _Run:
    directory: RunDirectory
    config: RunConfig
    label: str | None = None
    """`cell/phase`, where the study has its runs in a store, whose names do not tell."""

    @property
    def key(self) -> str:
        """As children name it, wherever the study's folder was moved to."""
        return "/".join(self.directory.path.absolute().parts[-2:])

    @property
    def parent(self) -> str | None:
        origin = self.config.init_from
        return None if origin is None else "/".join(origin.run.parts[-2:])

    @property
    def name(self) -> str:
        """`cell/phase`, without the identity."""
        return self.label or re.sub("-[0-9a-f]{8}$", "", self.key)


def detect(path: Path) -> bool:
    """Whether there are runs in the folder."""
    return path.is_dir() and bool(_run_folders(path) or _stored(path))


def read(path: Path) -> RunTable:
    """A row for each finished run below `path`: parameters, tokens of its chain of phases and how
    many of them are unique, share of each source, seed, held-out losses (of its last validation, or
    of `codemix evaluate`, which comes first in a run that lies in a store).

    Left out, and listed: runs that are not done, or without held-out losses of their last step; and
    stable trainings, whose learning rate never came down, where other runs decay from them. Runs
    that diverged are the table's to find. The column `training` names the root of a run's chain.

    Raises DataError where no run is left, RunError where a file is damaged or a run has lost its
    configuration.
    """
    found = [_load(RunDirectory(folder)) for folder in _run_folders(path)]
    found += [_load(directory, label) for directory, label in _stored(path).items()]
    runs = {run.key: run for run in found}
    parents = {run.parent for run in runs.values()}
    rows, excluded = [], []
    for run in runs.values():
        reason = _why_not(run, is_parent=run.key in parents)
        if reason is None:
            rows.append({**_row(run), TRAINING: _root(run, runs)})
        else:
            excluded.append(Excluded(run.name, reason))
    if not rows:
        reasons = "; ".join(f"{gone.name}: {gone.reason}" for gone in excluded[:3])
        raise DataError(f"{path}: no run to fit to ({reasons or 'there is none'})")
    frame = pd.DataFrame(rows)
    shares = [column for column in frame if column.startswith("share.")]
    frame[shares] = frame[shares].fillna(0.0)
    table = RunTable.of_frame(frame, str(path))
    return replace(table, excluded=(*excluded, *table.excluded))


def _run_folders(path: Path) -> list[Path]:
    """Folders with a configuration, and those of runs that have lost it."""
    names = [f"{place}{name}" for place in _PLACES for name in _FILES]
    return sorted({file.parent for name in names for file in path.glob(name)})


def _stored(path: Path) -> dict[RunDirectory, str]:
    """Runs of the study in `path` that lie in a store, and what it calls them."""
    record = path / "study.json"
    try:
        raw = read_json_object(record) if record.is_file() else {}
        results = raw.get("results", {})
        places = list(raw.get("runs", {}).items()) if raw.get("store") else []
        found = {
            RunDirectory(path / place, results.get(label, EVALUATION)): label
            for label, place in reversed(places)  # of several cells the first
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise RunError(f"{record}: not a readable study record ({error}); move it away") from error
    return {
        run: label
        for run, label in found.items()
        if any((run.path / name).is_file() for name in _FILES)
    }


def _load(directory: RunDirectory, label: str | None = None) -> _Run:
    directory.require_config()
    return _Run(directory, load_run_config(directory.config), label)


def _why_not(run: _Run, *, is_parent: bool) -> str | None:
    status = run.directory.read_status()
    if status is None:
        return "it was never started"
    if status.state != "done":
        error = f": {status.last_error.splitlines()[0]}" if status.last_error else ""
        return f"it is {status.state} at step {status.step} of {status.num_steps}{error}"
    if is_parent and run.config.schedule.kind == "constant":
        return "its learning rate never came down; the runs that decay from it are used"
    if _ledger_line(run, status.step) is None:
        return f"its ledger has no line for its last step, {status.step}"
    if _losses(run, status.step) is None:
        return f"it has no held-out losses of its last step, {status.step}"
    return None


def _row(run: _Run) -> dict[str, Any]:  # Any: cells of a table
    status = run.directory.read_status()
    assert status is not None, run.key
    line, losses = _ledger_line(run, status.step), _losses(run, status.step)
    assert line is not None, run.key
    assert losses is not None, run.key
    sources = {name: source for name, source in line["sources"].items() if source["chain_tokens"]}
    model = run.config.model
    row = {
        "name": run.name,
        "parameters_total": count_parameters(model, model.vocabulary_size),
        "parameters_without_embedding": body_parameters(model),
        "tokens": sum(source["chain_tokens"] for source in sources.values()),
        "unique_tokens": sum(
            source["chain_tokens"] / max(1.0, source["epochs"]) for source in sources.values()
        ),
        "seed": run.config.train.seed,
    }
    row |= {f"share.{name}": share for name, share in _shares(run.config, sources).items()}
    for name, loss in sorted(losses.items()):
        row[f"loss_nats.{name}"] = loss["nats"] / loss["tokens"]
        row[f"bits_per_byte.{name}"] = loss["bits_per_byte"]
    return row


def _shares(config: RunConfig, sources: Mapping[str, Json]) -> dict[str, float]:
    """Of each source in the tokens of the chain. As the mixture has it where that is what was
    drawn, to the sample: runs of one mixture then have the same numbers."""
    total = sum(source["chain_tokens"] for source in sources.values())
    drawn = {name: source["chain_tokens"] / total for name, source in sources.items()}
    mixture = config.data.mixture
    if mixture.kind != "constant" or config.data.changes:
        return drawn
    planned = {name: weight for name, weight in mixture.weights.items() if weight}
    slack = _SAME_SHARE_SAMPLES * config.data.sequence_length / total
    is_as_planned = all(
        abs(drawn.get(name, 0.0) - planned.get(name, 0.0)) <= slack for name in drawn | planned
    )
    return planned if is_as_planned else drawn


def _root(run: _Run, runs: Mapping[str, _Run]) -> str:
    """Name of the first phase of the run's chain, as far as it is there."""
    while run.parent is not None and run.parent in runs:
        run = runs[run.parent]
    return run.name


def _ledger_line(run: _Run, step: int) -> Mapping[str, Json] | None:
    return next((line for line in read_ledger(run.directory) if line["step"] == step), None)


def _losses(run: _Run, step: int) -> Mapping[str, Json] | None:
    """Held-out nats, tokens and bits per byte of each source after the last step. An evaluation in
    a folder of the study's own comes before the training's validation, which another study of its
    store may have asked for, on other documents."""
    evaluated, validated = _evaluated(run, step), _validated(run, step)
    has_own_folder = run.directory.results != EVALUATION
    found = (evaluated or validated) if has_own_folder else (validated or evaluated)
    return None if found is None else dict(found["sources"])


def _evaluated(run: _Run, step: int) -> Mapping[str, Json] | None:
    summary = read_heldout_summary(run.directory)
    return summary if summary is not None and summary.get("step") == step else None


def _validated(run: _Run, step: int) -> Mapping[str, Json] | None:
    lines = reversed(read_validations(run.directory))
    return next((line for line in lines if line["step"] == step), None)
