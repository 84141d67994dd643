"""Scores and generates with a run's checkpoint over tensor-, pipeline- and data-parallel ranks."""
