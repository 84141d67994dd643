"""`codemix data mixture`."""

import json
from pathlib import Path

import pytest

from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run

LINEAR = "data.mixture={kind: linear, start: {code: 1}, end: {text: 1}}"


def test_segments_are_printed_with_what_they_read(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    half = 80 * SEQUENCE
    change = f"data.changes=[{{at_tokens: {half}, mixture: {{weights: {{text: 1}}}}}}]"
    result = codemix("data", "mixture", config, LINEAR, change, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [(s["first_sample"], s["stop"], s["method"]) for s in found["segments"]] == [
        (0, 80, "split-tree"),
        (80, 160, "earliest-deadline"),
    ]
    samples = [s["sources"]["code"]["samples"] for s in found["segments"]]
    # Half of the way from 1 to 0: three quarters of 80 samples.
    assert samples == [pytest.approx(60, abs=1), samples[0]]
    assert found["largest_error_samples"] < 2
    assert found["plan"]["units"] == 2**20


def test_repetition_is_pointed_out(tmp_path: Path) -> None:
    config = write_run(tmp_path, train={"train_tokens": 2000 * 8 * SEQUENCE})
    result = codemix("data", "mixture", config)
    assert result.returncode == 0, result.stderr
    assert "earliest-deadline, never more than 0.50 samples off" in result.stdout
    assert "note: code is read" in result.stdout
    assert "arXiv 2305.16264" in result.stdout


def test_a_cap_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    result = codemix("data", "mixture", write_run(tmp_path), "data.sources.code.max_epochs=0.1")
    assert result.returncode == 2
    assert "data.sources.code.max_epochs: 0.1 epochs are" in result.stderr
