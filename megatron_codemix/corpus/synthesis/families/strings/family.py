"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.strings.pairs import draw_pairs
from megatron_codemix.corpus.synthesis.families.strings.pieces import draw_pieces
from megatron_codemix.corpus.synthesis.families.strings.windows import draw_windows
from megatron_codemix.corpus.synthesis.problem import Problem

_FRAMES = (draw_pieces, draw_windows, draw_pairs)
_WEIGHTS = (5, 2, 1)
"""By how many different problems each has."""


class Strings:
    name = "strings"

    def draw(self, rng: Random) -> Problem:
        return rng.choices(_FRAMES, _WEIGHTS)[0](rng)
