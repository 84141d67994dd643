"""How often each run of a study reads each source of a corpus."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from megatron_codemix.config.plan import phase_samples
from megatron_codemix.corpus.statistics.source_counts import SourceCounts
from megatron_codemix.data.mixture.describe import MAX_EPOCHS
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import Json
from megatron_codemix.report.corpus_statistics.shards import CorpusSource, difference
from megatron_codemix.report.corpus_statistics.tokens import (
    SourceTokens,
    estimates_of,
    tokens_of_shard,
)
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.outlook import chain_epochs, chain_tokens, planned_samples
from megatron_codemix.study.tree import StudyTree


@dataclass(frozen=True)
class TokenQuestion:
    """What is asked about tokens: of a study (with identities, so its data was looked for), of one
    tokenizer, or of a study by another tokenizer than its own where shards are not there yet.

    files_hashes: of each source of the corpus, by which its shards are known; as
    `store.hash_files` has them.
    """

    tree: StudyTree | None
    tokenizer: Tokenizer | None
    files_hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_sample(self) -> bool:
        """Whether text has to be drawn while the corpus is read."""
        if self.tokenizer is not None:
            return True
        return self.tree is not None and bool(_unprepared(self.tree) or _foreign(self))


def token_question(
    tree: StudyTree | None, tokenizer: Path | None, files_hashes: Mapping[str, str]
) -> TokenQuestion | None:
    """None where nothing is asked. files_hashes: of each source of the corpus.

    Raises DataError: a source that neither the corpus nor a prepared shard has, shards and
    tokenizer both missing, no tokenizer.
    """
    if tree is None:
        return None if tokenizer is None else TokenQuestion(None, Tokenizer.load(tokenizer))
    unprepared = _unprepared(tree)
    unknown = sorted(set(unprepared) - set(files_hashes))
    if unknown:
        raise DataError(
            f"study {tree.spec.name}: reads {', '.join(map(repr, unknown))}, which the corpus does "
            f"not have (it has {', '.join(sorted(files_hashes))}), and there is no prepared shard "
            f"of it ({unprepared[unknown[0]]}); name the corpus that has it, or prepare it first"
        )
    if tokenizer is not None:
        return TokenQuestion(tree, Tokenizer.load(tokenizer), files_hashes)
    missing = [path for path in _tokenizers(tree) if not path.is_file()]
    if unprepared and missing:
        raise DataError(
            f"study {tree.spec.name}: {missing[0]} is not there, and neither are the shards of "
            f"{', '.join(sorted(unprepared))}, so their tokens cannot be told; make it with "
            "`codemix data tokenizer`, or name one like it with --tokenizer"
        )
    return TokenQuestion(tree, None, files_hashes)


def answer(question: TokenQuestion, counts: Mapping[str, SourceCounts]) -> dict[str, Json]:
    """Tokens of each source, and with a study the epochs of each of its phases."""
    if question.tree is None:
        assert question.tokenizer is not None
        estimates = estimates_of(counts, question.tokenizer)
        return {
            "tokenizer": str(question.tokenizer.path),
            "sources": {name: one.to_json() for name, one in estimates.items()},
            "other_shards": [],
            "study": None,
        }
    known = _Known(question, counts)
    runs = [_run(known, node) for node in question.tree.nodes.values()]
    sources: dict[str, Json] = {}
    for node in question.tree.nodes.values():
        for name in planned_samples(node):
            sources.setdefault(name, known.tokens(node, name).to_json())
    return {
        "tokenizer": known.tokenizers_used,
        "sources": dict(sorted(sources.items())),
        "other_shards": list(known.other_shards.values()),
        "study": {
            "name": question.tree.spec.name,
            "token_scale": float(question.tree.spec.token_scale),
            "runs": runs,
            "warnings": [line for run in runs for line in _warnings(run)],
        },
    }


class _Known:
    """Tokens of each source for a phase; each is found out once."""

    def __init__(self, question: TokenQuestion, counts: Mapping[str, SourceCounts]) -> None:
        assert question.tree is not None
        self.tree = question.tree
        self.other_shards: dict[Path, str] = {}
        """Shards of other text than the corpus's, and what is said about each."""
        self._own = question.tokenizer
        self._hashes = question.files_hashes
        self._counts = counts
        self._estimates: dict[Path, dict[str, SourceTokens]] = {}

    def tokens(self, node: PhaseNode, source: str) -> SourceTokens:
        """Of the shard that is read, where it is the corpus's; else of the corpus."""
        manifest = _manifest(self.tree, node, source)
        if manifest is None:
            return self._estimated(node, source)
        if source not in self._hashes:
            return tokens_of_shard(manifest)
        of_corpus = CorpusSource(source, self._hashes[source])
        differs = difference(manifest, of_corpus, self._counts[source])
        if differs is None:
            return tokens_of_shard(manifest)
        has_tokenizer = self._own is not None or node.config.tokenizer.path.is_file()
        taken = "an estimate of this corpus" if has_tokenizer else "the shard's"
        prefix = node.config.data.sources[source].train
        self.other_shards[prefix] = (
            f"{source}: the shard {prefix} is not of this corpus ({differs}). The tokens and "
            f"epochs here are {taken}; a run reads the shard. Prepare this corpus, name the one "
            "that the shard was made of, or give --validation-fraction as it was"
        )
        if has_tokenizer:
            return self._estimated(node, source)
        return tokens_of_shard(manifest, known_from="shard of other text")

    def _estimated(self, node: PhaseNode, source: str) -> SourceTokens:
        tokenizer = self._own or node.config.tokenizer.path
        path = tokenizer.path if isinstance(tokenizer, Tokenizer) else tokenizer
        if path not in self._estimates:
            loaded = tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer.load(tokenizer)
            self._estimates[path] = estimates_of(self._counts, loaded)
        return self._estimates[path][source]

    @property
    def tokenizers_used(self) -> str | None:
        """Of the estimates; None where there are none."""
        return ", ".join(map(str, self._estimates)) or None


def _run(known: _Known, node: PhaseNode) -> dict[str, Json]:
    """A phase: what it reads, and what its chain has read by its end."""
    length = node.config.data.sequence_length
    own = {name: samples * length for name, samples in planned_samples(node).items()}
    by_shards = chain_epochs(known.tree, node)
    sources = {}
    for name, read in chain_tokens(known.tree, node).items():
        has = known.tokens(_reader(known.tree, node, name), name)
        epochs = by_shards[name]
        if epochs is None or has.known_from == "sample":
            epochs = read / has.tokens if has.tokens else None
        sources[name] = {
            "tokens_in_phase": round(own.get(name, 0.0)),
            "tokens_in_chain": round(read),
            "tokens_of_source": round(has.tokens),
            "known_from": has.known_from,
            "epochs": epochs,
            "epochs_error": None if epochs is None else epochs * has.error / max(has.tokens, 1.0),
            "is_repeated_often": epochs is None or epochs > MAX_EPOCHS,
        }
    return {
        "run": node.label,
        "cell": node.cell,
        "phase": node.name,
        "starts_from": node.parent,
        "tokens": phase_samples(node.config) * length,
        "sources": sources,
    }


def _reader(tree: StudyTree, node: PhaseNode, source: str) -> PhaseNode:
    """The last phase of the chain that reads the source."""
    return next(one for one in reversed(tree.chain(node)) if source in planned_samples(one))


def _warnings(run: Mapping[str, Json]) -> list[str]:
    lines = []
    for name, source in run["sources"].items():
        if source["epochs"] is None:
            lines.append(f"{run['run']}: reads {name}, which has no document")
        elif source["is_repeated_often"]:
            lines.append(f"{run['run']}: {name} is read {source['epochs']:.1f} times by its end")
    return lines


def _manifest(tree: StudyTree, node: PhaseNode, source: str) -> Manifest | None:
    return tree.inventory.manifest(node.config.data.sources[source].train)


def _unprepared(tree: StudyTree) -> dict[str, Path]:
    """Sources that some phase reads and whose shard is not there -> the shard."""
    return {
        name: node.config.data.sources[name].train
        for node in tree.nodes.values()
        for name in planned_samples(node)
        if _manifest(tree, node, name) is None
    }


def _foreign(question: TokenQuestion) -> list[str]:
    """Sources of the corpus that some phase reads, from a shard that is not on record to be made of
    the corpus's files."""
    assert question.tree is not None
    return [
        name
        for node in question.tree.nodes.values()
        for name in planned_samples(node)
        if (manifest := _manifest(question.tree, node, name)) is not None
        and name in question.files_hashes
        and not CorpusSource(name, question.files_hashes[name]).is_input_of(manifest)
    ]


def _tokenizers(tree: StudyTree) -> list[Path]:
    return list(dict.fromkeys(node.config.tokenizer.path for node in tree.nodes.values()))
