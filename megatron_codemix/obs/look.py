"""How all figures look: colours that readers with any colour vision can tell apart, few lines."""

from typing import Any

COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
"""Okabe and Ito's; yellow, too light for lines, is left out."""

LOOK: Any = {  # Any: matplotlib types the names of all its settings
    "svg.hashsalt": "codemix",  # otherwise ids in the SVG are random
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}

UNDATED: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""For savefig: an SVG without the date and the address that matplotlib adds."""
