"""`codemix study plan --gpu`: memory, time and cost of every phase."""

from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from megatron_codemix.cli.plan_tables import GIB, number_text
from megatron_codemix.config.checks import raise_if
from megatron_codemix.config.engine_options import check_overlap_nodes
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.planner.cost import (
    Cost,
    PaperCost,
    Site,
    paper_cost,
    total_cost,
    training_cost,
)
from megatron_codemix.planner.estimate import Estimate, estimate
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import check_timed
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration


@dataclass(frozen=True, kw_only=True)
class PhaseCost:
    """One phase on GPUs elsewhere."""

    label: str
    estimate: Estimate
    cost: Cost
    paper: PaperCost | None
    trained_with: str | None
    """The phase whose training this is as well, and which it is counted with."""

    @property
    def paper_chip_hours(self) -> float | None:
        """What the first paper's authors would need for as many tokens, in proportion; None of a
        model that is not theirs."""
        if self.paper is None:
            return None
        return self.paper.chip_hours * self.cost.tokens / self.paper.tokens

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return {
            "phase": self.label,
            **self.estimate.as_dict(),
            "cost": self.cost.as_dict(),
            "trained_with": self.trained_with,
            "paper_chip_hours": self.paper_chip_hours,
        }


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """All phases, parents before children, on the study's number of processes."""

    phases: list[PhaseCost]
    site: Site
    world_size: int

    @property
    def total(self) -> Cost:
        """Of all trainings, one after the other."""
        return total_cost([phase.cost for phase in self.phases if phase.trained_with is None])

    @property
    def paper_chip_hours(self) -> float | None:
        """Of all trainings; None where one has another model."""
        trained = [phase for phase in self.phases if phase.trained_with is None]
        hours = [phase.paper_chip_hours for phase in trained]
        known = [value for value in hours if value is not None]
        return sum(known) if len(known) == len(hours) else None

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        cluster = self.site.cluster
        return {
            "gpu": cluster.gpu.name,
            "gpus_per_node": cluster.gpus_per_node,
            "network": cluster.network.name,
            "watts_per_gpu": self.site.prices.watts(cluster.gpu),
            "phases": [phase.as_dict() for phase in self.phases],
            "total": self.total.as_dict(),
            "paper_chip_hours": self.paper_chip_hours,
        }

    def table(self) -> WholeTable:
        """A row for each phase and one for all."""
        prices = self.site.prices
        has_paper = any(phase.paper is not None for phase in self.phases)
        columns = ["phase", "GiB", "step", "MFU", "time", "GPU-hours", "kWh"]
        columns += ["GPUs cost"] if prices.gpu_hour is not None else []
        columns += ["energy costs"] if prices.kwh is not None else []
        columns += ["paper, TPU v5e hours"] if has_paper else []
        table = WholeTable(title=escape(self._title()))
        for number, name in enumerate(columns):
            table.add_column(name, justify="right" if number else "left")
        for phase in self.phases:
            if phase.trained_with is not None:
                counted = f"counted with {phase.trained_with}"
                table.add_row(escape(phase.label), *[""] * 3, escape(counted))
                continue
            memory, time = phase.estimate.memory, phase.estimate.time
            table.add_row(
                escape(phase.label),
                f"{memory.peak_bytes / GIB:.1f}" + ("" if memory.fits else ", too much"),
                f"{time.step_seconds:.3f} s",
                f"{time.mfu:.1%}",
                *_cells(phase.cost),
                *([_optional(phase.paper_chip_hours)] if has_paper else []),
            )
        table.add_section()
        paper = [_optional(self.paper_chip_hours)] if has_paper else []
        table.add_row("all", "", "", "", *_cells(self.total), *paper)
        return table

    def _title(self) -> str:
        gpu = self.site.cluster.gpu
        title = f"on {self.world_size} x {gpu.title}, {gpu.memory_bytes / GIB:.1f} GiB each"
        too_large = sum(not phase.estimate.memory.fits for phase in self.phases)
        return f"{title}; {too_large} phases do not fit" if too_large else title


def study_cost(tree: StudyTree, site: Site) -> StudyCost:
    """Every phase in the layout that the study gives it. Raises ConfigError with those that such
    nodes cannot run, or whose time nobody knows."""
    _require_estimates(tree, site)
    phases = []
    for node in tree.nodes.values():
        job = Job.of_config(node.config, tree.spec.world_size)
        tokens = tree.plan(node).train_tokens
        phases.append(
            PhaseCost(
                label=node.label,
                estimate=estimate(job, site.cluster, site.constants),
                cost=training_cost(node.config, tokens, job, site),
                paper=paper_cost(node.config.model),
                trained_with=tree.trained_with(node),
            )
        )
    return StudyCost(phases=phases, site=site, world_size=tree.spec.world_size)


def _require_estimates(tree: StudyTree, site: Site) -> None:
    world_size, per_node = tree.spec.world_size, site.cluster.gpus_per_node
    raise_if(
        [
            f"{node.label}: {problem}"
            for node in tree.nodes.values()
            for problem in (
                *check_timed(node.config.precision),
                *check_overlap_nodes(node.config.layout, world_size, per_node),
            )
        ]
    )


def _cells(cost: Cost) -> list[str]:
    money = [value for value in (cost.gpu_money, cost.energy_money) if value is not None]
    numbers = [cost.gpu_hours, cost.kwh, *money]
    return [format_duration(cost.seconds), *map(number_text, numbers)]


def _optional(value: float | None) -> str:
    return "-" if value is None else number_text(value)
