"""datatrove's filters for prose.

Its own words and sentences come from models that are downloaded or not installed. Here they are
split at white space and at full stops, which is faster: the peer is measured at its best.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]\u201d\u2019]*\s+")


def _words(text: str, language: str = "") -> list[str]:
    return text.split()


def _sentences(text: str, language: str = "") -> list[str]:
    return [one for one in _SENTENCE_END.split(text) if one]


@contextmanager
def peer_rules() -> Iterator[Callable[[str], bool]]:
    """Yields whether a text is kept by Gopher's quality, Gopher's repetition and C4's rules as
    FineWeb has them, in this order; the first that drops it ends it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datatrove.data import Document  # type: ignore[import-untyped] # ships no types
        from datatrove.pipeline.filters import (  # type: ignore[import-untyped] # none here too
            c4_filters,
            gopher_quality_filter,
            gopher_repetition_filter,
        )
    with ExitStack() as stack:
        for module, name, splitter in (
            (gopher_quality_filter, "split_into_words", _words),
            (gopher_repetition_filter, "split_into_words", _words),
            (c4_filters, "split_into_sentences", _sentences),
        ):
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, splitter)
        filters = [
            gopher_quality_filter.GopherQualityFilter(),
            gopher_repetition_filter.GopherRepetitionFilter(),
            c4_filters.C4QualityFilter(filter_no_terminal_punct=False, min_words_per_line=-1),
        ]

        def keeps(text: str) -> bool:
            document = Document(text=text, id="")
            return all(one.filter(document) is True for one in filters)

        yield keeps
