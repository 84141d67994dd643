"""Whether a prepared shard is of a corpus's source: made of its files, or of the same documents."""

from dataclasses import dataclass

from megatron_codemix.corpus.statistics.source_counts import SourceCounts
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.units import format_bytes

CORPUS_HASH = "corpus_sha256"
"""Of a shard's origin: what `codemix data prepare` has read, as `store.hash_files` has it."""


@dataclass(frozen=True)
class CorpusSource:
    """A source of the corpus that is looked at. files_hash: as `store.hash_files` has it."""

    name: str
    files_hash: str

    def is_input_of(self, shard: Manifest) -> bool:
        """Whether the shard is on record to be made of its files."""
        return bool(shard.origin.get(CORPUS_HASH) == self.files_hash)


def difference(shard: Manifest, source: CorpusSource, counts: SourceCounts) -> str | None:
    """In which way the shard's text is not that of the source's documents for training; None where
    it is, as far as numbers tell. Bytes of rendered conversations are no bytes of the corpus."""
    if source.is_input_of(shard):
        return None
    has_bytes = shard.answers is None
    told = (shard.num_documents, shard.num_bytes if has_bytes else None)
    if told == (counts.train_documents, counts.train_bytes if has_bytes else None):
        return None
    fraction = shard.origin.get("validation_fraction")
    held_out = counts.options.validation_fraction
    of_shard = _words(shard.num_documents, shard.num_bytes, fraction)
    return f"{of_shard}; in this corpus, " + _words(
        counts.train_documents, counts.train_bytes, held_out
    )


def _words(num_documents: int, num_bytes: int, held_out: object) -> str:
    text = f"{num_documents:,} documents with {format_bytes(num_bytes)} of text"
    return text if held_out is None else f"{text} at validation fraction {held_out:g}"
