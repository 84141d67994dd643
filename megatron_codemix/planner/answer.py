"""The answer to "does it fit, how fast is it, what does it cost" for one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from megatron_codemix.config.checks import raise_if
from megatron_codemix.config.layout_checks import layout_problems
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.precision_checks import needs_of
from megatron_codemix.config.schema import Fp8Config, RunConfig
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.planner.cost import (
    Cost,
    PaperCost,
    Site,
    paper_cost,
    steady_cost,
    training_cost,
)
from megatron_codemix.planner.estimate import Estimate, estimate
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import estimate_memory, exact_counts
from megatron_codemix.planner.search import SearchResult, search
from megatron_codemix.planner.time import check_timed, load_constants

BILLION = 10**9
FITTED_GPU = "h100"
"""The GPU whose published speeds the planner's constants are fitted to."""
NEARLY_FULL = 0.95


@dataclass(frozen=True, kw_only=True)
class Question:
    """On how many GPUs, and where."""

    world_size: int
    site: Site
    tokens: int | None = None
    """To be trained on; None where nobody says."""
    is_exact: bool = False
    """Whether parameters, gradients and optimizer are counted on megatron-core's own model."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of one layout, given or found."""

    question: Question
    config: RunConfig
    """With this layout."""
    chosen: Estimate
    search: SearchResult | None
    cost: Cost | None
    """None where the tokens are not known."""
    cost_of_billion: Cost
    """Of 10^9 tokens."""
    paper: PaperCost | None
    """What the first paper's authors needed, if this is their model; and beside it:"""
    cost_like_paper: Cost | None
    """Of the paper's tokens, here."""

    def as_dict(self, *, top: int, with_rejected: bool) -> dict[str, Any]:  # Any: JSON values
        """For --json; see SearchResult.as_dict."""
        asked, site = self.question, self.question.site
        return {
            "parameters": count_parameters(self.config.model),
            "sequence_length": self.config.data.sequence_length,
            "global_batch_sequences": self.config.train.global_batch_sequences,
            "precision": self.config.precision.model_dump(mode="json"),
            "gpus": asked.world_size,
            "gpus_per_node": site.cluster.gpus_per_node,
            "gpu": _row(site.cluster.gpu),
            "network": _row(site.cluster.network),
            "constants": site.constants.as_dict(),
            "plan": self.chosen.as_dict(),
            "search": None
            if self.search is None
            else self.search.as_dict(top, with_rejected=with_rejected),
            "cost": {
                "watts_per_gpu": site.prices.watts(site.cluster.gpu),
                "per_billion_tokens": self.cost_of_billion.as_dict(),
                "total": None if self.cost is None else self.cost.as_dict(),
            },
            "paper": self._paper(),
            "notes": self.notes(),
        }

    def notes(self) -> list[str]:
        """What the numbers do not know of this model, GPU and layout."""
        config, site, memory = self.config, self.question.site, self.chosen.memory
        notes = []
        if config.model.moe is not None:
            notes.append(
                "mixtures of experts are predicted more than twice as fast as published runs were; "
                "compare layouts, and take times and costs as a lower bound"
            )
        if site.cluster.gpu.name != FITTED_GPU and site.constants == load_constants():
            notes.append(
                f"the constants were fitted to {FITTED_GPU}; for this GPU they are a guess "
                "(--calibrate fits them to runs of yours)"
            )
        if memory.fits and memory.peak_bytes > NEARLY_FULL * memory.limit_bytes:
            notes.append(
                "the memory is nearly full: what the formulas do not know may not fit, and an "
                "allocator that has to make room is slow"
            )
        if isinstance(config.precision, Fp8Config):
            notes.append(needs_of(config.precision))
        return notes

    def _paper(self) -> Mapping[str, Any] | None:
        if self.paper is None or self.cost_like_paper is None:
            return None
        return asdict(self.paper) | {"gpu_hours_here": self.cost_like_paper.gpu_hours}


def answer(config: RunConfig, question: Question) -> Answer:
    """Of the layout that the configuration has. Raises ConfigError if it is not legal there, or
    nobody knows its time."""
    per_node = question.site.cluster.gpus_per_node
    problems = layout_problems(config, question.world_size, per_node)
    raise_if(problems or check_timed(config.precision))
    job = Job.of_config(config, question.world_size)
    chosen = estimate(job, question.site.cluster, question.site.constants)
    return _answer(config, question, _counted(chosen, question), None)


def answer_by_search(
    config: RunConfig, question: Question, fixed: frozenset[str] = frozenset()
) -> Answer:
    """Of the fastest layout that fits. Raises ConfigError if none does, or nobody knows how fast
    they are.

    fixed: fields of `layout` that stay as the configuration has them.
    """
    raise_if(check_timed(config.precision))
    found = search(
        config,
        question.world_size,
        question.site.cluster,
        question.site.constants,
        fixed=fixed,
        shows_progress=True,
    )
    chosen = _counted(found.best, question)
    return _answer(config.model_copy(update={"layout": chosen.layout}), question, chosen, found)


def _counted(chosen: Estimate, question: Question) -> Estimate:
    if not question.is_exact:
        return chosen
    with progress_bar("exact count of parameters and optimizer", 1, "layouts") as advance:
        counts = exact_counts(chosen.job)
        advance(1)
    return replace(
        chosen, memory=estimate_memory(chosen.job, question.site.cluster.gpu, counts=counts)
    )


def _answer(
    config: RunConfig, question: Question, chosen: Estimate, found: SearchResult | None
) -> Answer:
    site, tokens = question.site, question.tokens
    paper = paper_cost(config.model)
    return Answer(
        question=question,
        config=config,
        chosen=chosen,
        search=found,
        cost=None if tokens is None else training_cost(config, tokens, chosen.job, site),
        cost_of_billion=steady_cost(BILLION, chosen, site),
        paper=paper,
        cost_like_paper=None if paper is None else steady_cost(paper.tokens, chosen, site),
    )


def _row(row: Any) -> dict[str, str]:  # Any: of a table of hardware
    return {"name": row.name, "title": row.title, "source": row.source}
