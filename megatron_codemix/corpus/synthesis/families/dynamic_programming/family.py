"""The family: one of the plans, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.dynamic_programming.chains import draw_chain
from megatron_codemix.corpus.synthesis.families.dynamic_programming.choices import draw_choice
from megatron_codemix.corpus.synthesis.families.dynamic_programming.knapsack import draw_knapsack
from megatron_codemix.corpus.synthesis.families.dynamic_programming.paths import draw_path
from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import planned
from megatron_codemix.corpus.synthesis.families.dynamic_programming.segments import draw_segments
from megatron_codemix.corpus.synthesis.families.dynamic_programming.stairs import draw_stairs
from megatron_codemix.corpus.synthesis.problem import Problem


class DynamicProgramming:
    name = "dynamic_programming"

    def draw(self, rng: Random) -> Problem:
        makers = [draw_choice, draw_chain, draw_path, draw_segments, draw_stairs, draw_knapsack]
        return planned(rng, self.name, rng.choice(makers)(rng))
