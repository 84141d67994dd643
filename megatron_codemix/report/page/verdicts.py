"""How verdicts look: a word, a shape and a colour, of which any one tells them apart."""

from collections.abc import Mapping

from megatron_codemix.files import Json

Row = Mapping[str, Json]

GLYPHS = {"better": "\u25b2", "worse": "\u25bc", "cannot tell": "\u25cb"}
"""Triangles up and down, and an empty circle; figures draw the same."""


def verdict_class(verdict: str) -> str:
    """Class in the page's style: `cannot-tell`."""
    return verdict.replace(" ", "-")


def signed_percent(share: float, digits: int = 1) -> str:
    """`+8.2%`, `-3.1%` with a true minus."""
    return f"{100 * share:+.{digits}f}%".replace("-", "\u2212")


def change_words(row: Row) -> str:
    """Relative change, or the difference where the baseline is 0."""
    if row["relative"] is not None:
        return signed_percent(row["relative"])
    return f"{row['difference']:+.3f}".replace("-", "\u2212")


def size_words(row: Row) -> str:
    """Size of the change without its sign, with its interval: `7.5% (interval 6.1 to 8.9%)`.

    Signs stay within the interval where it holds 0.
    """
    keys, factor, unit = ("relative", 100.0, "%")
    if row["relative"] is None:
        keys, factor, unit = ("difference", 1.0, "")
    value, low, high = _ends(row, keys)
    digits = 1 if unit else 3
    size = f"{factor * abs(value):.{digits}f}{unit}"
    if low is None or high is None:
        return size
    turn = -1 if value < 0 else 1
    ends = sorted([turn * factor * low, turn * factor * high])
    words = [f"{end:.{digits}f}".replace("-", "\u2212") for end in ends]
    return f"{size} (interval {words[0]} to {words[1]}{unit})"


def _ends(row: Row, key: str) -> tuple[float, float | None, float | None]:
    if key == "difference":
        return row["difference"], row["low"], row["high"]
    return row["relative"], row["relative_low"], row["relative_high"]
