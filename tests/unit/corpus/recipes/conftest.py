"""A recipe of two sources, and the data that it reads."""

from pathlib import Path

import pytest

from tests.helpers.recipe_data import RECIPE, write_stack


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    write_stack(tmp_path / "stack", {"python": 9, "c": 4, "markdown": 5})
    return tmp_path / "stack"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path
