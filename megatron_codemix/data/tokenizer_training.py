"""Trains a byte-level BPE on equal bytes of each source, the same file for the same corpus."""

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.instructions.template import CHATML_TOKENS
from megatron_codemix.corpus.output_place import require_file_place
from megatron_codemix.corpus.readers import InputFile, RecordForm, Skipped, read_documents
from megatron_codemix.corpus.split import require_validation_fraction, split_of
from megatron_codemix.corpus.stages.run import wanted_files
from megatron_codemix.corpus.store import hash_files, place_of
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, NUM_BYTES, Tokenizer, tokenizer_hash
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_json, write_json, write_text
from megatron_codemix.units import format_bytes

log = logging.getLogger(__name__)

FILL_IN_THE_MIDDLE = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""What `train_tokenizer` adds for data/transforms/fill_in_the_middle.py."""
# GPT-4's pattern after a split into single digits. Measured on 20 MB of this machine's code, markup
# and text with 8,192 entries: 3.45 bytes a token, GPT-2's pattern 3.32; the fast encoder gives the
# same tokens with both.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ORDER_KEY = b"megatron_codemix tokenizer sample v1"
# `tokenizers` takes time with the square of a word's length: one of 200,000 letters 33 s. Cut into
# words of 1,024, 3,000,000 equal letters take 0.1 s, 1,000,000 random ones of four 0.7 s.
_MAX_RUN = 1024
_LONG_RUN = re.compile(rf"\S{{{_MAX_RUN + 1},}}|\s{{{_MAX_RUN + 1},}}")
_MAX_TRAINING_BYTES = 8_000_000  # of each source; more does not change 8,192 entries visibly
_MIN_SHARE = 0.5  # of the text that could be trained on: below, the smallest source is warned of


@dataclass(frozen=True)
class TrainedTokenizer:
    """What `train_tokenizer` has written, or found there (`was_complete`)."""

    path: Path
    hash: str
    vocabulary_size: int
    bytes_per_source: dict[str, int]
    seconds: float
    was_complete: bool


def require_trainable(
    vocabulary_size: int,
    validation_fraction: float,
    out: Path,
    *,
    fill_in_the_middle: bool = False,
    chatml: bool = False,
) -> None:
    """Raises DataError for arguments of `train_tokenizer` that no corpus can meet."""
    num_special = len(_special_tokens(fill_in_the_middle=fill_in_the_middle, chatml=chatml))
    if vocabulary_size < NUM_BYTES + num_special:
        asked = (", fill-in-the-middle" if fill_in_the_middle else "") + (", chatml" * chatml)
        raise DataError(
            f"vocabulary of {vocabulary_size}: at least {NUM_BYTES + num_special} "
            f"(every byte, end of document{asked})"
        )
    require_validation_fraction(validation_fraction)
    require_file_place(out, "tokenizer.json")


def train_tokenizer(
    corpus: Path,
    vocabulary_size: int,
    out: Path,
    *,
    sources: Sequence[str] | None = None,
    validation_fraction: float = 0.05,
    max_bytes: int = _MAX_TRAINING_BYTES,
    text_field: str = "text",
    fill_in_the_middle: bool = False,
    chatml: bool = False,
    advance: Callable[[int], None] | None = None,
) -> TrainedTokenizer:
    """Trains on the same number of bytes of each source of the corpus folder (or of `sources`),
    held-out documents left out; warns where a small source keeps much of the others out.
    `fill_in_the_middle`, `chatml`: their three and two tokens are among the entries.

    `advance` is told of UTF-8 bytes read; the corpus is read twice. The same corpus gives the same
    file. Left as it is where `out` was trained with equal arguments. Raises DataError.
    """
    start = time.monotonic()
    require_trainable(
        vocabulary_size,
        validation_fraction,
        out,
        fill_in_the_middle=fill_in_the_middle,
        chatml=chatml,
    )
    files = wanted_files(corpus, sources)
    special_tokens = _special_tokens(fill_in_the_middle=fill_in_the_middle, chatml=chatml)
    arguments = {
        "vocabulary_size": vocabulary_size,
        "validation_fraction": validation_fraction,
        "max_bytes": max_bytes,
        "pattern": _PATTERN,
        "special_tokens": special_tokens,
        "corpus": {name: hash_files(parts) for name, parts in files.items()},
    }
    record_path = _training_record(out)
    complete = _trained_before(out, record_path, arguments)
    if complete is not None:
        return complete
    if out.exists():
        log.warning("%s: is replaced; shards that were made with it need the former one", out)
    sample = TrainingSample(files, validation_fraction, max_bytes, text_field, advance)
    content = _train(sample.texts(), vocabulary_size, special_tokens)
    if sample.num_cut_runs:
        text = "runs of more than %d characters without a space, or of spaces, cut in training: %d"
        log.warning(text, _MAX_RUN, sample.num_cut_runs)
    write_text(out, content)
    tokenizer = Tokenizer(content, out)
    if tokenizer.vocabulary_size < vocabulary_size:
        log.warning(
            "%s: only %d of %d entries: the corpus is too small for more",
            out,
            tokenizer.vocabulary_size,
            vocabulary_size,
        )
    trained = TrainedTokenizer(
        path=out,
        hash=tokenizer.hash,
        vocabulary_size=tokenizer.vocabulary_size,
        bytes_per_source=sample.bytes_per_source,
        seconds=time.monotonic() - start,
        was_complete=False,
    )
    write_json(
        record_path, {"arguments": arguments, "result": asdict(trained) | {"path": out.name}}
    )
    return trained


def _special_tokens(*, fill_in_the_middle: bool, chatml: bool) -> list[str]:
    middle = FILL_IN_THE_MIDDLE if fill_in_the_middle else ()
    return [END_OF_DOCUMENT, *middle, *(CHATML_TOKENS if chatml else ())]


def _training_record(path: Path) -> Path:
    return path.with_name(path.name + ".training.json")


def held_out_in_training(tokenizer: Tokenizer) -> float | None:
    """Validation fraction that `train_tokenizer` made this tokenizer with; None where that is not
    on record."""
    try:
        record = read_json(_training_record(tokenizer.path))
        if record["result"]["hash"] != tokenizer.hash:
            return None
        return float(record["arguments"]["validation_fraction"])
    except (OSError, ValueError, KeyError, TypeError):  # absent, or not ours
        return None


def _trained_before(
    out: Path, record_path: Path, arguments: dict[str, Any]
) -> TrainedTokenizer | None:
    try:
        record = read_json(record_path)
        result = record["result"]
        if record["arguments"] != arguments or tokenizer_hash(out) != result["hash"]:
            return None
    except (OSError, DataError, ValueError, KeyError):  # absent or damaged: train again
        return None
    log.info("%s: tokenizer is complete, nothing to do", out)
    return TrainedTokenizer(**(result | {"path": out, "was_complete": True}))


class TrainingSample:
    """Equal bytes of each source, the documents chosen by a keyed hash of their text."""

    def __init__(
        self,
        files: dict[str, tuple[InputFile, ...]],
        validation_fraction: float,
        max_bytes: int,
        text_field: str,
        advance: Callable[[int], None] | None,
    ) -> None:
        self._advance = advance
        self._files, self._fraction = files, validation_fraction
        self._form = RecordForm(text_field=text_field, text_option="--text-field")
        # What cannot be read is named in this pass, not again in the second.
        skipped = {name: Skipped() for name in sorted(files)}
        sizes = {name: self._document_sizes(name, skipped[name]) for name in skipped}
        empty = [name for name, entries in sizes.items() if not entries]
        if empty:
            raise DataError(
                "no training document in source "
                + ", ".join(
                    f"{name!r} ({place_of(files[name])}{_counts(skipped[name])})" for name in empty
                )
                + "; give it more documents"
            )
        for name, left_out in skipped.items():
            if num_empty := left_out.counts.get("empty"):
                text = "source %s: records skipped, empty: %d (%s)"
                log.warning(text, name, num_empty, ", ".join(left_out.names["empty"][:3]))
        available = {name: sum(size for _, size in entries) for name, entries in sizes.items()}
        budget = min(max_bytes, *available.values())
        _warn_of_smallest(available, budget, max_bytes)
        self.bytes_per_source = dict.fromkeys(sizes, budget)
        self._chosen = {name: _chosen(entries, budget) for name, entries in sizes.items()}
        self.num_cut_runs = 0

    def texts(self) -> Iterator[str]:
        """The chosen documents, cut where a word would be too long; of each source the last one is
        cut at the budget."""
        for name, chosen in self._chosen.items():
            for text in self._training_texts(name, Skipped(is_announced=False)):
                num_bytes = chosen.pop(_order(text), 0)
                if num_bytes:
                    chosen_text = text.encode()[:num_bytes].decode(errors="ignore")
                    runs = list(_LONG_RUN.finditer(chosen_text))
                    self.num_cut_runs += len(runs)
                    yield from _cut(chosen_text, runs)

    def _document_sizes(self, name: str, skipped: Skipped) -> list[tuple[int, int]]:
        texts = self._training_texts(name, skipped)
        unique = {_order(text): len(text.encode()) for text in texts}
        return list(unique.items())

    def _training_texts(self, name: str, skipped: Skipped) -> Iterator[str]:
        documents = read_documents(self._files[name], name, skipped, self._form)
        for document in documents:
            if self._advance is not None:
                self._advance(len(document.text.encode()))
            if split_of(document.origin, self._fraction) == "train":
                yield document.text


def _warn_of_smallest(available: Mapping[str, int], budget: int, max_bytes: int) -> None:
    """Where most of the text is left out because as little is taken of each source as the smallest
    one has."""
    could_be = sum(min(size, max_bytes) for size in available.values())
    if budget * len(available) >= _MIN_SHARE * could_be:
        return
    smallest = min(available, key=lambda name: available[name])
    log.warning(
        "source %s: has only %s to train on, and no more is taken of any source: %s of %s in all; "
        "the tokenizer will be poor. Give it more documents, or name the other sources (--source)",
        smallest,
        format_bytes(budget),
        format_bytes(budget * len(available)),
        format_bytes(could_be),
    )


def _cut(text: str, runs: Sequence[re.Match[str]]) -> Iterator[str]:
    """The text in pieces; each run is cut every _MAX_RUN characters."""
    start = 0
    for run in runs:
        for cut in range(run.start() + _MAX_RUN, run.end(), _MAX_RUN):
            yield text[start:cut]
            start = cut
    yield text[start:]


def _counts(skipped: Skipped) -> str:
    """`, empty: 2, not UTF-8: 1`."""
    return "".join(f", {reason}: {count}" for reason, count in sorted(skipped.counts.items()))


def _order(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), key=_ORDER_KEY, digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _chosen(entries: list[tuple[int, int]], budget: int) -> dict[int, int]:
    """order -> bytes taken, for the first documents in that order that make up the budget."""
    taken: dict[int, int] = {}
    for order, size in sorted(entries):
        if budget <= 0:
            break
        taken[order] = min(size, budget)
        budget -= size
    return taken


def _train(texts: Iterator[str], vocabulary_size: int, special_tokens: list[str]) -> str:
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend.to_str(pretty=True) + "\n"
