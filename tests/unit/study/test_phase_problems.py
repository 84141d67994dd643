"""Problems of phases say the line of their field, in whichever file it stands."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.tree import expand, identify
from tests.helpers.study_files import STUDY, write_data, write_study

SETS = "set: {data.mixture.weights: {text: 0.75, code: 0.25}}"
"""Of `balanced-then-text`."""
PROBLEMS = {
    "batch": ("batch_sequences: 4, seed", "batch_sequences: 5, seed",
              "every phase: train.global_batch_sequences: 5 is not a multiple of 2"),
    "change of a mixture": (
        SETS, SETS[:-1] + ",\n      data.changes: [{at_tokens: 1M, mixture: {weights: {cod: 1}}}]}",
        "phase balanced-then-text: data.changes.0.mixture.weights.cod: no such source"),
    "model": (SETS, SETS[:-1] + ",\n      model.num_layers: 4}",
              "phase balanced-then-text: model.num_layers: 4, but parent 'balanced' has 2"),
    "window": (SETS, SETS[:-1] + ",\n      data.sequence_length: 32}",
               "phase balanced-then-text: data.sequence_length: source 'code' is read in windows"),
    "branch": ("load: weights+optimizer}", "load: weights+optimizer,\n      at_tokens: 9B}",
               "phase cooldown: init_from.at_tokens: "),
    "validation": ("  heldout: {world_size: 1, max_bytes_per_source: 1KiB}",
                   "  heldout: {kind: validation}",
                   "every phase: evaluation.heldout.kind: validation, and the configuration has"),
    "override of megatron-core": (
        SETS, SETS[:-1] + ",\n      model.transformer_overrides: {layers: 1}}",
        "phase balanced-then-text: model.transformer_overrides.layers: "),
}  # fmt: skip


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        expand(load_study(path, overrides=overrides))
    return caught.value.problems


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_problem_has_the_line_of_its_field(case: str, tmp_path: Path) -> None:
    old, new, words = PROBLEMS[case]
    text = STUDY.replace(old, new, 1)
    assert text != STUDY
    last = new.splitlines()[-1]
    line = next(number for number, one in enumerate(text.splitlines(), 1) if last in one)
    path = write_study(tmp_path, text)
    assert any(problem.startswith(f"{path}:{line}: {words}") for problem in problems_of(path))


def test_the_same_problem_on_two_lines_is_two(tmp_path: Path) -> None:
    text = STUDY.replace("{text: 0.5, code: 0.5}", "{text: 0.5, code: 0.7}")
    text = text.replace("{text: 0.75, code: 0.25}", "{text: 0.5, code: 0.7}")
    path = write_study(tmp_path, text)
    assert [problem.partition(": data.")[0] for problem in problems_of(path)] == [
        f"{path}:23: phase balanced",
        f"{path}:26: phase balanced-then-text",
    ]


def test_a_value_of_a_file_that_is_extended_has_the_line_there(tmp_path: Path) -> None:
    base = write_study(tmp_path, STUDY.replace("{text: 1}", "{text: 1.5}"))
    path = tmp_path / "own.yaml"
    path.write_text("extends: study.yaml\nname: own\nworld_size: 4\n")
    [problem] = problems_of(path)
    # Those that set weights of their own are right.
    assert problem.startswith(f"{base}:14: phases text, cooldown: data.mixture.weights: they sum")


def test_a_value_of_an_axis_has_its_line_there(tmp_path: Path) -> None:
    axes = "matrix: {size: [one, two]}\naxes:\n  size:\n    one: {}\n"
    axes += "    two: {model.num_attention_heads: 3}\nphases:\n"
    path = write_study(tmp_path, STUDY.replace("phases:\n", axes, 1))
    [problem, *_] = problems_of(path)
    assert problem.startswith(f"{path}:24: phases two/text, two/balanced, ")


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ("optimizer.weight_deca: [0.1, 0.2]", "every phase: optimizer.weight_deca: unknown key"),
        ("optimizer.weight_decay: [much]", "every phase: optimizer.weight_decay: expected a numb"),
        ("train.global_batch_sequences: [5]", "every phase: train.global_batch_sequences: 5 is"),
    ],
)
def test_a_dotted_key_of_the_matrix_has_its_line_there(
    axis: str, words: str, tmp_path: Path
) -> None:
    path = write_study(tmp_path, STUDY.replace("phases:\n", f"matrix:\n  {axis}\nphases:\n", 1))
    [problem, *_] = problems_of(path)
    assert problem.startswith(f"{path}:21: {words}")
    override = f"matrix={{{axis}}}"
    [problem, *_] = problems_of(write_study(tmp_path), override)
    assert problem.startswith(f"--set {override}: {words}")


def test_what_does_not_fit_the_data_has_its_line(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", num_tokens=16)
    path = write_study(tmp_path, STUDY.replace("vocabulary_size: 64", "vocabulary_size: 60"))
    with pytest.raises(ConfigError) as caught:
        identify(expand(load_study(path, data_root=data)))
    places = [problem.partition(": ")[0] for problem in caught.value.problems]
    assert places == [f"{path}:6", f"{path}:9", f"{path}:9"]
