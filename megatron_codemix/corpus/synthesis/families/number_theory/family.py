"""The family: one of the producers, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.found import draw_found
from megatron_codemix.corpus.synthesis.families.number_theory.digits import draw_digits
from megatron_codemix.corpus.synthesis.families.number_theory.divisors import draw_divisors
from megatron_codemix.corpus.synthesis.families.number_theory.factors import draw_factors
from megatron_codemix.corpus.synthesis.families.number_theory.functions import draw_functions
from megatron_codemix.corpus.synthesis.families.number_theory.iteration import draw_iteration
from megatron_codemix.corpus.synthesis.families.number_theory.pairs import Pairs, draw_pairs
from megatron_codemix.corpus.synthesis.problem import Problem


class NumberTheory:
    name = "number_theory"

    def draw(self, rng: Random) -> Problem:
        makers = [draw_divisors, draw_factors, draw_functions, draw_iteration, draw_pairs,
                  draw_digits]  # fmt: skip
        weights = [1.3, 0.9, 2.0, 1.5, 1.2, 0.8]
        producer, required = rng.choices(makers, weights)[0](rng)
        # All pairs in a list would fill a page.
        without = ("list",) if isinstance(producer, Pairs) else ()
        return draw_found(rng, self.name, producer, without, required)
