import numpy as np

from megatron_codemix.data.gather import SourceRows, row_parts
from megatron_codemix.data.order.parts import Parts
from megatron_codemix.ops import TokenGather


def test_rows_of_several_sources_are_put_together_in_one_call():
    code = np.arange(100, 200, dtype=np.uint16)
    text = np.arange(1000, 1100, dtype=np.int32)
    parts_of_code = Parts(
        row=np.array([0, 0, 1]), first=np.array([97, 0, 5]), length=np.array([3, 2, 5])
    )
    parts_of_text = Parts(row=np.array([0]), first=np.array([50]), length=np.array([5]))

    parts = row_parts(
        [
            SourceRows(0, np.array([2, 0]), parts_of_code),
            SourceRows(1, np.array([1]), parts_of_text),
        ]
    )

    tokens, labels = np.zeros((3, 4), np.int64), np.zeros((3, 4), np.int64)
    TokenGather([code, text]).tokens_and_labels(parts, tokens, labels, fill=0)
    assert tokens.tolist() == [[105, 106, 107, 108], [1050, 1051, 1052, 1053], [197, 198, 199, 100]]
    assert labels.tolist() == [[106, 107, 108, 109], [1051, 1052, 1053, 1054], [198, 199, 100, 101]]
