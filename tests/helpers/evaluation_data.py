"""Real evaluation data, where it lies beside the checkout. The project ships none of it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared/data/eval"


def real_data() -> Path:
    """The folder; the test is skipped where there is none."""
    if not FOLDER.is_dir():
        pytest.skip("real evaluation data is not beside this checkout")
    return FOLDER
