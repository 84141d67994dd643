"""The stages, each run in a process of its own to see its memory (see measure.tree_memory_of).

Progress goes to stderr, which the benchmark's own process has too.
"""

from collections.abc import Callable
from pathlib import Path

from megatron_codemix.bench.corpus.made_up import made_up_task
from megatron_codemix.bench.corpus.stream import NUM_ITEMS, SOURCE, TASK_SEED
from megatron_codemix.corpus.contamination.stage import DecontaminateStage
from megatron_codemix.corpus.duplicates.run import dedup_corpus
from megatron_codemix.corpus.duplicates.search import SearchOptions
from megatron_codemix.corpus.filters.policy import load_policy
from megatron_codemix.corpus.filters.stage import FilterStage
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.stages.stage import Stage
from megatron_codemix.obs.progress import progress_bar

Action = Callable[[], object]


def run_filter(corpus: str, out: str, workers: int, num_bytes: int) -> Action:
    """The policy for prose."""
    return _stage(FilterStage({SOURCE: load_policy("prose")}), corpus, out, workers, num_bytes)


def run_dedup(corpus: str, out: str, workers: int, num_bytes: int) -> Action:
    """Exact and near-duplicates."""
    return lambda: dedup_corpus(
        Path(corpus), Path(out), SearchOptions(), workers=workers, progress=progress_bar
    )


def run_decontaminate(corpus: str, out: str, workers: int, num_bytes: int) -> Action:
    """The items that are planted."""
    stage = DecontaminateStage([made_up_task(NUM_ITEMS, TASK_SEED)], "drop", Path(out))
    return _stage(stage, corpus, out, workers, num_bytes)


def run_split(corpus: str, out: str, workers: int, num_bytes: int) -> Action:
    """What is not held out."""
    return _stage(SplitStage("train", 0.05), corpus, out, workers, num_bytes)


def _stage(stage: Stage, corpus: str, out: str, workers: int, num_bytes: int) -> Action:
    def run() -> None:
        with progress_bar(stage.name, num_bytes, "bytes") as advance:
            run_stage(stage, Path(corpus), Path(out), workers=workers, advance=advance)

    return run
