"""How much of an HTML page is text that a reader sees."""

import html
import re
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.programming_languages import programming_language
from megatron_codemix.corpus.filters.rule import Drop, Kind, Rule, Verdict

# In the order in which a page is read: what begins first hides the rest.
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style)\b[^>]{0,10000}+>.*?(?:</\1\s*>|\Z)"
    r"|<[a-z/!?][^>]{0,10000}+>",  # bounded: what never ends is not looked for again and again
    re.IGNORECASE | re.DOTALL,
)


def visible_text(page: str) -> str:
    """The page without comments, scripts, styles and tags, its character references resolved; white
    space stays."""
    return html.unescape(_UNSEEN.sub("", page))


class VisibleText(Rule):
    """Drops HTML pages that are mostly tags, styles and scripts."""

    name: ClassVar[str] = "visible_text"
    kind: ClassVar[Kind] = "markup"
    source: ClassVar[str] = "arXiv 2305.06161, section 3.1"

    languages: tuple[str, ...] = ("html",)
    min_share: float = Field(default=0.2, ge=0, le=1)
    """Characters of the visible text of those of the page; white space counts in both."""
    min_characters: int = Field(default=100, ge=0)

    def __call__(self, document: Document) -> Verdict:
        if programming_language(document) not in self.languages:
            return None
        size = len(visible_text(document.text))
        share = size / max(1, len(document.text))
        if share < self.min_share or size < self.min_characters:
            return Drop("little visible text", f"{size} characters, {share:.1%}")
        return None
