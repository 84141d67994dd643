"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.arithmetic.cases import draw_cases
from megatron_codemix.corpus.synthesis.families.arithmetic.ranges import draw_ranges
from megatron_codemix.corpus.synthesis.families.arithmetic.repeated import draw_repeated
from megatron_codemix.corpus.synthesis.problem import Problem

_FRAMES = (draw_cases, draw_ranges, draw_repeated)
_WEIGHTS = (3, 2, 3)
"""By how many different problems each has."""


class Arithmetic:
    name = "arithmetic"

    def draw(self, rng: Random) -> Problem:
        return rng.choices(_FRAMES, _WEIGHTS)[0](rng)
