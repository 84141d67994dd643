"""Starts the ranks of a run: here by forking, on a cluster as torchrun or srun have placed them."""
