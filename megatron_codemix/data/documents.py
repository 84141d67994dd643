"""Which document each place of a sample belongs to, where documents are masked from one another.

A sample is a row of sequence_length + 1 tokens; the input token at place i predicts token i + 1.
It belongs to the document of the token that it *predicts*. So the end-of-document token, read as an
input, opens the next document and sees nothing of the last one; no label is lost, none is predicted
across a border, and a document's first token is learned from the context that evaluation gives it:
an end-of-document token alone.

That is how models with a begin-of-document token are trained (Llama 3, LLM Foundry's
`bos_token_id`). Megatron-LM (--reset-attention-mask, --eod-mask-loss) leaves the separator with the
document that it ends and drops the label after it: no document's first token is ever learned there,
and no token has seen a separator before it.
"""

import numpy as np
import numpy.typing as npt

PADDING = -1
"""Document of what is not a document's token."""


def positions_in_documents(document_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... from each change of document on, for rows [B, S].

    Rotary embeddings depend on distances only, which are the same within a document with and
    without the restart; absolute ones, and whoever reads the batch, see each document from 0.
    """
    places = np.arange(document_ids.shape[1])
    is_start = np.ones(document_ids.shape, bool)
    is_start[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    starts = np.maximum.accumulate(np.where(is_start, places, 0), axis=1)
    return places - starts
