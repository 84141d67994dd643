"""Metrics: exact numbers, and a file that resumes where the run does."""

import math
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megatron_codemix.errors import RunError
from megatron_codemix.files import read_jsonl
from megatron_codemix.obs.metrics import MetricWriter, read_metrics

_LOSS = "loss/train_nats"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats())
def test_floats_are_read_back_bit_for_bit(tmp_path: Path, value: float) -> None:
    path = tmp_path / "metrics.jsonl"
    path.unlink(missing_ok=True)
    MetricWriter(path).write({"step": 1, _LOSS: value})
    (record,) = read_jsonl(path)
    if math.isnan(value):
        assert math.isnan(record[_LOSS])
    else:
        assert struct.pack("d", record[_LOSS]) == struct.pack("d", value)


def written(path: Path, steps: range) -> MetricWriter:
    writer = MetricWriter(path)
    for step in steps:
        writer.write({"step": step, _LOSS: 1 / (step + 3)})
    return writer


@pytest.mark.parametrize("step", [0, 1, 4, 9, 100])
def test_truncating_and_writing_again_gives_the_file_of_one_go(tmp_path: Path, step: int) -> None:
    whole, resumed = tmp_path / "run" / "whole.jsonl", tmp_path / "run" / "resumed.jsonl"
    written(whole, range(1, 10))
    written(resumed, range(1, 10)).truncate_after(step)
    written(resumed, range(step + 1, 10))
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = written(path, range(1, 4))
    path.write_bytes(path.read_bytes()[:-7])
    writer.truncate_after(3)
    writer.write({"step": 3, _LOSS: 1.0})
    assert [record["step"] for record in read_jsonl(path)] == [1, 2, 3]


def test_truncating_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    MetricWriter(tmp_path / "metrics.jsonl").truncate_after(5)
    assert list(tmp_path.iterdir()) == []


def test_lost_losses_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "tokens": 64, "loss/a": NaN, "loss/b": null, "loss/c": Infinity}\n'
    )
    [line] = read_metrics(path)
    assert math.isnan(line.pop("loss/a"))
    assert line == {"step": 1, "tokens": 64, "loss/b": None, "loss/c": math.inf}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"step": 2', "'tokens' is missing"),
        ('"step": true, "tokens": 64', "'step' is true"),
        ('"step": 2, "tokens": NaN', "'tokens' is NaN"),
        ('"step": 2, "tokens": 64, "loss/a": 0.5, "loss/b": "0.5"', "'loss/b' is \"0.5\""),
        ('"step": 2, "tokens": 64, "loss/b": false', "'loss/b' is false"),
        ('"step": 2, "tokens": 64, "loss/b": [0.5]', "'loss/b' is [0.5]"),
    ],
)
def test_a_value_that_is_no_number_is_named(tmp_path: Path, value: str, words: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1, "tokens": 32}}\n{{{value}}}\n')
    with pytest.raises(RunError) as told:
        read_metrics(path)
    assert str(told.value).startswith(f"{path}:2: damaged ({words}); ")
