"""The family: one of the frames, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.data_classes.changed import draw_changed
from megatron_codemix.corpus.synthesis.families.data_classes.chosen import draw_chosen
from megatron_codemix.corpus.synthesis.families.data_classes.grouped import draw_grouped
from megatron_codemix.corpus.synthesis.families.data_classes.stateful import draw_stateful
from megatron_codemix.corpus.synthesis.problem import Problem


class DataClasses:
    name = "data_classes"

    def draw(self, rng: Random) -> Problem:
        frames = [draw_chosen, draw_chosen, draw_grouped, draw_stateful, draw_changed]
        return rng.choice(frames)(rng)
