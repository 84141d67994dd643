"""The best layout of a run: all legal ones by predicted tokens a second, within the GPU's memory.

What is not looked at cannot be better, by the estimates' own order: a layout that computes again
what it could keep is slower, and a larger microbatch takes more memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from megatron_codemix.config.layout_checks import divisors
from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.obs.progress import Advance, progress_bar
from megatron_codemix.planner.candidates import RECOMPUTE_FIELDS, Rejected, Space
from megatron_codemix.planner.estimate import Estimate, full_layout_text
from megatron_codemix.planner.hardware import Cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import MemoryEstimate, estimate_memory
from megatron_codemix.planner.memory.overheads import CONTEXT_BYTES
from megatron_codemix.planner.time import Constants, estimate_time
from megatron_codemix.units import format_bytes

MANY_SIZES = 1000
"""Combinations of sizes from which on a search takes seconds and shows how far it is."""
MOST_REASONS = 8
"""Why no layout is legal: so many are told."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """All layouts that fit, the fastest first, and what was rejected."""

    ranked: list[Estimate]
    rejected: list[Rejected]
    world_size: int
    cluster: Cluster

    @property
    def best(self) -> Estimate:
        """The fastest. Raises ConfigError if there is none: why, and which is nearest."""
        if self.ranked:
            return self.ranked[0]
        misfits = [entry for entry in self.rejected if entry.kind == "memory"]
        if misfits:
            raise ConfigError([self._no_fit(misfits)])
        reasons = [reason for reason, _, _ in self.reasons()[:MOST_REASONS]]
        raise ConfigError([f"--gpus: {self.world_size}: no layout is legal, because:", *reasons])

    def reasons(self) -> list[tuple[str, int, Rejected]]:
        """(reason, how many entries of `rejected` have it, the first of them), the most frequent
        first. What does not fit is one reason, and its first entry the one that lacks least."""
        nearest = sorted(self.rejected, key=lambda entry: entry.excess_bytes)
        first: dict[str, Rejected] = {}
        for entry in nearest:
            first.setdefault(_reason_in_short(entry), entry)
        counts = Counter(map(_reason_in_short, nearest))
        return [(reason, count, first[reason]) for reason, count in counts.most_common()]

    def text_of(self, entry: Rejected) -> str:
        """The layout of an entry."""
        copies = max(1, self.world_size // entry.layout.model_parallel)
        return full_layout_text(entry.layout, copies)

    def as_dict(self, top: int, *, with_rejected: bool) -> dict[str, Any]:  # Any: JSON values
        """For --json.

        top: how many of the ranked layouts.
        with_rejected: whether every rejected one is listed, or the reasons alone.
        """
        kinds = Counter(entry.kind for entry in self.rejected)
        content: dict[str, Any] = {
            "fitting": len(self.ranked),
            "illegal": kinds["illegal"],
            "not_fitting": kinds["memory"],
            "ranked": [candidate.as_dict() for candidate in self.ranked[:top]],
            "reasons": [
                {"reason": reason, "layouts": count, "first": self.text_of(first)}
                for reason, count, first in self.reasons()
            ],
        }
        if with_rejected:
            content["rejected"] = [
                {
                    "layout": self.text_of(entry),
                    "kind": entry.kind,
                    "reason": entry.reason,
                    "excess_bytes": entry.excess_bytes,
                }
                for entry in self.rejected
            ]
        return content

    def _no_fit(self, misfits: list[Rejected]) -> str:
        nearest = min(misfits, key=lambda entry: entry.excess_bytes)
        return (
            f"--gpus: {self.world_size}: no layout fits into the memory of {self.cluster.gpu.title}"
            f"; the nearest is {self.text_of(nearest)}, which {nearest.reason}; "
            f"{self._remedy(misfits)}"
        )

    def _remedy(self, misfits: list[Rejected]) -> str:
        """What makes room; short sequences make none where nothing else would fit."""
        least = min(entry.state_bytes for entry in misfits)
        if least + CONTEXT_BYTES < self.cluster.gpu.memory_bytes:
            return "take more GPUs, ones with more memory, or a shorter data.sequence_length"
        return (
            f"weights, gradients and optimizer alone take at least {format_bytes(least)}; take "
            "more GPUs, or ones with more memory"
        )


def search(
    config: RunConfig,
    world_size: int,
    cluster: Cluster,
    constants: Constants,
    *,
    fixed: frozenset[str] = frozenset(),
    shows_progress: bool = False,
) -> SearchResult:
    """Ranks the layouts of `config` on `world_size` GPUs; its own counts only for what is fixed.

    fixed: fields of `layout` that stay as they are.
    """
    space = Space(
        config=config, world_size=world_size, gpus_per_node=cluster.gpus_per_node, fixed=fixed
    )
    rejected: list[Rejected] = []
    sizes = space.sizes(rejected)
    run = _Search(space=space, cluster=cluster, constants=constants, rejected=rejected)
    is_long = shows_progress and len(sizes) > MANY_SIZES
    bar = progress_bar("layouts", len(sizes), "sizes") if is_long else nullcontext(_ignore)
    with bar as advance:
        for _, group in groupby(sizes, key=_all_but_microbatch):
            run.look_at(group, advance)
    return SearchResult(
        ranked=sorted(run.found, key=_rank),
        rejected=rejected,
        world_size=world_size,
        cluster=cluster,
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """What was found so far."""

    space: Space
    cluster: Cluster
    constants: Constants
    rejected: list[Rejected]
    found: list[Estimate] = field(default_factory=list)

    def look_at(self, by_microbatch: Iterable[LayoutConfig], advance: Advance) -> None:
        """Sizes that differ in the microbatch alone, the smaller ones first."""
        too_large: Rejected | None = None
        for sizes in by_microbatch:
            advance()
            if too_large is not None:
                self.rejected.append(replace(too_large, layout=sizes))
                continue
            found, rejected = len(self.found), len(self.rejected)
            layouts = self.space.options(sizes, self.rejected)
            for layout in layouts:
                self._look_at_recomputations(layout)
            if layouts and len(self.found) == found:
                nearest = min(self.rejected[rejected:], key=_excess)
                smaller = f"already with a microbatch of {sizes.microbatch_sequences} "
                too_large = replace(nearest, reason=smaller + nearest.reason)

    def _look_at_recomputations(self, layout: LayoutConfig) -> None:
        """Takes those that fit and compute no more again than they need to."""
        memory = self._memory(layout)
        if memory.fits:
            self._take(layout, memory)
            return
        if self.space.fixed & RECOMPUTE_FIELDS or _held_anyway(memory) > memory.limit_bytes:
            return
        taken: list[set[str]] = []
        for names in self.space.selective_recomputations():
            modules = set(names)
            options = {"recompute": "selective", "recompute_modules": list(names)}
            if not any(fewer <= modules for fewer in taken) and self._take_if_fits(
                layout.model_copy(update=options)
            ):
                taken.append(modules)
        if self._take_fewest_layers(layout) or taken:
            return
        if not self._take_if_fits(layout.model_copy(update={"recompute": "full"})):
            self._look_at_wider_blocks(layout)

    def _take_fewest_layers(self, layout: LayoutConfig) -> bool:
        """Takes the fewest layers of each chunk that are enough, if all but one are."""
        least, most = 1, self._layers_of_chunk(layout) - 1
        memory = self._memory(_with_block(layout, most)) if most else None
        if memory is None or not memory.fits:
            return False
        while least < most:
            middle = (least + most) // 2
            fewer = self._memory(_with_block(layout, middle))
            if fewer.fits:
                most, memory = middle, fewer
            else:
                least = middle + 1
        self._take(_with_block(layout, most), memory)
        return True

    def _look_at_wider_blocks(self, layout: LayoutConfig) -> None:
        """Inputs of every few layers are kept in place of every layer's."""
        for layers in divisors(self._layers_of_chunk(layout))[1:]:
            options = {"recompute": "full", "recompute_layers": layers}
            if self._take_if_fits(layout.model_copy(update=options)):
                return

    def _take_if_fits(self, layout: LayoutConfig) -> bool:
        memory = self._memory(layout)
        if memory.fits:
            self._take(layout, memory)
        return memory.fits

    def _memory(self, layout: LayoutConfig) -> MemoryEstimate:
        """What does not fit gets its entry in `rejected`."""
        memory = estimate_memory(self._job(layout), self.cluster.gpu)
        if not memory.fits:
            excess = memory.peak_bytes - memory.limit_bytes
            sizes = f"{format_bytes(memory.peak_bytes)} of {format_bytes(memory.limit_bytes)}"
            reason = f"needs {sizes}, {format_bytes(excess)} too much"
            self.rejected.append(
                Rejected(
                    layout=layout,
                    kind="memory",
                    reason=reason,
                    excess_bytes=excess,
                    state_bytes=max(stage.state for stage in memory.stages),
                )
            )
        return memory

    def _take(self, layout: LayoutConfig, memory: MemoryEstimate) -> None:
        job = self._job(layout)
        time = estimate_time(job, self.cluster, self.constants)
        self.found.append(Estimate(job=job, memory=memory, time=time))

    def _layers_of_chunk(self, layout: LayoutConfig) -> int:
        return self.space.config.model.num_layers // layout.model_chunks

    def _job(self, layout: LayoutConfig) -> Job:
        config = self.space.config
        return Job(
            model=config.model,
            sequence_length=config.data.sequence_length,
            global_batch_sequences=config.train.global_batch_sequences,
            layout=layout,
            precision=config.precision,
            world_size=self.space.world_size,
            cuda_graphs=config.backend.cuda_graphs != "none",
            document_mask=config.data.document_mask,
        )


def _with_block(layout: LayoutConfig, layers: int) -> LayoutConfig:
    """The first `layers` layers of each chunk are computed again."""
    options = {"recompute": "full", "recompute_method": "block", "recompute_layers": layers}
    return layout.model_copy(update=options)


def _held_anyway(memory: MemoryEstimate) -> int:
    """Bytes of the fullest stage that recomputation does not make fewer."""
    return max(stage.state + stage.communication + stage.context for stage in memory.stages)


def _rank(candidate: Estimate) -> tuple[Any, ...]:  # Any: numbers and texts
    """The fastest first; of equal ones the one that takes less memory, then the simpler one."""
    layout = candidate.layout
    sizes = (layout.pipeline, layout.tensor, layout.context, layout.expert)
    return (
        -candidate.time.tokens_per_second,
        candidate.memory.peak_bytes,
        *sizes,
        layout.virtual_pipeline,
        layout.microbatch_sequences,
        not layout.sequence_parallel,
        layout.model_dump_json(),
    )


def _all_but_microbatch(layout: LayoutConfig) -> tuple[int, ...]:
    sizes = (layout.tensor, layout.pipeline, layout.virtual_pipeline)
    return (*sizes, layout.context, layout.expert)


def _excess(entry: Rejected) -> int:
    return entry.excess_bytes


def _reason_in_short(entry: Rejected) -> str:
    return "does not fit into the memory" if entry.kind == "memory" else entry.reason


def _ignore(n: float = 1) -> None:
    """For a search that is over at once."""
