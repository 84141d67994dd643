"""What `tokenizers` takes a character for, asked of its own splitters: its tables of Unicode are of
other versions than Python's."""

import unicodedata

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import CharacterClass

_LONG_S = "\u017f"  # an s where case is ignored: 's with it is a word of GPT-4's pattern
_HANGUL_VOWELS_AND_FINALS = range(0x1161, 0x1200)
_REGEX_OF_OTHERS = {
    CharacterClass.LETTER: r"[^\p{L}]+",
    CharacterClass.NUMBER: r"[^\p{N}]+",
    CharacterClass.SPACE: r"\S+",
}


def classify_characters(
    characters: str, *, isolates_digits: bool, composes: bool
) -> npt.NDArray[np.uint8]:
    """CharacterClass of each; DIGIT only if `isolates_digits`. `composes`: texts are normalised to
    NFC, so characters that it may change are REFUSED."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Digits, Split

    classes = np.full(len(characters), CharacterClass.OTHER, np.uint8)
    for kind, others in _REGEX_OF_OTHERS.items():
        for _, (start, stop) in Split(Regex(others), "removed").pre_tokenize_str(characters):
            classes[start:stop] = kind
    if isolates_digits:
        between_letters = "a" + "".join(f"{character}a" for character in characters)
        for _, (start, stop) in Digits(individual_digits=True).pre_tokenize_str(between_letters):
            if start % 2 == 1 and stop == start + 1:
                classes[start // 2] = CharacterClass.DIGIT
    for number, character in enumerate(characters):
        if character == _LONG_S or (composes and not _is_never_composed(character)):
            classes[number] = CharacterClass.REFUSED
    return classes


def _is_never_composed(character: str) -> bool:
    """Whether NFC leaves the character as it is, whatever stands beside it, in every version."""
    return (
        unicodedata.category(character)[0] not in "MC"  # marks; unassigned here
        and ord(character) not in _HANGUL_VOWELS_AND_FINALS
        and unicodedata.normalize("NFC", character) == character
    )
