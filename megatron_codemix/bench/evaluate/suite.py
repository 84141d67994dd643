"""All rows of `codemix bench evaluate`, section by section."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import ConfigError, UnavailableError

SECTIONS = {
    "choices": "choices:choices",
    "generation": "generation:generations",
    "rolling": "rolling:rolling",
    "copies": "copies:copies",
}
"""By the name that --only takes, module and function, which are loaded when they run."""

_PACKAGES = {
    "lm_eval": "megatron_codemix[eval]",
    "transformers": "lm-eval[hf]",
    "accelerate": "lm-eval[hf]",
}
"""What is needed, and the extra that brings it."""


def require_sections(names: Sequence[str]) -> None:
    """Raises ConfigError where a name is not one of SECTIONS."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise ConfigError(
            [f"no section {', '.join(map(repr, unknown))}; there are {', '.join(SECTIONS)}"]
        )


def require_packages() -> None:
    """Raises UnavailableError that names what is missing and how to get it."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        extras = " ".join(f"'{extra}'" for extra in {_PACKAGES[name]: 0 for name in missing})
        raise UnavailableError(
            f"bench evaluate compares with lm-evaluation-harness's own hf model and needs "
            f"{', '.join(missing)}; install the extra: pip install {extras}"
        )


def run_sections(
    names: Sequence[str],
    folder: Path,
    *,
    scale: float,
    repeats: int,
    finished: Callable[[str], None],
    data_dir: Path | None = None,
) -> Iterator[Row]:
    """Rows as they are measured; the goals are for scale 1 and not judged at another. Works in a
    folder of its own below `folder` and removes it.

    finished: told of each section that is done.
    data_dir: with the tasks' data; None: items of the same lengths are made.
    """
    # The harness's bars are many and say little. Read when it is imported, so this comes first.
    os.environ["TQDM_DISABLE"] = "1"
    from megatron_codemix.bench.evaluate.setting import Setting

    with tempfile.TemporaryDirectory(prefix="codemix-bench-", dir=folder) as work:
        setting = Setting(Path(work), scale, repeats, data_dir)
        for name in names:
            module, function = SECTIONS[name].split(":")
            rows = getattr(import_module(f"{__package__}.{module}"), function)
            for row in rows(setting):
                yield row if scale == 1 else row.unjudged()
            finished(name)
