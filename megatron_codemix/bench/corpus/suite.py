"""All rows of `codemix bench corpus`, section by section."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from megatron_codemix.bench.corpus.setting import Setting
from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import ConfigError, UnavailableError

SECTIONS = {
    "filters": "filters:filters",
    "duplicates": "duplicates:duplicates",
    "recall": "recall:recall",
    "reading": "reading:reading",
    "synthesis": "synthesis:synthesis",
    "memory": "memory:memory",
    "resume": "resume:resume",
}
"""By name: module and function, which are loaded when they run."""
_NEED_DATATROVE = {"filters", "duplicates", "recall", "memory", "resume"}


def require_sections(names: Sequence[str]) -> None:
    """Raises ConfigError where a name is not one of SECTIONS, UnavailableError where a package is
    missing that one of them needs."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise ConfigError(
            [f"no section {', '.join(map(repr, unknown))}; there are {', '.join(SECTIONS)}"]
        )
    if find_spec("datatrove") is None and (needing := _NEED_DATATROVE & set(names)):
        raise UnavailableError(
            f"the sections {', '.join(sorted(needing))} need datatrove; install the extra: "
            "pip install 'megatron_codemix[curate]'"
        )


def run_sections(names: Sequence[str], setting: Setting) -> Iterator[Row]:
    """Rows as they are measured; those of a quick run are not judged. Works in a folder of its own
    below `setting.folder` and removes it."""
    with TemporaryDirectory(prefix="codemix-bench-", dir=setting.folder) as work:
        for name in names:
            module, function = SECTIONS[name].split(":")
            rows = getattr(import_module(f"{__package__}.{module}"), function)
            for row in rows(replace(setting, folder=Path(work))):
                yield row.unjudged() if setting.is_quick else row
