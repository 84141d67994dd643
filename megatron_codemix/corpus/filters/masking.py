"""Private data masked: e-mail addresses, network addresses, keys."""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.addresses import email_at, ipv4_at, ipv6_at
from megatron_codemix.corpus.filters.keys import PREFIXES, assigned_key, key_at
from megatron_codemix.corpus.filters.rule import Changed, Drop, Kind, Rule, Verdict
from megatron_codemix.ops.text import Mark, MarkKind, find_private_marks

Found = tuple[int, int, str]
"""Characters [begin, end), and what they are."""

_MOST_PASSES = 10
_EMAIL, _IP_ADDRESS, _KEY = "EMAIL", "IP_ADDRESS", "KEY"


class Mask(Rule):
    """Puts <EMAIL>, <IP_ADDRESS> and <KEY> in the place of what is private.

    Left alone: private and reserved network addresses, public resolvers, addresses of example.com
    and its like, keys with EXAMPLE in them, and four numbers that seem to be a version. What is
    masked already stays as it is.
    """

    name: ClassVar[str] = "mask"
    kind: ClassVar[Kind] = "any"
    source: ClassVar[str] = "placeholders of StarCoder, arXiv 2305.06161, section 4"

    emails: bool = True
    ip_addresses: bool = True
    keys: bool = True
    """Private keys, keys of well-known services, and what looks random and is assigned to something
    called a secret, a token, a password or a key."""

    def __call__(self, document: Document) -> Verdict:
        done = self.masked(document.text)
        if done is None:
            return Drop("masking never ends")
        text, counts = done
        if not counts:
            return None
        before = document.metadata.get("masked") or {}
        changed = replace(document, text=text).with_metadata(masked=dict(Counter(before) + counts))
        return Changed(changed, {f"masked {kind}": count for kind, count in counts.items()})

    def masked(self, text: str) -> tuple[str, Counter[str]] | None:
        """The text with its placeholders, and how many of each.

        What a placeholder has uncovered is masked too, so that a second time changes nothing. None
        where it keeps uncovering more: nobody writes such a text but to see what happens.
        """
        counts: Counter[str] = Counter()
        for _ in range(_MOST_PASSES):
            found = self._find(text)
            if not found:
                return text, counts
            pieces = []
            done = 0
            for begin, end, what in found:
                pieces += [text[done:begin], f"<{what}>"]
                counts[what] += 1
                done = end
            text = "".join(pieces) + text[done:]
        return None

    def _find(self, text: str) -> list[Found]:
        """In order; of those that overlap the one that begins first."""
        found = [
            one for mark in find_private_marks(text, PREFIXES) if (one := self._at(text, mark))
        ]
        apart: list[Found] = []
        for one in sorted(found):
            if not apart or one[0] >= apart[-1][1]:
                apart.append(one)
        return apart

    def _at(self, text: str, mark: Mark) -> Found | None:
        """What is private at a mark."""
        span, what = None, ""
        match mark.kind:
            case MarkKind.AT if self.emails:
                span, what = email_at(text, mark.begin), _EMAIL
            case MarkKind.FOUR_NUMBERS if self.ip_addresses:
                span, what = ipv4_at(text, mark.begin, mark.end), _IP_ADDRESS
            case MarkKind.COLONS if self.ip_addresses:
                span, what = ipv6_at(text, mark.begin, mark.end), _IP_ADDRESS
            case MarkKind.RANDOM if self.keys:
                span, what = assigned_key(text, mark.begin, mark.end), _KEY
            case MarkKind.LITERAL if self.keys:
                span, what = key_at(text, mark.literal, mark.begin), _KEY
        return (*span, what) if span else None
