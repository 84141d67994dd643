"""`codemix checkpoint average`: weights that make no mean are refused before anything is read."""

from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.runs import COMPLETE_MARKER


@pytest.mark.parametrize(
    "weights", [("nan", "1"), ("inf", "1"), ("2", "-1"), ("0", "0"), ("1e308", "1e308")]
)
def test_weights_that_make_no_mean_are_refused(
    weights: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / COMPLETE_MARKER).touch()
    options = [part for weight in weights for part in ("--weight", weight)]
    out = tmp_path / "mean"
    assert main(["checkpoint", "average", *map(str, folders), "--out", str(out), *options]) == 2
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "a mean needs finite numbers that are not negative" in message
    assert not out.exists()
