"""Which documents a model is asked to continue: some that it was trained on, some held out."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.trace import RunReader, sample_of_draw
from megatron_codemix.lineage import Ancestor

Split = Literal["train", "held_out"]

MAX_DRAWS = 20_000
"""Samples of a source that are looked at for documents that begin in them; one takes 80 us."""


@dataclass(frozen=True)
class Passage:
    """The beginning of a document."""

    source: str
    split: Split
    document: int
    """Number in its shard."""
    tokens: list[int]


@dataclass(frozen=True)
class Chosen:
    """Passages of one source and split."""

    passages: list[Passage]
    too_short: int
    """Documents that were met and left out, because they are shorter than a passage."""


class TrainedDocuments:
    """What a run and those that it started from have read, from what they have recorded."""

    def __init__(self, chain: Sequence[Ancestor]) -> None:
        """Raises RunError where the shards are no longer those that were read."""
        self._links = [_Link(ancestor) for ancestor in chain]

    @property
    def sources(self) -> list[str]:
        """All that a run of the chain has drawn from."""
        return sorted({name for link in self._links for name in link.num_draws})

    @property
    def content_hashes(self) -> dict[str, list[str]]:
        """Of the shards of each source: more than one where it was exchanged between phases."""
        return {
            name: sorted({link.shard(name).manifest.content_hash for link in self._links_of(name)})
            for name in self.sources
        }

    def _links_of(self, source: str) -> "list[_Link]":
        return [link for link in self._links if source in link.num_draws]

    def choose(self, source: str, count: int, length: int, seed: int) -> Chosen:
        """Documents whose first `length` tokens were read in one sample, so that the model was
        trained to continue them. A document is met as often as it was read, and taken once.

        Samples are drawn evenly from all that were read of the source, at most MAX_DRAWS; those of
        steps that were passed over do not count.
        """
        found: dict[tuple[str, int], Passage] = {}
        short: set[tuple[str, int]] = set()
        for link, draw in self._draws(source, seed):
            opened = link.reader.dataset.source(source)
            shard = opened.shard
            for span in opened.documents(draw):
                key = (shard.manifest.content_hash, span.document)
                if span.first_token > 0 or key in found or key in short:
                    continue
                if _body_length(shard, span.document) < length:
                    short.add(key)
                elif span.last_token + 1 >= length and len(found) < count:
                    found[key] = _passage(shard, source, "train", span.document, length)
            if len(found) == count:
                break
        return Chosen(list(found.values()), len(short))

    def _draws(self, source: str, seed: int) -> "Iterator[tuple[_Link, int]]":
        links = self._links_of(source)
        ends = np.cumsum([link.num_draws[source] for link in links])
        total = int(ends[-1])
        generator = random.Random(f"trained {source} {seed}")
        for number in generator.sample(range(total), min(total, MAX_DRAWS)):
            place = int(np.searchsorted(ends, number, side="right"))
            link = links[place]
            draw = number - int(ends[place]) + link.num_draws[source]
            if link.was_trained_on(source, draw):
                yield link, draw


class _Link:
    """One run of a chain, up to the step from which the next one went on."""

    def __init__(self, ancestor: Ancestor) -> None:
        self.reader = RunReader(ancestor.run, ancestor.config)
        self._batches = batch_sizes(ancestor.config)
        self._skipped = ancestor.run.skipped_steps()
        self._num_samples = self._batches.samples(ancestor.step)
        self._mixture = self.reader.dataset.mixture
        counts = self._mixture.counts(self._num_samples).tolist()
        names = self.reader.dataset.source_names
        self.num_draws = {name: n for name, n in zip(names, counts, strict=True) if n}
        """Samples of each source that were read."""

    def shard(self, source: str) -> TokenShard:
        """The training shard of a source."""
        return self.reader.dataset.source(source).shard

    def was_trained_on(self, source: str, draw: int) -> bool:
        """Whether the step of this draw was not passed over."""
        if not self._skipped:
            return True
        number = self.reader.dataset.source_names.index(source)
        sample = sample_of_draw(self._mixture, number, draw, self._num_samples)
        return self._batches.step_of(sample) + 1 not in self._skipped


def choose_held_out(shard: TokenShard, source: str, count: int, length: int, seed: int) -> Chosen:
    """Documents of a held-out shard that have `length` tokens, drawn evenly."""
    generator = random.Random(f"held out {source} {seed}")
    looked_at = min(shard.num_documents, MAX_DRAWS)
    passages: list[Passage] = []
    too_short = 0
    for document in generator.sample(range(shard.num_documents), looked_at):
        if len(passages) == count:
            break
        if _body_length(shard, document) < length:
            too_short += 1
        else:
            passages.append(_passage(shard, source, "held_out", document, length))
    return Chosen(passages, too_short)


def _body_length(shard: TokenShard, document: int) -> int:
    """Tokens of a document without its end-of-document token."""
    (first,), (length,) = shard.document_bounds(np.array([document]))
    stop = int(first + length)
    ends = length and int(shard.tokens(stop - 1, stop)[0]) == shard.manifest.end_of_document_id
    return int(length) - bool(ends)


def _passage(shard: TokenShard, source: str, split: Split, document: int, length: int) -> Passage:
    (first,), _ = shard.document_bounds(np.array([document]))
    tokens = shard.tokens(int(first), int(first) + length)
    return Passage(source, split, document, tokens.tolist())
