"""Figures of a page as SVG data URIs: the same bytes for the same values, readable on paper and on
a phone."""

import base64
import io
from dataclasses import dataclass

from matplotlib.figure import Figure

from megatron_codemix.obs.look import UNDATED

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))

SIZE_INCHES = (6.0, 3.6)
"""Small, so that the text is still readable when a phone shrinks the figure."""


@dataclass(frozen=True)
class Picture:
    """A figure as an HTML image."""

    title: str
    alt: str
    """What it shows, for readers who do not see it."""
    uri: str


def tick_words(tokens: float, longest: float) -> str:
    """`7.5K`: every tick of an axis that ends at `longest` in the same unit."""
    unit, name = next(((unit, name) for unit, name in _UNITS if longest >= unit), (1.0, ""))
    return f"{tokens / unit:g}{name}"


def data_uri(figure: Figure) -> str:
    """The figure as SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=UNDATED)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
