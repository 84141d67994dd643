"""The family: one of the producers, drawn."""

from random import Random

from megatron_codemix.corpus.synthesis.families.found import draw_found
from megatron_codemix.corpus.synthesis.families.simulation.cells import draw_cells
from megatron_codemix.corpus.synthesis.families.simulation.driven import draw_driven
from megatron_codemix.corpus.synthesis.families.simulation.queues import draw_queue
from megatron_codemix.corpus.synthesis.families.simulation.registers import draw_registers
from megatron_codemix.corpus.synthesis.families.simulation.walks import draw_walk
from megatron_codemix.corpus.synthesis.problem import Problem


class Simulation:
    name = "simulation"

    def draw(self, rng: Random) -> Problem:
        makers = [draw_walk, draw_registers, draw_cells, draw_queue, draw_driven]
        weights = [1.0, 1.2, 1.1, 1.0, 1.2]
        producer, required = rng.choices(makers, weights)[0](rng)
        return draw_found(rng, self.name, producer, required=required)
