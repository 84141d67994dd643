"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.graphs.components import draw_components
from megatron_codemix.corpus.synthesis.families.graphs.degrees import draw_degrees
from megatron_codemix.corpus.synthesis.families.graphs.reach import draw_reach
from megatron_codemix.corpus.synthesis.families.graphs.routes import draw_routes
from megatron_codemix.corpus.synthesis.families.graphs.shortest import draw_shortest
from megatron_codemix.corpus.synthesis.problem import Problem

_FRAMES = (draw_reach, draw_shortest, draw_components, draw_degrees, draw_routes)


class Graphs:
    name = "graphs"

    def draw(self, rng: Random) -> Problem:
        return rng.choice(_FRAMES)(rng)
