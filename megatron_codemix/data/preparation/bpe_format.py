"""Which tokenizer.json files our own encoder reads, and what it needs of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from megatron_codemix.ops import AddedToken, AddedTokenRole, WordPattern

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = {  # as their tokenizer.json files spell them
    _GPT2: WordPattern(is_gpt4=False, numbers_at_once=1, isolates_digits=False),
    _GPT4: WordPattern(is_gpt4=True, numbers_at_once=3, isolates_digits=False),  # also Llama 3
    _GPT4.replace("{1,3}", ""): WordPattern(  # Qwen 2
        is_gpt4=True, numbers_at_once=1, isolates_digits=False
    ),
}
_MERGES_FROM_BYTES = {  # of the model, what our encoder expects
    "dropout": (None, 0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
}


class BpeFormat(NamedTuple):
    """`composes`: texts are normalised to NFC. The rest as of ops.BpeEncoder."""

    pattern: WordPattern
    composes: bool
    keeps_known_words: bool
    early_tokens: list[AddedToken]
    late_tokens: list[AddedToken]


def read_format(
    record: Mapping[str, Any], *, matches_special_tokens: bool
) -> BpeFormat | None:  # Any: JSON
    """`record`: tokenizer.json. None where it has a pattern, a normalizer or an option that only
    `tokenizers` knows."""
    model, normalizer = record["model"], record.get("normalizer")
    pattern = _pattern(_steps(record.get("pre_tokenizer")))
    added = [entry for entry in record.get("added_tokens") or [] if entry["content"]]
    if (
        model.get("type", "BPE") != "BPE"
        or any(model.get(name) not in known for name, known in _MERGES_FROM_BYTES.items())
        or normalizer not in (None, {"type": "NFC"})
        or pattern is None
        or record.get("truncation") is not None
        or record.get("padding") is not None
        or any(len(entry["content"].encode()) < 2 for entry in added)
    ):
        return None
    tokens = [_added_token(entry, matches_special_tokens) for entry in added]
    is_late = [bool(entry.get("normalized")) for entry in added]
    return BpeFormat(
        pattern=pattern,
        composes=normalizer is not None,
        keeps_known_words=bool(model.get("ignore_merges")),
        early_tokens=[token for token, late in zip(tokens, is_late, strict=True) if not late],
        late_tokens=[token for token, late in zip(tokens, is_late, strict=True) if late],
    )


def merges_of(record: Mapping[str, Any]) -> list[Sequence[str]]:
    """Pairs, which older files spell as one text."""
    return [pair.split(" ") if type(pair) is str else pair for pair in record["model"]["merges"]]


def _steps(pre_tokenizer: Any) -> list[dict[str, Any]]:
    """One after another, sequences laid open."""
    if pre_tokenizer is None:
        return []
    if pre_tokenizer["type"] == "Sequence":
        return [step for part in pre_tokenizer["pretokenizers"] for step in _steps(part)]
    return [pre_tokenizer]


def _pattern(steps: list[dict[str, Any]]) -> WordPattern | None:
    isolates_digits = bool(steps) and steps[0] == {"type": "Digits", "individual_digits": True}
    steps = steps[isolates_digits:]
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    splits_itself = steps[-1].get("use_regex", True)
    match steps[:-1]:
        case [] if splits_itself:
            regex = _GPT2
        case [
            {
                "type": "Split",
                "pattern": {"Regex": str(regex)},
                "behavior": "Isolated",
                "invert": False,
            }
        ] if not splits_itself:
            pass
        case _:
            return None
    pattern = _PATTERNS.get(regex)
    return pattern and pattern._replace(isolates_digits=isolates_digits)


def _added_token(entry: Mapping[str, Any], matches_special_tokens: bool) -> AddedToken:
    is_plain = not any(entry.get(name) for name in ("single_word", "lstrip", "rstrip"))
    # One that is normalised first is found where the text spells what it becomes.
    is_as_spelled = entry["content"].isascii() or not entry.get("normalized")
    if entry.get("special") and not matches_special_tokens:
        role = AddedTokenRole.TEXT
    else:
        role = AddedTokenRole.TOKEN if is_plain and is_as_spelled else AddedTokenRole.REFUSED
    return AddedToken(entry["content"], int(entry["id"]), role)
