"""datatrove's own steps, with our words: its English ones need spaCy."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import reference

OUR_WORDS = SimpleNamespace(word_tokenize=lambda text: reference.join_words(text).split())


def hash_text(text: str) -> int:
    """datatrove's hash. Its own function hands over a str, which xxhash refuses from 4.0 on."""
    import xxhash

    return int(xxhash.xxh64_intdigest(text.encode()))


def lower_case_only() -> Any:
    """Of datatrove's changes to a text the one that we make too."""
    from datatrove.utils.text import TextNormConfig

    return TextNormConfig(
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    )


def signature_step(folder: str, num_buckets: int, per_bucket: int, seed: int) -> Any:
    """Its MinhashDedupSignature, of 5-grams of lower-case words."""
    from datatrove.pipeline.dedup import minhash

    config = minhash.MinhashConfig(
        num_buckets=num_buckets,
        hashes_per_bucket=per_bucket,
        seed=seed,
        norm_config=lower_case_only(),
    )
    with mock.patch.object(minhash, "load_word_tokenizer", return_value=OUR_WORDS):
        step = minhash.MinhashDedupSignature(output_folder=folder, config=config)
    step._hash_func = hash_text
    return step


def contamination_filter(
    folder: Path, hashes: dict[str, npt.NDArray[np.uint64]], ngram: int
) -> Any:
    """Its NGramsDecontFilter with these hashes of each task. The indexer that would write them
    needs lighteval."""
    from datatrove.pipeline.decont import n_grams

    for task, values in hashes.items():
        values.tofile(folder / f"{task}.index.hashes")
    config = n_grams.NGramsDecontConfig(n_grams=ngram, norm_config=lower_case_only())
    with mock.patch.object(n_grams, "load_word_tokenizer", return_value=OUR_WORDS):
        step = n_grams.NGramsDecontFilter(str(folder), config)
    step.hash_func = hash_text
    return step
