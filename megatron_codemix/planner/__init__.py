"""Knowing before asking for a GPU: memory, time and cost of a step, by formula."""
