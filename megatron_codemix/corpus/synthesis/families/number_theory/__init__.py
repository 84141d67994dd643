"""Number theory: divisors, prime factors, digits, arithmetic functions, iterated rules, pairs."""

from megatron_codemix.corpus.synthesis.families.number_theory.family import NumberTheory

__all__ = ["NumberTheory"]
