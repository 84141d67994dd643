"""Texts that nobody wrote: runs of three words from Python's own documentation, drawn at random.

Each word has its usual neighbours, so rules for prose and the recognition of English find what they
look for; five words in a row are of two draws at least, so two such texts have none in common.
"""

import pydoc_data.topics
from functools import cache

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.contamination.items import EvaluationTask, Item

_RUN = 3
_RUNS_OF_LINE = 20
_MEDIAN_RUNS = 110
_SPREAD = 0.6  # of the logarithm
_LEAST_RUNS, _MOST_RUNS = 20, 3000


@cache
def _runs() -> npt.NDArray[np.object_]:
    text = " ".join(topic for _, topic in sorted(pydoc_data.topics.topics.items()))
    # What prose may not have: a curly bracket drops a text.
    words = [word for word in text.split() if "{" not in word and "}" not in word]
    starts = range(len(words) - _RUN)
    return np.array([" ".join(words[start : start + _RUN]) for start in starts], object)


def draw_texts(rng: np.random.Generator, count: int) -> list[str]:
    """Texts of lines; half of them have more than 2 kB, the longest 60 kB."""
    lengths = np.exp(rng.normal(np.log(_MEDIAN_RUNS), _SPREAD, count)).astype(int)
    lengths = np.clip(lengths, _LEAST_RUNS, _MOST_RUNS)
    runs = draw_runs(rng, int(lengths.sum()))
    ends = np.cumsum(lengths).tolist()
    return [
        as_text(runs[end - length : end])
        for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


def draw_runs(rng: np.random.Generator, count: int) -> list[str]:
    """Three words each."""
    runs = _runs()
    drawn: list[str] = runs[rng.integers(len(runs), size=count)].tolist()
    return drawn


def as_text(runs: list[str]) -> str:
    """Lines of sixty words."""
    starts = range(0, len(runs), _RUNS_OF_LINE)
    return "\n".join(" ".join(runs[start : start + _RUNS_OF_LINE]) for start in starts)


def made_up_task(count: int, seed: int) -> EvaluationTask:
    """Items of a question of 30 words and an answer of 15."""
    rng = np.random.default_rng([seed, 1])
    items = tuple(
        Item(str(number), (" ".join(draw_runs(rng, 10)), " ".join(draw_runs(rng, 5))))
        for number in range(count)
    )
    return EvaluationTask("made_up", items)
