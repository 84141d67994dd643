"""How fast sources go through their policies, and the rules for prose beside datatrove's."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shutil import rmtree

from megatron_codemix.bench.corpus.filters_peer import peer_rules
from megatron_codemix.bench.corpus.setting import Setting, megabytes_per_second, texts_of
from megatron_codemix.bench.measure import Cost, Trial, alternate
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.policy import Policy
from megatron_codemix.corpus.filters.registry import RULES
from megatron_codemix.corpus.filters.rule import Drop
from megatron_codemix.corpus.filters.stage import FilterStage, choose_policies
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.store import source_files, source_sizes
from megatron_codemix.corpus.writer import utf8_bytes


def filters(setting: Setting) -> Iterator[Row]:
    """A row for each source, then the rules that datatrove has too."""
    corpus = setting.local_corpus()
    files = source_files(corpus)
    sizes = source_sizes(corpus, files)
    policies = choose_policies(corpus, list(files), {}, {})
    trials = {
        source: _trial(setting, corpus, source, policy) for source, policy in policies.items()
    }
    costs = alternate(trials, setting.repeats)
    for source, policy in policies.items():
        yield Row(
            name=f"filters: {source}, policy {policy.name}",
            ours=megabytes_per_second(sizes[source], costs[source]),
            peer=None,
            unit="MB/s",
            is_rate=True,
            goal=Goal(at_least=20),
            note=f"{sizes[source] / 1e6:.1f} MB of text, a core, reading and writing included; "
            f"median of {setting.repeats}",
            ours_system_seconds=costs[source].system,
        )
    prose = [source for source, policy in policies.items() if policy.name == "prose"]
    documents = texts_of(corpus)
    yield from _beside_peer(setting, [one for source in prose for one in documents[source]])


def _trial(setting: Setting, corpus: Path, source: str, policy: Policy) -> Trial:
    stage = FilterStage({source: policy})
    stage.load()
    out = setting.folder / "filtered"
    return Trial(
        lambda: run_stage(stage, corpus, out, sources=[source]),
        before=lambda: rmtree(out, ignore_errors=True),
    )


def _beside_peer(setting: Setting, documents: list[Document]) -> Iterator[Row]:
    if not documents:
        return
    rules = {
        "gopher_quality": {},
        "gopher_repetition": {},
        "c4": {"lines_end_sentences": False, "min_words_in_line": 0},
    }
    policy = Policy("peer", tuple(RULES[name].model_validate(rules[name]) for name in rules))
    texts = [one.text for one in documents]
    with peer_rules() as keeps:
        costs = alternate(
            {
                "ours": Trial(partial(_verdicts, policy, documents)),
                "peer": Trial(lambda: list(map(keeps, texts))),
            },
            setting.repeats,
        )
        theirs = list(map(keeps, texts))
    ours = _verdicts(policy, documents)
    num_bytes = sum(map(utf8_bytes, texts))
    differing = sum(one != other for one, other in zip(ours, theirs, strict=True))
    yield _row(num_bytes, costs, f"of {len(documents):,} verdicts {differing} differ")


def _row(num_bytes: int, costs: dict[str, Cost], verdicts: str) -> Row:
    return Row(
        name="filters: Gopher's two and C4's, texts in memory",
        ours=megabytes_per_second(num_bytes, costs["ours"]),
        peer=megabytes_per_second(num_bytes, costs["peer"]),
        unit="MB/s",
        is_rate=True,
        note=f"peer: datatrove's with words split at white space; {verdicts}",
        ours_system_seconds=costs["ours"].system,
        peer_system_seconds=costs["peer"].system,
    )


def _verdicts(policy: Policy, documents: list[Document]) -> list[bool]:
    return [not isinstance(policy.apply(one), Drop) for one in documents]
