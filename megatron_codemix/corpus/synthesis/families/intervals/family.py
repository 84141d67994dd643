"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.conflicts import draw_conflicts
from megatron_codemix.corpus.synthesis.families.intervals.coverage import draw_coverage
from megatron_codemix.corpus.synthesis.families.intervals.gaps import draw_gaps
from megatron_codemix.corpus.synthesis.families.intervals.merged import draw_merged
from megatron_codemix.corpus.synthesis.families.intervals.selection import draw_selection
from megatron_codemix.corpus.synthesis.problem import Problem


class Intervals:
    name = "intervals"

    def draw(self, rng: Random) -> Problem:
        frames = [draw_merged, draw_gaps, draw_coverage, draw_selection, draw_conflicts]
        return rng.choice(frames)(rng)
