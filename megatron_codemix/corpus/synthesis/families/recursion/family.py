"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.recursion.descents import draw_descent
from megatron_codemix.corpus.synthesis.families.recursion.halves import draw_halves
from megatron_codemix.corpus.synthesis.families.recursion.sequences import draw_sequence
from megatron_codemix.corpus.synthesis.families.recursion.trees import draw_trees
from megatron_codemix.corpus.synthesis.problem import Problem

_FRAMES = (draw_sequence, draw_descent, draw_halves, draw_trees)


class Recursion:
    name = "recursion"

    def draw(self, rng: Random) -> Problem:
        return rng.choice(_FRAMES)(rng)
