"""Which reader a path is for: a table, a study's runs, or one of the published data sets."""

from dataclasses import replace
from pathlib import Path

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.readers import olmo_ladder, overtraining, regmix, study
from megatron_codemix.scaling.table import RunTable, read_table

KINDS = (
    ("RegMix's data", regmix.detect, regmix.read),
    ("the OLMo ladder", olmo_ladder.detect, olmo_ladder.read),
    ("the over-training models", overtraining.detect, overtraining.read),
    ("a study's runs", study.detect, study.read),
)
"""What, how a folder of it is known, its reader."""


def read_runs(path: Path, *, keep_diverged: bool = False) -> RunTable:
    """The runs in a .csv or .jsonl file, or in a folder of `KINDS`. Raises DataError.

    keep_diverged: see `RunTable.keep_diverged`.
    """
    return replace(_read(path), keep_diverged=keep_diverged)


def _read(path: Path) -> RunTable:
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_file():
        return read_table(path)
    for _, is_such, read in KINDS:
        if is_such(path):
            return read(path)
    known = ", ".join(what for what, _, _ in KINDS)
    raise DataError(
        f"{path}: no runs here; give a .csv or .jsonl table, or a folder of {known} (for a study "
        "the folder that 'codemix study run' has written, runs/<name>)"
    )
