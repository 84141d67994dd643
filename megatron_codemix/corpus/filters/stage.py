"""The stage that puts the sources of a corpus through their policies."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from megatron_codemix.corpus.document import MESSAGES, Document, JsonValue
from megatron_codemix.corpus.filters.policy import Policy, default_policy, load_policy, policy_names
from megatron_codemix.corpus.filters.programming_languages import programming_language
from megatron_codemix.corpus.filters.rule import Drop
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.errors import DataError
from megatron_codemix.ops.text import count_lines

CHANGED_CONVERSATION = "a conversation, whose text would be changed"
_VERSION = 2  # raise when the same policies would give other bytes


class FilterStage(Stage):
    """Keeps what the policy of a source keeps, repaired and masked as it says."""

    name = "filter"

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        """policies: of every source."""
        self._policies = dict(policies)

    def options(self) -> dict[str, JsonValue]:
        policies = {source: policy.to_json() for source, policy in self._policies.items()}
        # What a letter, a symbol or white space is, is Python's to say.
        unicode_version = unicodedata.unidata_version
        return {"version": _VERSION, "unicode": unicode_version, "policies": policies}

    def summary(self) -> dict[str, JsonValue]:
        """The policy of each source, and the rules of it by name."""
        rules = {
            source: ", ".join(rule.name for rule in policy.rules) or "no rule"
            for source, policy in self._policies.items()
        }
        return {
            "policies": {
                source: f"{policy.name} ({rules[source]})"
                for source, policy in self._policies.items()
            }
        }

    def load(self) -> None:
        count_lines("")  # its table of characters
        for policy in self._policies.values():
            for rule in policy.rules:
                rule.load()

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        policy = self._policies[part.source]
        for document in read_part(part, dropped):
            outcome = policy.apply(document)
            if isinstance(outcome, Drop):
                dropped.drop(document, outcome.reason, outcome.detail)
                continue
            if MESSAGES in document.metadata and outcome.document.text != document.text:
                # Its turns, which are what is learned, would still say the old text.
                dropped.drop(document, CHANGED_CONVERSATION, ", ".join(outcome.counts))
                continue
            for what, count in outcome.counts.items():
                dropped.change(what, count)
            dropped.tally("language", programming_language(outcome.document) or "unknown")
            yield outcome.document


def choose_policies(
    corpus: Path,
    sources: Sequence[str],
    chosen: Mapping[str, str],
    overrides: Mapping[str, Sequence[str]],
) -> dict[str, Policy]:
    """The policy of each source: the one chosen, by name or file, else that of the recipe which the
    corpus was made by, else the one that the source's name stands for.

    overrides: of a source, as `load_policy` takes them. Raises DataError with all problems.
    """
    of_recipe = _policies_of_recipe(corpus)
    policies, problems = {}, []
    for source in sources:
        name = chosen.get(source) or of_recipe.get(source) or default_policy(source)
        if name is None:
            problems.append(
                f"source {source!r}: no policy is known for it; choose one with --policy "
                f"{source}=NAME, NAME being {', '.join(policy_names())} or a file"
            )
            continue
        try:
            policies[source] = load_policy(name, overrides.get(source, ()))
        except DataError as error:
            problems += [f"source {source!r}: {problem}" for problem in error.problems]
    unknown = sorted({*chosen, *overrides} - set(sources))
    problems += [
        f"no source {source!r} to filter; there are {', '.join(sources)}"
        + (" (a rule is changed with --rule)" if "." in source else "")
        for source in unknown
    ]
    if problems:
        raise DataError(*problems)
    return policies


def _policies_of_recipe(corpus: Path) -> dict[str, str]:
    record = load_corpus(corpus)
    found: dict[str, str] = {}
    for stage in record.stages if record else ():
        if stage.name == "recipe":
            found |= {name: one["policy"] for name, one in stage.options["sources"].items()}
    return found
