"""All rows of `codemix bench train`, section by section."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from megatron_codemix.bench.rows import Row
from megatron_codemix.bench.train.setting import Setting
from megatron_codemix.errors import ConfigError

SECTIONS = {"step": "step:steps", "loop": "loop:loops", "start": "start:starts"}
"""By the name that --only takes, module and function, which are loaded when they run."""


def require_sections(names: Sequence[str]) -> None:
    """Raises ConfigError where a name is not one of SECTIONS."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise ConfigError(
            [f"no section {', '.join(map(repr, unknown))}; there are {', '.join(SECTIONS)}"]
        )


def run_sections(
    names: Sequence[str],
    folder: Path,
    *,
    scale: float,
    repeats: int,
    finished: Callable[[str], None],
) -> Iterator[Row]:
    """Rows as they are measured; the goals are for scale 1 and not judged at another. Works in a
    folder of its own below `folder` and removes it.

    `finished` is told of each section that is done.
    """
    with tempfile.TemporaryDirectory(prefix="codemix-bench-", dir=folder) as work:
        for name in names:
            section = Path(work) / name
            section.mkdir()
            module, function = SECTIONS[name].split(":")
            rows = getattr(import_module(f"{__package__}.{module}"), function)
            for row in rows(Setting(section, scale, repeats)):
                yield row if scale == 1 else row.unjudged()
            finished(name)
