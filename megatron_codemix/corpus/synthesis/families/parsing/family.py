"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.found import draw_found
from megatron_codemix.corpus.synthesis.families.parsing.fields import draw_fields
from megatron_codemix.corpus.synthesis.families.parsing.nesting import draw_nesting
from megatron_codemix.corpus.synthesis.families.parsing.operators import draw_operators
from megatron_codemix.corpus.synthesis.families.parsing.runs import draw_runs
from megatron_codemix.corpus.synthesis.families.parsing.stack import draw_stack
from megatron_codemix.corpus.synthesis.families.parsing.tokens import draw_tokens
from megatron_codemix.corpus.synthesis.problem import Problem


class Parsing:
    name = "parsing"

    def draw(self, rng: Random) -> Problem:
        if rng.random() < 0.28:
            return draw_operators(rng)
        makers = [draw_fields, draw_runs, draw_nesting, draw_stack, draw_tokens]
        weights = [1.5, 0.9, 0.9, 1.3, 0.8]
        producer, required = rng.choices(makers, weights)[0](rng)
        return draw_found(rng, self.name, producer, required=required)
