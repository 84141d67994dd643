"""Text that was decoded with the wrong encoding somewhere on its way, set right."""

import re
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import ClassVar

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.filters.rule import Changed, Kind, Rule, Verdict
from megatron_codemix.errors import UnavailableError

# The first byte of a character of UTF-8 and one that goes on, as Windows-1252 or Latin-1 shows them
# ("Ã©"), or as quotes and dashes begin in the encodings of the Macintosh and of Cyrillic, Greek and
# Baltic Windows ("вЂ"). One class behind another: re looks for the first one fast.
_FIRST = "\u00c2-\u00f4‚вβā"  # noqa: RUF001  # the characters themselves
_SECOND = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸÄЂ"  # noqa: RUF001
_SUSPECT = re.compile(f"[{_FIRST}][{_SECOND}]")


class RepairEncoding(Rule):
    """Repairs lines that were written as UTF-8 and read as something else ("Ã©" for "é"), by ftfy,
    which changes only what nobody writes. Only lines that may have such characters are asked."""

    name: ClassVar[str] = "repair_encoding"
    kind: ClassVar[Kind] = "any"
    source: ClassVar[str] = "ftfy, Speer 2019, doi 10.5281/zenodo.2591652"

    def __call__(self, document: Document) -> Verdict:
        text = document.text
        if text.isascii() or not _SUSPECT.search(text):
            return None
        lines = text.split("\n")
        num_repaired = 0
        for number, line in enumerate(lines):
            if line.isascii() or not _SUSPECT.search(line):
                continue
            repaired = _ftfy().fix_encoding(line)
            if repaired != line:
                lines[number] = repaired
                num_repaired += 1
        if not num_repaired:
            return None
        changed = replace(document, text="\n".join(lines))
        return Changed(
            changed.with_metadata(encoding_repaired=num_repaired), {"lines repaired": num_repaired}
        )

    def load(self) -> None:
        _ftfy()

    def depends_on(self) -> dict[str, JsonValue]:
        return {"ftfy": _ftfy().__version__}


@cache
def _ftfy() -> ModuleType:
    try:
        import ftfy
    except ImportError as error:
        raise UnavailableError(
            "the repair of encodings needs ftfy; install it with `pip install "
            "'megatron_codemix[curate]'`, or leave the rule repair_encoding out of the policy"
        ) from error
    return ftfy
