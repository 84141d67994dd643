"""Sample number -> tokens: the order within each source, and the mixture of sources on top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megatron_codemix.data.batches import Batch
from megatron_codemix.data.documents import positions_in_documents
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.order.megatron import SourceOrder
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.errors import DataError


@dataclass(frozen=True)
class SourceSpec:
    """One source: its name in the mixture, and the prefix of its token shard."""

    name: str
    prefix: Path


class DocumentSpan(NamedTuple):
    """Tokens first_token .. last_token (both included, from 0) of a document of a source."""

    source: str
    document: int
    first_token: int
    last_token: int


class MixtureDataset:
    """Samples of one phase: a mixture of sources that go on where they stood.

    Sample i (from 0, the phase's start) is a pure function of the arguments and i: the mixture
    names its source and how often this was drawn since the start, `start_cursors` where that source
    stood. Each draw takes the source's next sample, so nothing is skipped and nothing read twice
    within an epoch when weights change.
    """

    def __init__(
        self,
        sources: Sequence[SourceSpec],
        plan: MixturePlan,
        start_cursors: Mapping[str, int],
        sequence_length: int,
        seed: int,
        document_mask: bool = False,
    ) -> None:
        """Opens the shards of all sources that the plan reads.

        start_cursors: samples that each source has given before this phase; absent is 0, and
        names that the plan does not read are handed on.
        document_mask: batches have document_ids, and positions from each document's start.
        Raises DataError on an unknown name, a damaged shard or one too short, or shards of
        different tokenizers.
        """
        self.mixture = Mixture(plan)
        self.source_names = self.mixture.source_names
        self.sequence_length = sequence_length
        self.document_mask = document_mask
        self._start_cursors = {**dict.fromkeys(self.source_names, 0), **start_cursors}
        prefixes = {spec.name: spec.prefix for spec in sources}
        _check_names(prefixes, len(sources), self.source_names, self._start_cursors)
        shards = {name: TokenShard.open(prefixes[name]) for name in self.source_names}
        _check_one_tokenizer(shards)
        self._orders = {
            name: SourceOrder(shard, sequence_length, seed) for name, shard in shards.items()
        }
        self.samples_per_epoch = {
            name: order.samples_per_epoch for name, order in self._orders.items()
        }
        """By name, of the sources that the plan reads."""

    def locate(self, i: int) -> tuple[str, int]:
        """(source name, its cursor) of sample `i`."""
        source, draw = self.mixture.locate(i)
        name = self.source_names[source]
        return name, self._start_cursors[name] + draw

    def cursors_after(self, num_samples: int) -> dict[str, int]:
        """Where each source stands after the phase's first `num_samples` samples.

        Holds every name of the mixture and of start_cursors: the start_cursors of what comes next.
        """
        counts = dict(
            zip(self.source_names, self.mixture.counts(num_samples).tolist(), strict=True)
        )
        return {name: cursor + counts.get(name, 0) for name, cursor in self._start_cursors.items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples with these numbers, in this order. Raises DataError on damaged data."""
        source_id, draws = self.mixture.locate_many(np.asarray(indices, np.int64))
        shape = (len(source_id), self.sequence_length)
        tokens = np.empty(shape, np.int64)
        labels = np.empty(shape, np.int64)
        document_ids = np.empty(shape, np.int64) if self.document_mask else None
        for number in np.unique(source_id).tolist():
            name = self.source_names[number]
            rows = np.flatnonzero(source_id == number)
            stream, windows = self._orders[name].read(self._start_cursors[name] + draws[rows])
            tokens[rows] = stream[:, :-1]
            labels[rows] = stream[:, 1:]
            if document_ids is not None:
                documents = np.repeat(windows.document, windows.length)
                document_ids[rows] = documents.reshape(stream.shape)[:, 1:]
        if document_ids is None:
            position_ids = np.tile(np.arange(self.sequence_length), (len(source_id), 1))
        else:
            position_ids = positions_in_documents(document_ids)
        return Batch(
            tokens=tokens,
            labels=labels,
            loss_mask=np.ones(shape, np.float32),
            position_ids=position_ids,
            document_ids=document_ids,
            source_id=source_id,
        )

    def documents(self, i: int) -> list[DocumentSpan]:
        """What sample `i` is made of, in order; its last token is the last label."""
        name, cursor = self.locate(i)
        parts = self._orders[name].window(cursor)
        lasts = parts.first + parts.length - 1
        return [
            DocumentSpan(name, document, first, last)
            for document, first, last in zip(
                parts.document.tolist(), parts.first.tolist(), lasts.tolist(), strict=True
            )
        ]


def _check_names(
    prefixes: Mapping[str, Path],
    num_specs: int,
    wanted: Sequence[str],
    start_cursors: Mapping[str, int],
) -> None:
    if len(prefixes) != num_specs:
        raise DataError(f"two sources have the same name (names: {', '.join(sorted(prefixes))})")
    unknown = sorted(set(wanted) - set(prefixes))
    if unknown:
        raise DataError(
            f"the mixture names {', '.join(map(repr, unknown))}, which no source is called "
            f"(sources: {', '.join(sorted(prefixes))}); correct the name or add the source"
        )
    negative = {name: cursor for name, cursor in start_cursors.items() if cursor < 0}
    if negative:
        raise DataError(f"cursors must not be negative, got {negative}")


def _check_one_tokenizer(shards: Mapping[str, TokenShard]) -> None:
    hashes = {name: shard.manifest.tokenizer_hash for name, shard in shards.items()}
    if len(set(hashes.values())) > 1:
        listing = ", ".join(f"{name}: {digest[:12]}" for name, digest in sorted(hashes.items()))
        raise DataError(
            f"the sources were prepared with different tokenizers ({listing}); prepare them again "
            "with one"
        )
