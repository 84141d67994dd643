"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.dictionaries.grouping import draw_grouping
from megatron_codemix.corpus.synthesis.families.dictionaries.merging import draw_merging
from megatron_codemix.corpus.synthesis.problem import Problem

_FRAMES = (draw_grouping, draw_grouping, draw_merging)


class Dictionaries:
    name = "dictionaries"

    def draw(self, rng: Random) -> Problem:
        return rng.choice(_FRAMES)(rng)
