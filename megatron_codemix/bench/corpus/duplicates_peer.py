"""datatrove's own search for near-duplicates, with our words: its English ones need spaCy."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron_codemix.corpus.duplicates.bands import Bands
from megatron_codemix.corpus.duplicates.jobs import SEED
from megatron_codemix.ops import join_words

_LINES_AT_ONCE = 1000  # it reads five at a time unless told, which is slower


class _Words:
    def word_tokenize(self, text: str) -> list[str]:
        return join_words(text).split(" ")


def find_near_duplicates(texts: Sequence[Sequence[str]], bands: Bands, work: Path) -> None:
    """Signatures, buckets and clusters of texts in memory; files in `work`, as it has them."""
    from datatrove.pipeline.dedup import minhash  # type: ignore[import-untyped] # ships no types
    from loguru import logger

    logger.disable("datatrove")
    config = _config(minhash, bands)
    signatures, buckets = str(work / "signatures"), str(work / "buckets")
    step = _signature_step(minhash, signatures, config)
    with contextlib.redirect_stderr(io.StringIO()):  # its bars
        for rank, some in enumerate(texts):
            step.run([SimpleNamespace(text=text) for text in some], rank, len(texts))
        for bucket in range(bands.num_bands):
            minhash.MinhashDedupBuckets(
                signatures, buckets, config=config, lines_to_buffer=_LINES_AT_ONCE
            ).run(None, bucket, bands.num_bands)
        minhash.MinhashDedupCluster(
            buckets,
            str(work / "clusters"),
            config=config,
            save_cluster_id=True,
            lines_to_buffer=_LINES_AT_ONCE,
        ).run(None, 0, 1)
    logger.enable("datatrove")


def _config(minhash: Any, bands: Bands) -> Any:  # Any: datatrove is untyped
    """Of its changes to a text only lower case, which is ours too."""
    from datatrove.utils.text import TextNormConfig  # type: ignore[import-untyped] # ships no types

    return minhash.MinhashConfig(
        num_buckets=bands.num_bands,
        hashes_per_bucket=bands.rows,
        seed=SEED,
        norm_config=TextNormConfig(
            norm_whitespace=False,
            remove_punctuation=False,
            norm_unicode_diacritics=False,
            norm_numbers=False,
        ),
    )


def _signature_step(minhash: Any, folder: str, config: Any) -> Any:  # Any: datatrove is untyped
    import xxhash

    tokenizer_of = minhash.load_word_tokenizer
    minhash.load_word_tokenizer = lambda language: _Words()
    try:
        step = minhash.MinhashDedupSignature(output_folder=folder, config=config)
    finally:
        minhash.load_word_tokenizer = tokenizer_of
    # Its own hands over a str, which xxhash refuses from 4.0 on.
    step._hash_func = lambda text: xxhash.xxh64_intdigest(text.encode())
    return step
