"""Templates of this package, and how single values are written in them."""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from megatron_codemix.files import Json
from megatron_codemix.units import format_duration

_ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")

_SHORT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def page_environment(*, is_html: bool) -> Environment:
    """For the templates of this package; what they are given is escaped."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=is_html,
        finalize=None if is_html else _markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": grouped, "duration": format_duration, "code": with_code}
    return environment


def _markdown(value: Any) -> Any:  # Any: whatever a template puts out
    """A name must not end the cell of a table, or the table."""
    if not isinstance(value, str):
        return value
    return " ".join(value.splitlines()).replace("|", "\\|")


def with_code(text: str) -> Markup:
    """For HTML: what stands between backticks is code; all of it is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one of them has no partner
        return Markup.escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else piece
        for number, piece in enumerate(pieces)
    )


def linked(text: str) -> Markup:
    """For HTML: articles of arXiv as links, printed with their address; all of it is escaped."""
    parts = _ARXIV.split(text)
    return Markup("").join(
        Markup('<a href="https://arxiv.org/abs/{}">arXiv {}</a>').format(part, part)
        if number % 2
        else part
        for number, part in enumerate(parts)
    )


def grouped(number: float | None) -> str:
    """`12,345`; a dash where there is no number."""
    return "-" if number is None else f"{number:,.0f}"


def short_count(number: float | None) -> str:
    """`81.9K`, `400B`: three digits; a dash where there is no number."""
    if number is None:
        return "-"
    for unit, name in _SHORT_UNITS:
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.0f}"


def percent(change: float | None) -> str:
    """`-1.2%`, with its sign; a dash where there is nothing to compare with."""
    return "-" if change is None else f"{100 * change:+.1f}%"


def score_words(score: Mapping[str, Json] | None) -> str:
    """`0.431 \u00b1 0.010`; a dash where there is no value."""
    if score is None or score["value"] is None:
        return "-"
    error = score["stderr"]
    return f"{score['value']:.3f}" + ("" if error is None else f" \u00b1 {error:.3f}")


def hours_words(cost: Mapping[str, Json]) -> str:
    """`1,812 GPU`, `0.2 processor`: hours, of one of them; a dash where nothing is known."""
    for key, what in (("gpu_hours", "GPU"), ("processor_hours", "processor")):
        hours = cost[key]
        if hours is not None:
            return f"{hours:,.0f} {what}" if hours >= 100 else f"{hours:.3g} {what}"
    return "-"


def agreed_words(value: str | list[str] | None) -> str:
    """The value that all phases share, or all there are."""
    if value is None:
        return "not recorded"
    return value if isinstance(value, str) else ", ".join(value)
