"""Texts for prompts: what `codemix generate` writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.evaluation.engine.requests import Generation, LanguageModel
from megatron_codemix.evaluation.sampling import Sampling
from megatron_codemix.evaluation.turns import Turns


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One continuation of one prompt; the fields are those of a line of JSON."""

    number: int
    """Of the prompt, from 1."""
    sample: int
    """Of its continuations, from 1."""
    prompt: str
    completion: str
    finish_reason: Literal["stop", "length", "end"]
    tokens: int
    """New ones."""
    cut_prompt_tokens: int
    """Of the prompt, from its beginning, that the model could not see."""


def complete(
    model: LanguageModel,
    prompts: Sequence[str],
    sampling: Sampling,
    num_samples: int,
    on_completion: Callable[[Completion], None],
    template: ChatTemplate | None = None,
) -> list[Completion]:
    """All completions in the order of the prompts; `on_completion` has each as it comes.

    template: prompts are what a user says, and completions what is answered. Raises DataError: a
    prompt that the template refuses.
    """
    turns = None if template is None else Turns(template, model.tokenizer)
    if turns is None:
        tokens = [prompt.tolist() for prompt in model.tokenizer.encode_batch(prompts)]
    else:
        tokens = [turns.prompt([{"role": "user", "content": text}]) for text in prompts]
        sampling = replace(sampling, stop=(*sampling.stop, turns.stop))
    requests = [request for prompt in tokens for request in sampling.requests(prompt, num_samples)]
    found: dict[int, Completion] = {}

    def on_result(index: int, generation: Generation) -> None:
        number, sample = divmod(index, num_samples)
        found[index] = Completion(
            number=number + 1,
            sample=sample + 1,
            prompt=prompts[number],
            completion=generation.text if turns is None else turns.answer(generation.text),
            finish_reason=generation.finish_reason,
            tokens=len(generation.tokens),
            cut_prompt_tokens=generation.num_cut,
        )
        on_completion(found[index])

    model.generate(requests, on_result)
    return [found[index] for index in range(len(requests))]
