"""Whether the sources of a run that learns answers alone are conversations, all of one chat
template."""

from collections.abc import Mapping

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.corpus.instructions.template import ChatTemplate, tokenizers_template
from megatron_codemix.data.shards.manifest import Manifest


def conversation_problems(config: RunConfig, manifests: Mapping[str, Manifest]) -> list[str]:
    """What keeps a run of `train.stage: instruct` from starting; [] for any other.

    manifests: of the training shards of sources that the run reads. Their template must be the
    tokenizer's where it has one of its own. Raises DataError where that is none.
    """
    if config.train.stage != "instruct":
        return []
    problems = [
        f"data.sources.{name}.train: {config.data.sources[name].train} holds no conversations, and "
        "train.stage: instruct learns answers alone; make its corpus with `codemix corpus "
        "instructions` and prepare it again"
        for name, manifest in manifests.items()
        if manifest.answers is None
    ]
    templates = {name: one.answers.chat_template for name, one in manifests.items() if one.answers}
    if len({one.hash for one in templates.values()}) > 1:
        listed = ", ".join(f"{name} {_named(one)}" for name, one in sorted(templates.items()))
        problems.append(
            "data.sources: their conversations were rendered by different chat templates "
            f"({listed}); prepare them with one (--chat-template)"
        )
    own = tokenizers_template(config.tokenizer.path)
    problems += [
        f"data.sources.{name}.train: rendered by the chat template {_named(one)}, and the "
        f"tokenizer has its own, {_named(own)} beside it; prepare the conversations again, or "
        "remove that file"
        for name, one in sorted(templates.items())
        if own is not None and one.hash != own.hash
    ]
    return problems


def template_of(config: RunConfig, manifests: Mapping[str, Manifest]) -> ChatTemplate | None:
    """Of the conversations whose answers alone are learned; None where all tokens are. To be asked
    where there are no `conversation_problems`."""
    if config.train.stage != "instruct":
        return None
    found = [manifest.answers for manifest in manifests.values() if manifest.answers]
    return found[0].chat_template


def _named(template: ChatTemplate) -> str:
    return f"{template.name} ({template.hash[:8]})"
