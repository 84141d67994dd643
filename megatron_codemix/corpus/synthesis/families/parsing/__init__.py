"""Parsing: fields, runs, tokens, brackets, expressions with operators of their own, programs."""

from megatron_codemix.corpus.synthesis.families.parsing.family import Parsing

__all__ = ["Parsing"]
