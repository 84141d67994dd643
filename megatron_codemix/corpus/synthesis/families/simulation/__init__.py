"""Simulation: walks with obstacles, registers, rows of cells, queues, states driven by events."""

from megatron_codemix.corpus.synthesis.families.simulation.family import Simulation

__all__ = ["Simulation"]
