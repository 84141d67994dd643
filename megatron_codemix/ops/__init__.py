"""Index builders, orders, the token gather, counts and signatures of texts, computed in C++.

`ops/reference/` has the same functions in numpy: slow, plain, and the oracle of the tests.
"""

from megatron_codemix.ops.batch_reader import BatchReader, KnownPeriod, WindowSource
from megatron_codemix.ops.best_fit import PackedRows, pack_best_fit
from megatron_codemix.ops.blending_index import build_blending_index
from megatron_codemix.ops.bpe_encoder import (
    AddedToken,
    AddedTokenRole,
    BpeEncoder,
    CharacterClass,
    WordPattern,
)
from megatron_codemix.ops.document_and_sample_index import build_document_and_sample_index
from megatron_codemix.ops.document_index import build_document_index
from megatron_codemix.ops.document_positions import fill_document_positions
from megatron_codemix.ops.earliest_deadline_order import (
    build_earliest_deadline_order,
    count_earliest_deadline_draws,
)
from megatron_codemix.ops.keyed_permutation import invert_permutation, permute
from megatron_codemix.ops.locate_in_period import locate_in_period
from megatron_codemix.ops.ngrams import (
    Instructions,
    MinHash,
    MinHashFunctions,
    NgramIndex,
    draw_minhash_functions,
    find_words,
    hash_gates,
    hash_ngrams,
    join_words,
)
from megatron_codemix.ops.sample_index import build_sample_index
from megatron_codemix.ops.shuffle_index import build_shuffle_index
from megatron_codemix.ops.split_tree import SplitTree
from megatron_codemix.ops.text import (
    LineStatistics,
    Mark,
    MarkKind,
    Repetition,
    TextClassifier,
    WordStatistics,
    count_lines,
    count_repetition,
    count_words,
    find_private_marks,
)
from megatron_codemix.ops.token_gather import RowParts, TokenGather
from megatron_codemix.ops.unchecked_blocks import find_unchecked_blocks
from megatron_codemix.ops.window_order import WindowOrder

__all__ = [
    "AddedToken",
    "AddedTokenRole",
    "BatchReader",
    "BpeEncoder",
    "CharacterClass",
    "Instructions",
    "KnownPeriod",
    "LineStatistics",
    "Mark",
    "MarkKind",
    "MinHash",
    "MinHashFunctions",
    "NgramIndex",
    "PackedRows",
    "Repetition",
    "RowParts",
    "SplitTree",
    "TextClassifier",
    "TokenGather",
    "WindowOrder",
    "WindowSource",
    "WordPattern",
    "WordStatistics",
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
    "draw_minhash_functions",
    "fill_document_positions",
    "find_private_marks",
    "find_unchecked_blocks",
    "find_words",
    "hash_gates",
    "hash_ngrams",
    "invert_permutation",
    "join_words",
    "locate_in_period",
    "pack_best_fit",
    "permute",
]
