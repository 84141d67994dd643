"""All families, in the order in which they are dealt; a new one is added at the end."""

from megatron_codemix.corpus.synthesis.families.arithmetic.family import Arithmetic
from megatron_codemix.corpus.synthesis.families.data_classes import DataClasses
from megatron_codemix.corpus.synthesis.families.dictionaries.family import Dictionaries
from megatron_codemix.corpus.synthesis.families.dynamic_programming import DynamicProgramming
from megatron_codemix.corpus.synthesis.families.graphs.family import Graphs
from megatron_codemix.corpus.synthesis.families.intervals import Intervals
from megatron_codemix.corpus.synthesis.families.lists import Lists
from megatron_codemix.corpus.synthesis.families.number_theory import NumberTheory
from megatron_codemix.corpus.synthesis.families.parsing import Parsing
from megatron_codemix.corpus.synthesis.families.recursion.family import Recursion
from megatron_codemix.corpus.synthesis.families.simulation import Simulation
from megatron_codemix.corpus.synthesis.families.strings.family import Strings
from megatron_codemix.corpus.synthesis.problem import Family

FAMILIES: tuple[Family, ...] = (
    Lists(),
    Graphs(),
    Intervals(),
    DataClasses(),
    NumberTheory(),
    Parsing(),
    Arithmetic(),
    Strings(),
    Dictionaries(),
    Recursion(),
    Simulation(),
    DynamicProgramming(),
)
