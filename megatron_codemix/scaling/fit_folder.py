"""The folder of `codemix scaling fit --out`: fit.json and its figures, which replace those of an
earlier fit and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.scaling.fit_file import FIT_FILE, read_fits
from megatron_codemix.scaling.fits import RunFit
from megatron_codemix.scaling.mixture_optimum import SharePath

FIGURES = tuple(
    f"{name}.{suffix}"
    for name in ("loss_against_compute", "isoflop", "held_out", "best_share")
    for suffix in ("png", "svg")
)


def require_own_folder(folder: Path) -> None:
    """Raises ConfigError where a fit written to `folder` would take the place of anything that is
    not of an earlier fit."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError([f"--out: {folder}: is a file, and a folder is wanted"])
    own = {FIT_FILE, *_figures_of(folder)} if _holds_fit(folder) else set()
    foreign = [name for name in (FIT_FILE, *FIGURES) if name not in own and _exists(folder / name)]
    if foreign:
        raise ConfigError(
            [
                f"--out: {folder / name}: of no fit that 'codemix scaling fit' has written, and "
                "would be lost; give another folder, or move it away"
                for name in foreign
            ]
        )


def write_fit(
    folder: Path,
    record: Mapping[str, Any],  # Any: JSON values
    fits: Sequence[RunFit],
    paths: Sequence[SharePath],
) -> list[Path]:
    """Writes the fit and its figures, and removes the figures of an earlier one; the files."""
    from megatron_codemix.scaling.figures import draw_all

    require_own_folder(folder)
    # Until they are drawn all may be there: those of the earlier fit, or of this one.
    write_json(folder / FIT_FILE, {**record, "figures": list(FIGURES)})
    files = draw_all(fits, paths, folder)
    names = [file.name for file in files]
    for name in FIGURES:
        if name not in names:
            (folder / name).unlink(missing_ok=True)
    write_json(folder / FIT_FILE, {**record, "figures": names})
    return [folder / FIT_FILE, *files]


def _holds_fit(folder: Path) -> bool:
    try:
        return bool(read_fits(folder))
    except (DataError, ConfigError):
        return False


def _figures_of(folder: Path) -> list[str]:
    """Figures of the fit in the folder; without a list of them all that there may be."""
    return list(read_json(folder / FIT_FILE).get("figures", FIGURES))


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()
