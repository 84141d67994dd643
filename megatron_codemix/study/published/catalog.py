"""The published figures that there are, by name: `paper_a/proportion`."""

from functools import cache
from pathlib import Path

from megatron_codemix.config.loader import build_section, load_tree
from megatron_codemix.study.published.figure import Figure

_FOLDER = Path(__file__).parent
_COMMON = "common"
"""Folder of what the files of a paper have in common; no figures by themselves."""


@cache
def figure_names() -> tuple[str, ...]:
    """In the order of the names; nothing is read."""
    files = sorted(_FOLDER.glob("*/*.yaml"))
    return tuple(f"{path.parent.name}/{path.stem}" for path in files if path.parent.name != _COMMON)


@cache
def read_figure(name: str) -> Figure:
    """A figure of `figure_names`."""
    path = _FOLDER / f"{name}.yaml"
    return build_section(Figure, load_tree(path), str(path))
