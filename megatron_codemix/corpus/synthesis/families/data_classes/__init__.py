"""Data classes: records chosen and ordered by methods, grouped, changed; objects with a state."""

from megatron_codemix.corpus.synthesis.families.data_classes.family import DataClasses

__all__ = ["DataClasses"]
