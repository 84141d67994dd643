"""Index builders and mixture orders: numpy in, numpy out, computed by the C++ extension.

`ops/reference.py` has the same functions in numpy: slow, plain, and the oracle of the tests.
"""

from megatron_codemix.ops.blending_index import build_blending_index
from megatron_codemix.ops.document_index import build_document_index
from megatron_codemix.ops.earliest_deadline_order import build_earliest_deadline_order
from megatron_codemix.ops.sample_index import build_sample_index
from megatron_codemix.ops.shuffle_index import build_shuffle_index

__all__ = [
    "build_blending_index",
    "build_document_index",
    "build_earliest_deadline_order",
    "build_sample_index",
    "build_shuffle_index",
]
