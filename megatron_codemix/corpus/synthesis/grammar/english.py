"""Words of a tree: subjects, verbs that agree, relative clauses and conditions of one test.

In templates `<is>`, `<ends>`, `<has>` agree with the subject; `<a multiple|multiples>` gives the
singular and the plural.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_IRREGULAR = {"is": "are", "has": "have", "does": "do", "was": "were", "its": "their", "it": "they"}
_TOKEN = re.compile(r"<([^<>]+)>")


@dataclass(frozen=True)
class Subject:
    """What a variable is called: "the number", and whether "it" is clear enough for it."""

    phrase: str
    is_pronoun_clear: bool = False

    def possessive(self) -> str:
        if self.phrase == "it":
            return "its"
        return f"{self.phrase}'" if self.phrase.endswith("s") else f"{self.phrase}'s"

    def is_long(self) -> bool:
        """Whether it is not plain where a possessive, or what follows, belongs to."""
        return " of " in self.phrase


Subjects = Mapping[str, Subject]
"""By name of the variable."""


def conjugate(text: str, *, is_plural: bool) -> str:
    def form(match: re.Match[str]) -> str:
        word = match[1]
        if "|" in word:
            return word.split("|")[is_plural]
        if not is_plural:
            return word
        return _IRREGULAR.get(word) or word.removesuffix("s")

    return _TOKEN.sub(form, text)


@dataclass(frozen=True)
class Part:
    """One test in words. "that": `text` is a verb phrase of the item ("<is> even"). "whose": a
    clause after a possessive ("last digit is 7"). "when": a whole clause of its own."""

    kind: Literal["that", "whose", "when"]
    text: str
    subject: str = ""
    """What the test is about, where "it" would not be clear."""

    def verb(self) -> str:
        """What a next test with the same verb may leave out."""
        return self.text.partition(" ")[0] if self.kind == "that" else ""

    def is_negative(self) -> bool:
        """Then nothing may be left out behind it: "is not even or prime" would say something
        else."""
        words = (" not ", " no ", " without ")
        return any(one in self.text for one in words) or self.text.startswith("<does>")

    def is_of_another(self) -> bool:
        """Whether it is about neither the item nor something of the item's."""
        return bool(self.subject) and not self.subject.startswith("its ")

    def behind_noun(self) -> "Part":
        """ "its total" of a subject becomes "whose total"."""
        if not self.subject:
            return self
        own = self.subject.removeprefix("its ")
        text = conjugate(self.text, is_plural=False)
        return Part("whose", f"{own} {text}" if self.kind == "that" else f"{own}'s {text}")


@dataclass(frozen=True)
class Condition:
    """Tests in words, joined by one word."""

    parts: tuple[Part, ...]
    word: Literal["and", "or"] = "and"

    def relative(self, *, is_plural: bool) -> str:
        """Behind a noun: "that are even", "whose last digit is 7"."""
        if any(part.kind == "when" or part.is_of_another() for part in self.parts):
            return f"for which {self.clause()}"
        texts: list[str] = []
        verb = ""
        for part in map(Part.behind_noun, self.parts):
            own = part.verb()
            text = f"{part.kind} {part.text}"
            if own and verb:
                text = part.text.removeprefix(f"{own} ") if own == verb else part.text
            texts.append(text)
            verb = "" if part.is_negative() else own
        return conjugate(self._joined(texts), is_plural=is_plural)

    def clause(self, subject: str = "it") -> str:
        """Behind "if": "it is even", "its last digit is 7", "the number is even"."""
        texts: list[str] = []
        verb, said = "", subject
        for part in self.parts:
            own = part.verb()
            own, said = ("", part.subject) if part.subject else (own, said)
            text = part.text
            if part.kind == "whose":
                text = f"{Subject(said).possessive()} {part.text}"
            elif part.kind == "that":
                text = f"{said} {part.text}"
                if verb:
                    text = part.text.removeprefix(f"{own} ") if own == verb else part.text
            texts.append(text)
            verb = "" if part.is_negative() else own
            said = "it" if part.kind != "when" else said
        return conjugate(self._joined(texts), is_plural=False)

    def _joined(self, texts: list[str]) -> str:
        return f" {self.word} ".join(texts)


def listed(parts: list[str], word: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def sentence(text: str) -> str:
    """With a capital letter, unless code begins it, and a full stop."""
    text = text.strip()
    start = text[0].upper() if not text.startswith("`") else text[0]
    end = "" if text.endswith((".", ":", "!", "?")) else "."
    return f"{start}{text[1:]}{end}"


def count_word(number: int) -> str:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if 0 <= number <= 10 else str(number)


def ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return words[number - 1] if number <= len(words) else f"{number}th"


def with_article(noun: str) -> str:
    """ "a town", "an island"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """ "towns", "cities", "classes", "people"."""
    if noun == "person":
        return "people"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
