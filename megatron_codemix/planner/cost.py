"""What a training costs: GPU-hours, energy, and money where prices are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.config.schema import ModelConfig, RunConfig
from megatron_codemix.planner.estimate import Estimate
from megatron_codemix.planner.hardware import Cluster, Gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import Constants, estimate_time
from megatron_codemix.resources import find_example

PUE = 1.1
"""Power of a site by that of its computers, where nobody says it: as LLaMA's authors count (arXiv
2302.13971, section 6), who also take a GPU's largest power for its power."""

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What is known of prices and power; money is in the unit of the prices."""

    gpu_hour: float | None = None
    kwh: float | None = None
    gpu_watts: float | None = None
    """Measured power of the site for each GPU; absent: the GPU's largest, times `PUE`."""

    def watts(self, gpu: Gpu) -> float:
        """Of the site for each GPU."""
        return gpu.power_watts * PUE if self.gpu_watts is None else self.gpu_watts


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a run would be made, and at what prices."""

    cluster: Cluster
    constants: Constants
    prices: Prices


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of so many tokens. The steps alone: no start, no checkpoint, no evaluation, no lost work."""

    tokens: int
    seconds: float
    gpu_hours: float
    kwh: float
    gpu_money: float | None
    """None without a price."""
    energy_money: float | None
    """None without a price. Whoever rents GPUs has paid for it with them."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return asdict(self)


def training_cost(config: RunConfig, tokens: int, job: Job, site: Site) -> Cost:
    """Of `tokens` in whole steps; the smaller steps of a ramp-up have their own time.

    job: the full batch of `config`, in the layout that is meant.
    """
    sizes = batch_sizes(config)
    steps = sizes.nearest_steps(tokens)
    ends = [*(stage.first_step for stage in sizes.stages[1:]), steps]
    seconds = 0.0
    for stage, end in zip(sizes.stages, ends, strict=True):
        num_steps = min(end, steps) - stage.first_step
        if num_steps > 0:
            step = replace(job, global_batch_sequences=stage.sequences)
            seconds += num_steps * estimate_time(step, site.cluster, site.constants).step_seconds
    return _cost(sizes.tokens(steps), seconds, job.world_size, site)


def steady_cost(tokens: int, step: Estimate, site: Site) -> Cost:
    """Of `tokens` at the speed of the full batch, be they whole steps or not."""
    return _cost(tokens, tokens / step.time.tokens_per_second, step.job.world_size, site)


def total_cost(costs: Sequence[Cost]) -> Cost:
    """Of trainings one after the other, at the same prices."""

    def money(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return Cost(
        tokens=sum(cost.tokens for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        gpu_hours=sum(cost.gpu_hours for cost in costs),
        kwh=sum(cost.kwh for cost in costs),
        gpu_money=money([cost.gpu_money for cost in costs]),
        energy_money=money([cost.energy_money for cost in costs]),
    )


@dataclass(frozen=True, kw_only=True)
class PaperCost:
    """What a paper says that the training of its model took."""

    chip: str
    chip_hours: float
    tokens: int
    source: str


_CHIP_HOURS = {"models/470m.yaml": 4736.0, "models/2_8b.yaml": 13824.0}


def paper_cost(model: ModelConfig) -> PaperCost | None:
    """What To Code, or Not To Code? reports of this model; None of any other."""
    for name, chip_hours in _CHIP_HOURS.items():
        path = find_example(name)
        assert path is not None, f"{name} is part of the package"
        if build_section(ModelConfig, load_tree(path)["model"], str(path)) == model:
            return PaperCost(
                chip="TPU v5e",
                chip_hours=chip_hours,
                tokens=200 * 10**9,
                source="To Code, or Not To Code? (arXiv 2408.10914), section 2.3",
            )
    return None


def _cost(tokens: int, seconds: float, num_gpus: int, site: Site) -> Cost:
    prices = site.prices
    gpu_hours = num_gpus * seconds / 3600
    kwh = num_gpus * prices.watts(site.cluster.gpu) * seconds / JOULES_PER_KWH
    return Cost(
        tokens=tokens,
        seconds=seconds,
        gpu_hours=gpu_hours,
        kwh=kwh,
        gpu_money=None if prices.gpu_hour is None else gpu_hours * prices.gpu_hour,
        energy_money=None if prices.kwh is None else kwh * prices.kwh,
    )
