"""The logs of the OLMo ladder (Bhagia et al. 2024, arXiv 2412.04403): `190M-1xC.csv` and so on,
with the two models that were predicted from them, as `src/scripts/paper/data/ladder-runs` of its
repository has them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.table import Excluded, RunTable
from megatron_codemix.scaling.table_file import read_csv

SIZES = {
    "190M": 190_354_176,
    "370M": 371_262_464,
    "760M": 758_220_288,
    "1B": 1_279_395_840,
    "3B": 3_169_537_280,
}
"""Parameters without the input embedding's, as the source counts them."""

_LADDER = tuple(f"{size}-{times}xC" for size in list(SIZES)[:4] for times in (1, 2, 5, 10))
"""The runs of the ladder itself."""
_TOKENS_PER_PARAMETER = 20
"""Of a run that is named 1xC."""
_CUT_OFF = 0.99
"""A log that tells of less than this part of its tokens is not whole."""

_RUN = re.compile(r"(?P<size>[^-]+)-(?P<multiple>\d+)xC\.csv")
_LOSS = re.compile(r"eval/(?P<name>.+)-validation/CrossEntropyLoss")
_TASK_LOSS = re.compile(r"eval/downstream_bpb/(?P<name>.+)_bpb")
_TASK_SCORE = re.compile(r"eval/downstream/(?P<name>.+)_(?:len_norm|acc)")


@dataclass(frozen=True)
class _Target:
    parameters: int
    tokens: int


_CUT_WORDS = "the log is cut off; fetch the file again, or remove it"

_TARGETS = {
    "peteish7_eval_anneal.csv": _Target(6_887_575_552, 3_945_065_873_408),
    "peteish13_eval_final.csv": _Target(13_202_396_160, 5_000_080_130_048),
}
"""OLMo 2 7B and 13B; the logs of the second do not say how many tokens it saw."""


def detect(path: Path) -> bool:
    """Whether `path` is such a folder."""
    return path.is_dir() and any(_RUN.fullmatch(file.name) for file in path.iterdir())


def read(path: Path) -> RunTable:
    """One row for each run of the ladder, from the end of its log: losses on eleven texts, and bits
    per byte and accuracy of each task. Runs of the ladder whose log is not there are listed as
    excluded. Raises DataError, for a log that is cut off too."""
    files = [file for file in sorted(path.iterdir()) if _RUN.fullmatch(file.name)]
    table = _read(path, files)
    there = {file.stem for file in files}
    missing = (Excluded(name, "there is no log of it") for name in _LADDER if name not in there)
    return replace(table, excluded=(*table.excluded, *missing))


def read_targets(path: Path) -> RunTable:
    """The two large models, in the same columns. Raises DataError."""
    return _read(path, [path / name for name in _TARGETS if (path / name).is_file()])


def _read(path: Path, files: list[Path]) -> RunTable:
    if not files:
        raise DataError(f"{path}: there is no log of the OLMo ladder, such as 190M-1xC.csv")
    return RunTable.of_frame(pd.DataFrame([_row(file) for file in files]), str(path))


def _row(file: Path) -> dict[str, Any]:  # Any: cells
    log = read_csv(file).frame
    if log.empty:
        raise DataError(f"{file}: {_CUT_WORDS}")
    end = log.iloc[-1]
    row: dict[str, Any] = {"name": file.stem, **_size(file, end)}
    for column, value in end.items():
        if match := _LOSS.fullmatch(column):
            row[f"loss_nats.{match['name']}"] = value
        elif match := _TASK_LOSS.fullmatch(column):
            row[f"bits_per_byte.{match['name']}"] = value
        elif match := _TASK_SCORE.fullmatch(column):
            row[f"accuracy.{match['name']}"] = value
    return row


def _size(file: Path, end: pd.Series) -> dict[str, Any]:  # Any: cells
    if file.name in _TARGETS:
        target = _TARGETS[file.name]
        return {"parameters_without_embedding": target.parameters, "tokens": target.tokens}
    run = _RUN.fullmatch(file.name)
    if run is None or run["size"] not in SIZES or "throughput/total_tokens" not in end:
        raise DataError(
            f"{file}: not a log of the OLMo ladder; sizes are {', '.join(SIZES)}, and the column "
            "throughput/total_tokens has the tokens"
        )
    parameters = SIZES[run["size"]]
    try:
        tokens = float(end["throughput/total_tokens"])
    except ValueError as error:
        raise DataError(f"{file}: throughput/total_tokens of the last line: {error}") from error
    if tokens < _CUT_OFF * _TOKENS_PER_PARAMETER * int(run["multiple"]) * parameters:
        raise DataError(f"{file}: ends at {tokens:.4g} tokens; {_CUT_WORDS}")
    return {"parameters_without_embedding": parameters, "tokens": tokens}
