"""Batches ahead of their use: the background thread, and NVIDIA DALI in its place."""
