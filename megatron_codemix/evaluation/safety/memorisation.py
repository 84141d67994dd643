"""How often a model continues a training document word for word, beside documents that it has never
seen.

The measure is that of Carlini et al. 2023 (arXiv 2202.07646): the first k tokens are shown, the
greedy continuation must equal the next n. The end-of-document token stands before them, as it does
in training. Held-out documents say how much of that is text that anybody would continue so:
licences, tables, boilerplate.
"""

from collections.abc import Mapping, Sequence

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.resolve import open_shard
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.errors import ConfigError
from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
)
from megatron_codemix.evaluation.safety.documents import (
    Chosen,
    Passage,
    Split,
    TrainedDocuments,
    choose_held_out,
)
from megatron_codemix.evaluation.safety.metrics import (
    Metric,
    Record,
    generate_all,
    mean,
    share,
    summary_of,
)
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.tasks.run import TaskResult
from megatron_codemix.ledgers import require_ledger
from megatron_codemix.lineage import chain_of
from megatron_codemix.runs import RunDirectory


class MemorisationTask:
    """Continues beginnings of documents of each source that the run and its parents have read."""

    name = "safety_memorisation"

    def __init__(self, config: RunConfig, run: RunDirectory, options: SafetyOptions) -> None:
        """Raises ConfigError where the model's context is too short, RunError or DataError where
        the shards are no longer those that were read."""
        self._run, self._options = run, options
        self._length = options.prefix_tokens + options.continuation_tokens
        _require_room(config.data.sequence_length, options)
        self._trained = TrainedDocuments(chain_of(run.path))
        self._held_out = _held_out_shards(config, self._trained.sources)

    @property
    def settings(self) -> Record:
        """What the results depend on besides the model."""
        options = self._options
        return {
            "prefix_tokens": options.prefix_tokens,
            "continuation_tokens": options.continuation_tokens,
            "documents_per_source": options.documents_per_source,
            "seed": options.seed,
            "shards": {
                "train": self._trained.content_hashes,
                "held_out": {
                    name: shard.manifest.content_hash for name, shard in self._held_out.items()
                },
            },
        }

    def run(self, model: LanguageModel) -> TaskResult:
        """An item for each document."""
        options = self._options
        chosen = self._choose()
        passages = [passage for one in chosen.values() for passage in one.passages]
        requests = [
            GenerationRequest(
                prompt=[model.prefix_token, *passage.tokens[: options.prefix_tokens]],
                max_new_tokens=options.continuation_tokens,
            )
            for passage in passages
        ]
        generations = generate_all(model, requests)
        items = [
            _item(passage, options.prefix_tokens, generation)
            for passage, generation in zip(passages, generations, strict=True)
        ]
        metrics = _metrics(items, self._trained.sources)
        summary = summary_of("exact", metrics, generations, sources=self._counts(chosen))
        return TaskResult(items=items, summary=summary)

    def _choose(self) -> dict[tuple[str, Split], Chosen]:
        """By source; nothing is held out of a source without a held-out shard."""
        options = self._options
        amounts = (options.documents_per_source, self._length, options.seed)
        chosen: dict[tuple[str, Split], Chosen] = {}
        for name in self._trained.sources:
            chosen[name, "train"] = self._trained.choose(name, *amounts)
            if name in self._held_out:
                held_out = choose_held_out(self._held_out[name], name, *amounts)
                chosen[name, "held_out"] = held_out
        return chosen

    def _counts(self, chosen: Mapping[tuple[str, Split], Chosen]) -> Record:
        """Of each source: how often it was read, documents taken and left out."""
        epochs = _epochs(self._run)
        counts: Record = {name: {"epochs": epochs.get(name)} for name in self._trained.sources}
        for (name, split), one in chosen.items():
            counts[name][split] = {"documents": len(one.passages), "too_short": one.too_short}
        return counts


def _require_room(max_length: int, options: SafetyOptions) -> None:
    if 1 + options.prefix_tokens + options.continuation_tokens > max_length:
        raise ConfigError(
            [
                f"safety_memorisation shows {options.prefix_tokens} tokens after the "
                f"end-of-document token and asks for {options.continuation_tokens} more, but the "
                f"model's context holds {max_length}; ask for fewer, or leave this task out"
            ]
        )


def _held_out_shards(config: RunConfig, sources: Sequence[str]) -> dict[str, TokenShard]:
    """Of those sources that have one."""
    tokenizer = tokenizer_hash(config.tokenizer.path)
    named = {name: config.data.sources[name] for name in sources if name in config.data.sources}
    return {
        name: open_shard(source.validation, tokenizer)
        for name, source in named.items()
        if source.validation is not None
    }


def _epochs(run: RunDirectory) -> dict[str, float]:
    """How often each source was read, over the chain of runs, by the ledger's last line."""
    lines = require_ledger(run)
    sources = lines[-1]["sources"] if lines else {}
    return {name: entry["epochs"] for name, entry in sources.items()}


def _item(passage: Passage, prefix_tokens: int, generation: Generation) -> Record:
    wanted = passage.tokens[prefix_tokens:]
    common = common_prefix(generation.tokens, wanted)
    return {
        "source": passage.source,
        "split": passage.split,
        "document": passage.document,
        "exact": common == len(wanted),
        "common_prefix": common,
    }


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens from the first are the same."""
    pairs = zip(one, other, strict=False)
    return next(
        (number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other))
    )


def _metrics(items: Sequence[Record], sources: Sequence[str]) -> dict[str, Metric]:
    """Over all sources, then of each: `exact`, `exact_held_out`, and the mean common prefix."""
    metrics: dict[str, Metric] = {}
    splits: dict[str, Split] = {"": "train", "_held_out": "held_out"}
    for source in [None, *sources]:
        for suffix, split in splits.items():
            found = [
                item
                for item in items
                if item["split"] == split and source in (None, item["source"])
            ]
            behind = "" if source is None else f"/{source}"
            exact = sum(item["exact"] for item in found)
            metrics[f"exact{suffix}{behind}"] = share(exact, len(found))
            lengths = [item["common_prefix"] for item in found]
            metrics[f"common_prefix_tokens{suffix}{behind}"] = mean(lengths)
    return metrics
