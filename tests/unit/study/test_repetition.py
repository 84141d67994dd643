"""Axes that change the seed alone repeat; all others make cells that are not compared."""

from pathlib import Path

import pytest

from megatron_codemix.study.loader import load_study
from megatron_codemix.study.repetition import is_repeated, seed_axes, seed_of, without_seed
from megatron_codemix.study.spec import StudySpec
from tests.helpers.study_files import STUDY, write_study

AXES = """\
matrix: {size: [small, wide], repeat: [first, again]}
axes:
  size: {small: {}, wide: {model.hidden_size: 32}}
  repeat: {first: {train.seed: 1}, again: {train.seed: 2}}
"""


def spec_of(tmp_path: Path, matrix: str) -> StudySpec:
    return load_study(write_study(tmp_path, STUDY + matrix))


def test_an_axis_of_any_name_that_sets_the_seed_alone(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, AXES)
    assert seed_axes(spec) == {"repeat"}
    assert is_repeated(spec)
    point = {"size": "wide", "repeat": "again"}
    assert (without_seed(spec, point), seed_of(spec, point)) == ("wide", "again")


def test_a_value_may_have_the_seed_of_the_defaults(tmp_path: Path) -> None:
    assert seed_axes(spec_of(tmp_path, AXES.replace("{train.seed: 1}", "{}"))) == {"repeat"}


def test_the_key_itself(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "matrix: {train.seed: [1, 2]}\n")
    assert seed_axes(spec) == {"train.seed"}
    assert without_seed(spec, {"train.seed": "2"}) == ""


@pytest.mark.parametrize(
    "change",
    [
        ("again: {train.seed: 2}", "again: {train.seed: 2, schedule.peak_lr: 2e-3}"),
        ("train.seed", "schedule.peak_lr"),
    ],
)
def test_an_axis_that_changes_more_repeats_nothing(tmp_path: Path, change: tuple[str, str]) -> None:
    spec = spec_of(tmp_path, AXES.replace(*change))
    assert seed_axes(spec) == frozenset()
    assert not is_repeated(spec)


def test_another_key_is_no_seed(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "matrix: {train.global_batch_sequences: [4, 8]}\n")
    assert seed_axes(spec) == frozenset()
    assert without_seed(spec, {"train.global_batch_sequences": "8"}) == "8"


def test_one_seed_is_no_repetition(tmp_path: Path) -> None:
    assert not is_repeated(spec_of(tmp_path, "matrix: {train.seed: [7]}\n"))
