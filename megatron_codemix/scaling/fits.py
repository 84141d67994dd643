"""Laws fitted to a table of runs, to each population by itself, and what the fits say at a
target."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError, DataError, FitError
from megatron_codemix.scaling.analysis import FittedLaw, analyse
from megatron_codemix.scaling.columns import PARAMETERS, family_of
from megatron_codemix.scaling.conditions import Condition, runs_that
from megatron_codemix.scaling.law import OUTCOMES, FloatArray, Inputs, Law
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.next_run import NextRun, next_runs
from megatron_codemix.scaling.populations import (
    Where,
    mixtures,
    populations,
    takes_shares,
    where_words,
)
from megatron_codemix.scaling.readers.study import TRAINING
from megatron_codemix.scaling.registry import build_law
from megatron_codemix.scaling.table import Excluded, RunTable
from megatron_codemix.scaling.target import Point, point_inputs

_SAME_SIZE = 0.99
_SHOWN_LEFT_OUT = 3


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What is asked for."""

    law: str | None = None
    """None: a law of mixture and scale where the mixtures differ, else Chinchilla's."""
    targets: tuple[str, ...] = ()
    """Columns; none: all that the law predicts."""
    parameters_column: str | None = None
    loss_column: str | None = None
    own: str | None = None
    """The source that the losses are of, for laws of mixture and scale; None: that of the column's
    name."""
    where: tuple[Condition, ...] = ()
    """What holds of the runs."""
    by: tuple[str, ...] = ()
    """Further columns that tell populations apart."""
    bootstraps: int = 200
    seed: int = 0
    at: Point | None = None
    """What the next run is to tell of; None: ten times the compute of the largest run."""


@dataclass(frozen=True, kw_only=True)
class HeldOutRun:
    """A run of the largest size, predicted from a fit to the smaller ones."""

    name: str
    measured: float
    predicted: float


@dataclass(frozen=True, kw_only=True)
class RunFit:
    """A law fitted to some of the runs."""

    target: str
    where: Where
    """What these runs have in common; {} where they are all."""
    parameters_column: str | None
    fitted: FittedLaw
    names: tuple[str, ...]
    inputs: Inputs
    measured: FloatArray
    held_out: tuple[HeldOutRun, ...]
    next_runs: tuple[NextRun, ...]
    next_at: Mapping[str, float]
    """The target that `next_runs` are about."""
    groups: str
    """What the bootstrap draws."""

    @property
    def label(self) -> str:
        """`loss_nats.code (share.code 0.25)`."""
        return f"{self.target} ({where_words(self.where)})" if self.where else self.target

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "target_column": self.target,
            "where": self.where,
            "parameters_column": self.parameters_column,
            "bootstrap_draws": self.groups,
            **self.fitted.as_dict(),
            "held_out_runs": [asdict(run) for run in self.held_out],
            "next_runs": [run.as_dict() for run in self.next_runs],
            "next_runs_are_about": dict(self.next_at),
        }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Runs to which the law could not be fitted."""

    target: str
    where: Where
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFits:
    """All fits to a table."""

    table: RunTable
    fits: tuple[RunFit, ...]
    failures: tuple[Failure, ...]
    excluded: tuple[tuple[str, str], ...]
    """(run, reason), of all targets."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "runs": self.table.where,
            "fits": [fit.as_dict() for fit in self.fits],
            "failed": [asdict(failure) for failure in self.failures],
            "excluded": [{"run": name, "reason": reason} for name, reason in self.excluded],
        }


def fit_runs(table: RunTable, request: FitRequest) -> RunFits:
    """Raises DataError where the table does not have what is asked for, ConfigError for a law that
    there is not, FitError where no fit succeeds."""
    table = runs_that(table, request.where)
    law_name = request.law or _usual_law(table)
    targets = _targets(table, build_law(law_name, table.sources), request.targets)
    fits, failures = [], []
    excluded: dict[tuple[str, str], None] = {}
    for target in targets:
        own = request.own or target.partition(".")[2]
        law = build_law(law_name, sorted(table.sources, key=lambda name: (name != own, name)))
        if isinstance(law, MixtureAndScaleLaw) and law.sources[0] != own:
            known = ", ".join(table.sources)
            reason = f"{own!r} is no source of the mixtures ({known}); say which one by --own"
            failures.append(Failure(target=target, where={}, reason=reason))
            continue
        for where, part in populations(table, law, request.by):
            gone = part.usable_for(target).excluded
            try:
                fits.append(_fit(part, law, target, where, request))
            except FitError as error:
                reason = f"{error}{_left_out_words(gone)}"
                failures.append(Failure(target=target, where=where, reason=reason))
            excluded |= dict.fromkeys((one.name, one.reason) for one in gone)
    if not fits:
        reasons = dict.fromkeys(failure.reason for failure in failures)
        raise FitError(*(f"{table.where}: {reason}" for reason in list(reasons)[:3]))
    return RunFits(
        table=table, fits=tuple(fits), failures=tuple(failures), excluded=tuple(excluded)
    )


def _left_out_words(gone: Sequence[Excluded]) -> str:
    """Of runs that a law could not be fitted without, perhaps."""
    if not gone:
        return ""
    shown = "; ".join(f"{one.name}: {one.reason}" for one in gone[:_SHOWN_LEFT_OUT])
    more = f"; and {len(gone) - _SHOWN_LEFT_OUT} more" if len(gone) > _SHOWN_LEFT_OUT else ""
    is_judged = any(one.reason.startswith("diverged") for one in gone)
    advice = "; --keep-diverged keeps those that are not marked as diverged" if is_judged else ""
    return f"; {len(gone)} run{'s' if len(gone) > 1 else ''} left out ({shown}{more}){advice}"


def _fit(table: RunTable, law: Law, target: str, where: Where, request: FitRequest) -> RunFit:
    column = request.parameters_column or next((c for c in PARAMETERS if c in table.frame), None)
    inputs, measured = table.inputs_for(law, target, column, loss_column=request.loss_column)
    usable = table.usable_for(target)
    groups, drawn = _groups(usable, law)
    fitted = analyse(
        law, inputs, measured, groups=groups, bootstraps=request.bootstraps, seed=request.seed
    )
    at = _next_target(law, inputs, request.at)
    return RunFit(
        target=target,
        where=where,
        parameters_column=column if "parameters" in law.inputs else None,
        fitted=fitted,
        names=tuple(usable.names),
        inputs=inputs,
        measured=measured,
        held_out=_hold_out_largest(law, inputs, measured, usable.names),
        next_runs=tuple(next_runs(fitted, inputs, at)) if at else (),
        next_at={name: float(values[0]) for name, values in at.items()},
        groups=drawn,
    )


def _usual_law(table: RunTable) -> str:
    return "mixture-and-scale" if len(mixtures(table)) > 1 else "chinchilla"


def _targets(table: RunTable, law: Law, asked: Sequence[str]) -> list[str]:
    """Columns, those that were asked for by their last part included."""
    there = table.columns(law.target)
    if law.target == "loss_nats" and not there:
        there = table.columns("bits_per_byte")
    if not there:
        raise DataError(
            f"{table.where}: no column {law.target}.<name>, which law {law.name} predicts"
        )
    if not asked:
        return there
    chosen = [name if family_of(name) else f"{law.target}.{name}" for name in asked]
    unknown = [name for name in chosen if name not in table.frame]
    if unknown:
        raise DataError(
            *(f"{table.where}: no column {n}{suggestion(n, there, there)}" for n in unknown)
        )
    return chosen


def _groups(table: RunTable, law: Law) -> tuple[list[str] | None, str]:
    """What the bootstrap draws: whole trainings where there are enough of them for the law."""
    if "group" in table.frame:
        return table.groups, "groups"
    if TRAINING in table.frame:
        trainings = [str(name) for name in table.frame[TRAINING]]
        if len(set(trainings)) > len(law.parameter_names):
            return trainings, "trainings with all their budgets"
    return None, "runs"


def _hold_out_largest(
    law: Law, inputs: Inputs, measured: FloatArray, names: Sequence[str]
) -> tuple[HeldOutRun, ...]:
    """All runs of the largest size, predicted from the smaller ones; nothing where those are too
    few for the law, or the law has no sizes."""
    if "parameters" not in inputs:
        return ()
    is_largest = inputs["parameters"] >= _SAME_SIZE * inputs["parameters"].max()
    rest = {name: values[~is_largest] for name, values in inputs.items()}
    try:
        parameters = law.fit(rest, measured[~is_largest]).parameters
    except FitError:
        return ()
    large = {name: values[is_largest] for name, values in inputs.items()}
    predicted = law.predict(parameters, large)
    rows = np.flatnonzero(is_largest).tolist()
    return tuple(
        HeldOutRun(name=names[row], measured=float(measured[row]), predicted=float(value))
        for row, value in zip(rows, predicted, strict=True)
    )


def _next_target(law: Law, inputs: Inputs, at: Point | None) -> dict[str, FloatArray]:
    """One row to predict; {} for laws without size and tokens. Raises ConfigError where the point
    lacks a quantity that the law takes, or has one without effect."""
    has_scale = {"parameters", "tokens"} <= set(law.inputs)
    if at is not None:
        unused = [] if has_scale else ["--at-parameters and --at-tokens have"]
        unused += ["--share has"] if at.shares and not takes_shares(law) else []
        if unused:
            raise ConfigError([f"{words} no effect on law {law.name}" for words in unused])
        return point_inputs(law, at)
    if not has_scale:
        return {}
    # Of the runs of most compute the one in the middle of their mixtures.
    shares = sorted(name for name in inputs if name.startswith("share_"))
    compute = inputs["parameters"] * inputs["tokens"]
    largest = np.flatnonzero(compute >= _SAME_SIZE * compute.max())
    order = np.lexsort([inputs[name][largest] for name in shares]) if shares else range(1)
    chosen = largest[order[len(order) // 2]]
    settable = {name: values for name, values in inputs.items() if name not in OUTCOMES}
    row = {name: values[[chosen]] for name, values in settable.items()}
    for name in ("parameters", "tokens"):
        row[name] = row[name] * np.sqrt(10)
    return row
