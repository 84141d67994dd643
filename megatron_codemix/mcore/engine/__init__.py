"""Transformer Engine's layers in place of ours, on a GPU where they are usable."""
