"""A corpus of any size that nobody has: made-up texts with duplicates and items planted in them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megatron_codemix.bench.corpus.made_up import as_text, draw_runs, draw_texts, made_up_task
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.run import Progress
from megatron_codemix.corpus.writer import SUFFIX, utf8_bytes, write_documents
from megatron_codemix.files import require_free_bytes

SOURCE = "text"
FILE_BYTES = 250_000_000
"""Of text in a file, which is a part of its own."""
_LEAST_FILES = 8
_SEED = 1
_AT_ONCE = 500
_COPIES, _EDITED, _CONTAMINATED = 25, 25, 1  # of _AT_ONCE
_POOL_EVERY_BYTES = 500_000
NUM_ITEMS = 500
_DISK_SHARE = 2.5
"""Of the text: its compressed files, the output of a stage, and the signatures that near-duplicates
are found by while they are looked for."""

TASK_SEED = _SEED


def write_stream(folder: Path, num_bytes: int, progress: Progress) -> int:
    """Writes `text/part-NNNNN.jsonl.zst` with at least so many bytes of text; the same bytes each
    time. Returns how many there are. Raises UnavailableError: not enough disk for all stages.

    A tenth of the documents are copies of others that are kept in mind, half of them with another
    end; one in 500 holds an item of `made_up_task(NUM_ITEMS, TASK_SEED)`.
    """
    require_free_bytes(folder, int(_DISK_SHARE * num_bytes), "the stages of the generated corpus")
    pool = draw_texts(np.random.default_rng([_SEED, 0]), max(100, num_bytes // _POOL_EVERY_BYTES))
    num_files = max(_LEAST_FILES, -(-num_bytes // FILE_BYTES))
    written = 0
    with progress("generated corpus", num_bytes, "bytes") as advance:
        for number in range(num_files):
            wanted = num_bytes * (number + 1) // num_files - written
            file = f"{SOURCE}/part-{number:05d}{SUFFIX}"
            made = write_documents(folder, file, _documents(number, wanted, pool))[0].num_bytes
            advance(made)
            written += made
    return written


def link_some(folder: Path, to: Path, share: float) -> float:
    """A corpus of the first files of another, without a copy; returns the share of the files."""
    paths = sorted((folder / SOURCE).iterdir())
    some = paths[: max(1, round(share * len(paths)))]
    (to / SOURCE).mkdir(parents=True)
    for path in some:
        os.link(path, to / SOURCE / path.name)
    return len(some) / len(paths)


def _documents(file: int, num_bytes: int, pool: list[str]) -> Iterator[Document]:
    rng = np.random.default_rng([_SEED, 2, file])
    items = [item.texts[0] for item in made_up_task(NUM_ITEMS, TASK_SEED).items]
    done = number = 0
    while done < num_bytes:
        texts = draw_texts(rng, _AT_ONCE - _COPIES - _EDITED)
        chosen = rng.integers(len(pool), size=_COPIES + _EDITED).tolist()
        texts += [pool[one] for one in chosen[:_COPIES]]
        texts += [_with_other_end(pool[one], rng) for one in chosen[_COPIES:]]
        for place in range(_CONTAMINATED):
            texts[place] += "\n" + items[int(rng.integers(len(items)))]
        for place in rng.permutation(len(texts)).tolist():
            text = texts[place]
            name = f"{file}/{number}"
            yield Document(name, SOURCE, name, name, None, text)
            number += 1
            done += utf8_bytes(text)
            if done >= num_bytes:
                return


def _with_other_end(text: str, rng: np.random.Generator) -> str:
    """A twentieth of the words are others: similar by 0.9."""
    words = text.split()
    num_new = len(words) // 20
    return as_text([*words[: len(words) - num_new], *draw_runs(rng, -(-num_new // 3))])
