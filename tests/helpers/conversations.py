"""Conversations of every kind of text, and what `transformers` makes of them."""

import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from megatron_codemix.corpus.instructions.build import InstructionFiles, build_instructions
from megatron_codemix.corpus.instructions.template import CHATML_TOKENS, ChatTemplate

END = "<|endoftext|>"
_TEXTS = (
    *("hello", "What is 12 + 30?", "42", "  indented", "\n\nlines\n", "def f(x):\n    return x\n"),
    *("caf\u00e9 na\u00efve", "e\u0301 decomposed", "\u4f60\u597d\u3002", "\U0001f600 smile"),
    *("User: me\nAssistant: you", "tail ", "\ttab", "a:b; (c)", "\u0338 mark", "..."),
)


def random_chats(
    count: int, seed: int = 0, longest: int = 6, spelled: Sequence[str] = ()
) -> list[list[dict[str, str]]]:
    """Turns of user and assistant, some with a system message. spelled: special tokens that
    messages spell."""
    rng = random.Random(seed)
    texts = [*_TEXTS, *spelled]

    def text() -> str:
        return " ".join(rng.choices(texts, k=rng.randint(1, longest))) + str(rng.randint(0, 999))

    chats = []
    for _ in range(count):
        chat = [{"role": "system", "content": text()}] * rng.randint(0, 1)
        for _ in range(rng.randint(1, 3)):
            chat += [{"role": role, "content": text()} for role in ("user", "assistant")]
        chats.append(chat)
    return chats


def write_conversations(
    folder: Path, source: str, chats: Sequence[Sequence[dict[str, str]]]
) -> None:
    """A source of the corpus folder, its ids the numbers of the chats."""
    path = folder.parent / f"{source}.chats.jsonl"
    lines = [
        json.dumps({"id": str(n), "origin": f"{source}{n}", "messages": chat})
        for n, chat in enumerate(chats)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    build_instructions(folder, InstructionFiles(patterns=[str(path)], source=source))


def write_merging_tokenizer(
    path: Path, *, splits_words: bool = True, composes: bool = False
) -> None:
    """A byte-level BPE with ChatML's tokens, trained on the texts above. splits_words: else tokens
    go over spaces, line ends and the edges of answers. composes: texts become NFC first."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splits_words)
    backend.decoder = decoders.ByteLevel()
    if composes:
        backend.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[END, *CHATML_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [
        "".join(f"{one['role'].title()}: {one['content']}\n" for one in chat)
        for chat in random_chats(400, seed=99)
    ]
    backend.train_from_iterator(texts, trainer)
    path.parent.mkdir(parents=True, exist_ok=True)
    backend.save(str(path))


def transformers_tokenizer(path: Path, template: ChatTemplate) -> Any:
    """Hugging Face's tokenizer of a tokenizer.json and a chat template."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast(
            tokenizer_file=str(path),
            chat_template=template.source,
            bos_token=END,
            eos_token=END,
            clean_up_tokenization_spaces=False,
        )


def transformers_tokens(
    tokenizer: Any, chat: Sequence[dict[str, str]], **options: Any
) -> tuple[list[int], list[int]]:
    """(tokens, assistant mask) of `apply_chat_template`."""
    made = tokenizer.apply_chat_template(
        [dict(one) for one in chat],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        **options,
    )
    return made["input_ids"], made["assistant_masks"]
