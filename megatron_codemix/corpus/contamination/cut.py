"""What is left of a document when the items it holds are cut out.

Brown et al. 2020 (GPT-3), appendix C: with 200 characters on either side; pieces of less than 200
characters go, and documents in more than ten pieces go as a whole.
"""

from collections.abc import Iterable

MARGIN_CHARACTERS = 200
MIN_PIECE_CHARACTERS = 200
MAX_PIECES = 10
BETWEEN_PIECES = "\n\n"


def cut_around(text: str, spans: Iterable[tuple[int, int]]) -> str | None:
    """None where nothing is left, or it is in too many pieces. spans: begin and end of what is cut
    out, in characters, in their order."""
    pieces: list[str] = []
    start = 0
    for begin, end in spans:
        pieces.append(text[start : max(start, begin - MARGIN_CHARACTERS)])
        start = max(start, end + MARGIN_CHARACTERS)
    pieces.append(text[start:])
    pieces = [piece for piece in pieces if piece]  # where cuts overlap nothing is between them
    whole = [piece.strip() for piece in pieces]
    whole = [piece for piece in whole if len(piece) >= MIN_PIECE_CHARACTERS]
    if not whole or len(pieces) > MAX_PIECES:
        return None
    return BETWEEN_PIECES.join(whole)
