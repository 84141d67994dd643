"""Memory and time of one layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megatron_codemix.config.plan import layout_text
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.planner.hardware import Cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import ExactCounts, MemoryEstimate, estimate_memory
from megatron_codemix.planner.time import Constants, TimeEstimate, estimate_time


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One step of a job on a cluster."""

    job: Job
    memory: MemoryEstimate
    time: TimeEstimate

    @property
    def layout(self) -> LayoutConfig:
        return self.job.layout

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return {
            "layout": self.layout.model_dump(mode="json"),
            "layout_text": full_layout_text(self.layout, self.job.data_parallel),
            "data_parallel": self.job.data_parallel,
            "num_microbatches": self.job.num_microbatches,
            "memory": self.memory.as_dict(),
            "time": self.time.as_dict(),
        }


def estimate(
    job: Job, cluster: Cluster, constants: Constants, *, counts: ExactCounts | None = None
) -> Estimate:
    """Both estimates; with `counts` the memory of weights and optimizer is megatron-core's own."""
    return Estimate(
        job=job,
        memory=estimate_memory(job, cluster.gpu, counts=counts),
        time=estimate_time(job, cluster, constants),
    )


def full_layout_text(layout: LayoutConfig, data_parallel: int) -> str:
    """`TP2 x PP4 x DP8, SP, microbatch 2, recompute full (uniform 1)`: every choice of a layout
    that decides memory or time."""
    parts = [layout_text(layout, data_parallel)]
    if layout.sequence_parallel:
        parts.append("SP")
    parts.append(f"microbatch {layout.microbatch_sequences}")
    if recomputed := recompute_text(layout):
        parts.append(f"recompute {recomputed}")
    if not layout.distributed_optimizer and data_parallel * layout.context > 1:
        parts.append("optimizer on every rank")
    return ", ".join(parts)


def recompute_text(layout: LayoutConfig) -> str:
    """`core_attn+mlp`, `full (block 3)`; empty where nothing is computed again."""
    if layout.recompute == "selective":
        return "+".join(layout.recompute_modules)
    if layout.recompute == "full":
        return f"full ({layout.recompute_method} {layout.recompute_layers})"
    return ""
