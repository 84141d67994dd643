"""The rules of C4 for prose: lines that are left out, and pages that are dropped."""

import re
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.rule import Changed, Drop, Kind, Rule, Verdict, around
from megatron_codemix.ops.text import count_lines, count_words

_CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
_SENTENCE_ENDS = (".", "?", "!", '"', "'")
_POLICIES = ("terms of use", "privacy policy")
_COOKIES = ("cookie policy", "uses cookies", "use of cookies", "use cookies")


class C4(Rule):
    """C4's rules, with datatrove's numbers: 5 sentences, 3 words a line, as one text of the paper
    has them (another, and the released code, have 3 and 5). The list of bad words is not part.

    Same verdicts and lines as datatrove's C4QualityFilter, except that a kept line keeps the white
    space at its beginning, and that a line which ends in a citation is judged by what stands before
    the white space in front of it. A sentence ends with a word that ends in . ! or ?, closing
    quotes and brackets aside, or with its line: no list of abbreviations is asked.
    """

    name: ClassVar[str] = "c4"
    kind: ClassVar[Kind] = "prose"
    source: ClassVar[str] = "arXiv 1910.10683, section 2.2"

    lines_end_sentences: bool = True
    """Leaves out the lines that do not end as a sentence does."""
    min_words_in_line: int = Field(default=3, ge=0)
    """Lines of fewer words are left out."""
    max_word_characters: int = Field(default=1000, ge=1)
    """Lines with a longer word are left out."""
    lines_of_javascript: bool = False
    """Whether lines with the word JavaScript may stay: mostly they ask to turn it on."""
    lines_of_policies: bool = False
    """Whether lines about cookies, privacy and terms of use may stay."""
    citations: bool = False
    """Whether marks such as [1] and [citation needed] may stay."""
    curly_brackets: bool = False
    """Whether a document with `{` may stay."""
    min_sentences: int = Field(default=5, ge=0)
    """Of the lines that stay."""

    def __call__(self, document: Document) -> Verdict:
        text = document.text
        lower = text.lower()
        if (
            self.lines_end_sentences
            or self.min_words_in_line > 1
            or self._is_left_out(lower)
            or self._has_long_word(text)
        ):
            return self._line_by_line(document)
        return self._whole(document, lower)

    def _has_long_word(self, text: str) -> bool:
        # Lines are counted in a fraction of the time.
        return (
            count_lines(text).longest_line > self.max_word_characters
            and count_words(text).longest_word > self.max_word_characters
        )

    def _whole(self, document: Document, lower: str) -> Verdict:
        """Where all lines stay."""
        text = document.text
        if "lorem ipsum" in lower:
            return Drop("lorem ipsum")
        at = -1 if self.curly_brackets else text.find("{")
        if at >= 0:
            return Drop("curly bracket", around(text, at))
        num_citations = 0
        if not self.citations and "[" in text:
            text, num_citations = _CITATION.subn("", text)
        few = self._few(text)
        if few or not num_citations:
            return few
        return Changed(replace(document, text=text), {"citations left out": num_citations})

    def _is_left_out(self, lower: str) -> bool:
        if not self.lines_of_javascript and "javascript" in lower:
            return True
        if self.lines_of_policies:
            return False
        phrases = _POLICIES + _COOKIES if "cookie" in lower else _POLICIES
        return any(phrase in lower for phrase in phrases)

    def _line_by_line(self, document: Document) -> Verdict:
        kept = []
        num_citations = 0
        lines = document.text.splitlines()
        for line in lines:
            words = line.split()
            if any(len(word) > self.max_word_characters for word in words):
                continue
            if not self.citations and "[" in line:
                line, found = _CITATION.subn("", line)
                num_citations += found
            if not self._may_stay(line.rstrip(), len(words)):
                continue
            lower = line.lower()
            if "lorem ipsum" in lower:
                return Drop("lorem ipsum")
            if not self.lines_of_javascript and "javascript" in lower:
                continue
            if not self.curly_brackets and "{" in line:
                return Drop("curly bracket", around(line, line.find("{")))
            if not self._is_left_out(lower):
                kept.append(line.rstrip())
        return self._changed(document, kept, len(lines) - len(kept), num_citations)

    def _may_stay(self, line: str, num_words: int) -> bool:
        if num_words < self.min_words_in_line:
            return False
        is_whole = line.endswith(_SENTENCE_ENDS) and not line.endswith("...")
        return is_whole or not self.lines_end_sentences

    def _changed(
        self, document: Document, kept: list[str], num_left_out: int, num_citations: int
    ) -> Verdict:
        text = "\n".join(kept)
        few = self._few(text)
        if few or num_left_out + num_citations == 0:
            return few
        ending = "\n" if document.text.endswith("\n") else ""
        counts = {"lines left out": num_left_out, "citations left out": num_citations}
        return Changed(
            replace(document, text=text + ending),
            {name: count for name, count in counts.items() if count},
        )

    def _few(self, text: str) -> Verdict:
        if text.count(". ") >= self.min_sentences:  # each ends one, and most texts have enough
            return None
        num_sentences = count_words(text).num_sentences
        if num_sentences < self.min_sentences:
            return Drop("few sentences", f"{num_sentences}")
        return None
