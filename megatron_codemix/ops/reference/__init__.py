"""The functions of ops in plain numpy and Python: slow, short, and what the tests compare with.

A module for each folder of csrc/.
"""

from megatron_codemix.ops.reference.batch import (
    fill_document_positions,
    find_unchecked_blocks,
    gather_windows,
    pack_best_fit,
)
from megatron_codemix.ops.reference.megatron import (
    build_blending_index,
    build_document_and_sample_index,
    build_document_index,
    build_sample_index,
    build_shuffle_index,
)
from megatron_codemix.ops.reference.mixture import (
    SplitTree,
    build_earliest_deadline_order,
    count_earliest_deadline_draws,
    locate_in_period,
)
from megatron_codemix.ops.reference.ngrams import (
    find_words,
    hash_gates,
    hash_ngrams,
    join_words,
    sign_shingles,
)
from megatron_codemix.ops.reference.order import draw_below, permute, splitmix64, window_parts
from megatron_codemix.ops.reference.text import (
    count_lines,
    count_repetition,
    count_words,
    find_private_marks,
)

__all__ = [
    "SplitTree",
    "build_blending_index",
    "build_document_and_sample_index",
    "build_document_index",
    "build_earliest_deadline_order",
    "build_sample_index",
    "build_shuffle_index",
    "count_earliest_deadline_draws",
    "count_lines",
    "count_repetition",
    "count_words",
    "draw_below",
    "fill_document_positions",
    "find_private_marks",
    "find_unchecked_blocks",
    "find_words",
    "gather_windows",
    "hash_gates",
    "hash_ngrams",
    "join_words",
    "locate_in_period",
    "pack_best_fit",
    "permute",
    "sign_shingles",
    "splitmix64",
    "window_parts",
]
