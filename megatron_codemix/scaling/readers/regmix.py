"""RegMix's published runs: random mixtures of 17 domains of the Pile at three sizes.

Liu et al. 2024 (arXiv 2407.01492), https://github.com/sail-sg/regmix, folder `data`: pairs of files
`<set>_mixture_<size>.csv` and `<set>_pile_loss_<size>.csv` with one row for each run.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.columns import as_numbers
from megatron_codemix.scaling.table import RunTable
from megatron_codemix.scaling.table_file import read_csv


class Runs(NamedTuple):
    """A set of runs of one size."""

    split: str
    size: str
    parameters: int
    """Without embeddings: of the layers, as their shapes in `model_training/lit_gpt/config.py`."""
    tokens: int

    @property
    def name(self) -> str:
        return f"{self.split}_{self.size}"


SETS = (
    Runs("train", "1m", 1_312_000, 10**9),
    Runs("test", "1m", 1_312_000, 10**9),
    Runs("test", "60m", 58_998_528, 10**9),
    Runs("test", "1B", 1_130_457_088, 25 * 10**9),
)

PILE_TOKEN_SHARES = {
    "arxiv": 0.113285273,
    "freelaw": 0.079608651,
    "nih_exporter": 0.003913491,
    "pubmed_central": 0.185375901,
    "wikipedia_en": 0.051081359,
    "dm_mathematics": 0.015962925,
    "github": 0.101750772,
    "philpapers": 0.003707518,
    "stackexchange": 0.066529351,
    "enron_emails": 0.001750772,
    "gutenberg_pg_19": 0.027085479,
    "pile_cc": 0.236869207,
    "ubuntu_irc": 0.01184346,
    "europarl": 0.007929969,
    "hackernews": 0.008032956,
    "pubmed_abstracts": 0.038825953,
    "uspto_backgrounds": 0.046446962,
}
"""Of each domain in all tokens of the 17: the prior of the paper's simulation
(`mixture_config/synthesize_mixture.py`)."""

_SHARE = ("train_the_pile_", "")
_LOSS = ("metric/the_pile_", "_val_loss")


def detect(path: Path) -> bool:
    """Whether `path` is that folder."""
    return all(file.is_file() for file in _files(path, SETS[0]))


def read(path: Path) -> RunTable:
    """All sets in the folder `path`; the column `set` tells them apart ("train_1m", "test_1B").

    The shares are published with three decimals, so that they sum to 0.996 to 1.003; they are
    divided by their sum. Raises DataError.
    """
    found = [runs for runs in SETS if _files(path, runs)[0].is_file()]
    if not found:
        raise DataError(
            f"{path}: has no {_files(path, SETS[0])[0].name}; give RegMix's data folder"
        )
    frames = [_read_set(path, runs) for runs in found]
    return RunTable.of_frame(pd.concat(frames, ignore_index=True), str(path))


def _read_set(path: Path, runs: Runs) -> pd.DataFrame:
    mixture_file, loss_file = _files(path, runs)
    shares = _read_csv(mixture_file, _SHARE, "share.")
    losses = _read_csv(loss_file, _LOSS, "loss_nats.")
    if not shares.index.equals(losses.index):
        raise DataError(
            f"{path}: {mixture_file.name} and {loss_file.name} are not about the same runs (column "
            "index); one may be cut off, fetch both again"
        )
    frame = shares.div(shares.sum(axis=1), axis=0).join(losses)
    frame.insert(0, "name", [f"{runs.name}_{number}" for number in frame.index])
    frame.insert(1, "set", runs.name)
    frame.insert(2, "parameters_without_embedding", runs.parameters)
    frame.insert(3, "tokens", runs.tokens)
    return frame


def _files(path: Path, runs: Runs) -> tuple[Path, Path]:
    return (
        path / f"{runs.split}_mixture_{runs.size}.csv",
        path / f"{runs.split}_pile_loss_{runs.size}.csv",
    )


def _read_csv(file: Path, ends: tuple[str, str], family: str) -> pd.DataFrame:
    """Numbers by run (`index`), columns such as `train_the_pile_github` as `share.github`."""
    rows = read_csv(file)
    frame = rows.frame
    if "index" not in frame:
        raise DataError(f"{file}: there is no column index, which says the run")
    start, stop = ends
    strange = [c for c in frame if c != "index" and not (c.startswith(start) and c.endswith(stop))]
    if strange:
        raise DataError(
            f"{file}: column {strange[0]!r} is not named as RegMix names it: {start}...{stop}"
        )
    runs = [f"line {line}" for line in rows.lines]
    for column in frame:
        frame[column], problems = as_numbers(frame[column], runs)
        if problems:
            raise DataError(f"{file}: {problems[0]}")
    frame = frame.rename(
        columns=lambda c: c if c == "index" else family + c.removeprefix(start).removesuffix(stop)
    )
    if frame["index"].isna().any() or not frame["index"].is_unique:
        raise DataError(f"{file}: the column index must give each run a number of its own")
    return frame.set_index(frame.pop("index").astype(int))
