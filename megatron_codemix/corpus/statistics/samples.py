"""Documents to read, and pieces of text to tokenise: drawn by a seed, cut so that a page can show
them."""

import json
from collections.abc import Mapping

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.statistics.lowest import Lowest, key_of_piece
from megatron_codemix.corpus.writer import utf8_bytes

TEXT_CHARACTERS = 3000
_VALUE_CHARACTERS = 300
_MAX_FIELDS = 24
PIECE_CHARACTERS = 4096
NUM_PIECES = 512
"""Of each source: 2 MB of text at most."""


def sample_of(document: Document) -> dict[str, JsonValue]:
    """What the page shows of a document: the beginning of a long text, and of long metadata."""
    return {
        "id": document.id,
        "path": document.path,
        "origin": document.origin,
        "licence": document.licence,
        "bytes": utf8_bytes(document.text),
        "metadata": _shown(document.metadata),
        "text": document.text[:TEXT_CHARACTERS],
        "is_cut": len(document.text) > TEXT_CHARACTERS,
    }


def add_pieces(pieces: Lowest[str], key: int, text: str) -> None:
    """Offers every piece of a text: all pieces of a source are drawn with the same probability, so
    that long documents count by their length."""
    for number, start in enumerate(range(0, len(text), PIECE_CHARACTERS)):
        piece_key = key_of_piece(key, number)
        if pieces.wants(piece_key):
            pieces.add(piece_key, text[start : start + PIECE_CHARACTERS])


def _shown(metadata: Mapping[str, JsonValue]) -> dict[str, str]:
    shown = {}
    for name in sorted(metadata)[:_MAX_FIELDS]:
        value = metadata[name]
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        is_long = len(words) > _VALUE_CHARACTERS
        shown[name[:_VALUE_CHARACTERS]] = words[:_VALUE_CHARACTERS] + ("..." if is_long else "")
    return shown
