"""Bad input: every problem at once, each with place, path, what was expected and what to do."""

from pathlib import Path

import pytest

from megatron_codemix.config.loader import (
    build_run_config,
    build_section,
    load_run_config,
    load_tree,
)
from megatron_codemix.config.problems import suggestion
from megatron_codemix.corpus.recipes.schema import RecipeSpec
from megatron_codemix.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_run_config(path, overrides)
    return caught.value.problems


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.sead=1", "train.sead: unknown key; did you mean 'seed'?"),
        ("trian.seed=1", "trian: unknown key; did you mean 'train'?"),
        ("seed=1", "seed: unknown key; did you mean 'train.seed'?"),
        ("precision={kind: fp8}", "precision.recipe: missing (How tensors are scaled"),
        ("precision={kind: fp8}", "; one of tensorwise, blockwise, delayed, mxfp8, torch_"),
        ("train.quite_something_else=1", "train.quite_something_else: unknown key"),
        ("train.seed=many", "train.seed: expected a whole number, got 'many'"),
        ("train.seed=1.5", "train.seed: expected a whole number, got '1.5'"),
        ("train.seed=", "train.seed: expected a whole number, got nothing"),
        ("train.seed=[1]", "train.seed: expected a whole number, got a list"),
        ("train.seed={a: 1}", "train.seed: expected a whole number, got a section"),
        ("train.seed=-1", "train.seed: must be at least 0, got '-1'"),
        ("train.seed=4294967296", "train.seed: must be less than 4.29497e+09"),
        ("train.train_tokens=200Q", "expected a whole number such as 4096, 0.5M or 200B"),
        ("train.train_tokens=0", "train.train_tokens: must be greater than 0, got '0'"),
        ("schedule.peak_lr=fast", "schedule.peak_lr: expected a number, got 'fast'"),
        ("schedule.peak_lr=inf", "schedule.peak_lr: expected a finite number, got 'inf'"),
        ("schedule.peak_lr=nan", "schedule.peak_lr"),
        (
            "schedule.start_lr=1",
            "schedule.start_lr: unknown key; it belongs to kind linear, and kind is cosine; remove "
            "it or set schedule.kind=linear",
        ),
        (
            "precision={kind: bf16, recipe: tensorwise}",
            "precision.recipe: unknown key; it belongs to kind fp8, and kind is bf16; remove it or "
            "set precision.kind=fp8",
        ),
        (
            "schedule={kind: constant, lr: 1, warmup_tokens: 1, peak_lr: 1}",
            "schedule.peak_lr: unknown key; it belongs to kind cosine, wsd or step, and kind is "
            "constant; remove it or change schedule.kind",
        ),
        (
            "optimizer.momentum=0.9",
            "optimizer.momentum: unknown key; it belongs to kind muon, and kind is adamw; remove "
            "it or set optimizer.kind=muon",
        ),
        (
            "data.mixture.strategy=uniform",
            "data.mixture.strategy: unknown key; it belongs to kind stages, and kind is constant",
        ),
        (
            "data.changes=[{at_tokens: 1, mixture: {weights: {text: 1}, end: {text: 1}}}]",
            "data.changes.0.mixture.end: unknown key; it belongs to kind linear or cosine, and "
            "kind is constant; remove it or change data.changes.0.mixture.kind",
        ),
        (
            "schedule.kind=cosin",
            "schedule.kind: expected one of cosine, wsd, step, linear, constant, got 'cosin'; "
            "did you mean 'cosine'?",
        ),
        (
            "schedule={peak_lr: 1}",
            "schedule.kind: missing (one of cosine, wsd, step, linear, constant)",
        ),
        ("precision.kind=fp16", "expected one of fp32, bf16, fp8, got 'fp16'"),
        (
            "precision={kind: fp8, recipe: nvfp4}",
            "precision.recipe: expected one of tensorwise, blockwise, delayed, mxfp8, torch_",
        ),
        ("precision={kind: fp8}", "precision.recipe: missing (How tensors are scaled into FP8's"),
        ("precision={kind: bf16, margin: 1}", "precision.margin: unknown key"),
        ("model.add_bias=maybe", "model.add_bias: expected true or false, got 'maybe'"),
        ("layout=", "layout: expected a section (lines of 'key: value'), got nothing"),
        ("data.sources.text=shards/text", "data.sources.text: expected a section"),
        ("data.sources={}", "data.sources: must not be empty"),
        ("data.sources.text.tran=x", "data.sources.text.tran: unknown key; did you mean 'train'?"),
        ("data.mixture.weights.text=-1", "data.mixture.weights.text: must be at least 0"),
        ("init_from={run: x}", "init_from.load: missing (What is taken over"),
        ("train", "expected key=value"),
        ("train.seed.x=1", "train.seed is a value, not a section"),
        ("schedule={kind: ", "not valid YAML"),
    ],
)
def test_one_wrong_override(complete: Path, override: str, expected: str) -> None:
    problems = problems_of(complete, override)
    assert any(p.startswith(f"override {override!r}: ") and expected in p for p in problems), (
        problems
    )


def test_all_problems_of_file_and_overrides_come_together(complete: Path) -> None:
    lines = complete.read_text().splitlines()
    lines[1] = "  num_layers: four"
    lines[2] = "  hidden_sise: 96"
    complete.write_text("\n".join([*lines, "train: {}", "optimiser: {}"]))
    problems = problems_of(complete, "layout.tensor=x", "nonsense")
    text = "\n".join(problems)
    for part in (
        "complete.yaml:2: model.num_layers: expected a whole number, got 'four'",
        "complete.yaml:3: model.hidden_sise: unknown key; did you mean 'hidden_size'?",
        "complete.yaml:1: model.hidden_size: missing (Width of the residual stream)",
        "train: given twice",
        "train.seed: missing",
        "optimiser: unknown key; did you mean 'optimizer'?",
        "override 'layout.tensor=x': layout.tensor: expected a whole number",
        "override 'nonsense': expected key=value",
    ):
        assert part in text, part


def test_a_problem_names_the_file_that_set_the_value(complete: Path) -> None:
    top = complete.parent / "top.yaml"
    top.write_text("extends: complete.yaml\n\ntrain:\n  seed: x\n")
    (problem,) = problems_of(top)
    assert problem.startswith(f"{top}:4: train.seed")


def test_what_an_absent_file_may_hold_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "top.yaml").write_text("extends: nowhere.yaml\nmodel: {num_layers: x}\n")
    problems = problems_of(tmp_path / "top.yaml")
    assert len(problems) == 2, problems
    assert "no file 'nowhere.yaml'" in problems[0]
    assert "model.num_layers: expected a whole number" in problems[1]


def test_a_study_is_not_a_run_configuration() -> None:
    (problem,) = problems_of(EXAMPLES / "quickstart/study.yaml")
    assert problem.endswith(
        "is a study, and a run configuration is wanted; 'codemix study' takes it"
    )


def test_missing_sections_say_what_they_are_for(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    problems = problems_of(tmp_path / "empty.yaml")
    assert f"{tmp_path / 'empty.yaml'}: precision: missing (Number format of weights" in "\n".join(
        problems
    )
    assert len(problems) == 7


def test_a_tree_without_places_is_named_by_the_caller(complete: Path) -> None:
    tree = load_tree(complete)
    del tree["precision"]
    with pytest.raises(ConfigError, match="study phase: precision: missing"):
        build_run_config(tree, "study phase")


def test_a_missing_file_is_one_problem_about_reading(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nowhere.yaml")
    assert problem.endswith("nowhere.yaml: cannot be read (No such file or directory)")


def test_long_values_are_cut(complete: Path) -> None:
    (problem,) = problems_of(complete, "train.seed=" + "x" * 500)
    assert len(problem) < 700


@pytest.mark.parametrize(
    ("name", "near", "expected"),
    [
        ("wbe", ["web", "text"], "; did you mean 'web'?"),
        ("nope", ["envelope", "power"], ""),
        ("written", ["jitter"], ""),
    ],
)
def test_only_a_likely_slip_is_suggested(name: str, near: list[str], expected: str) -> None:
    assert suggestion(name, near) == expected


def test_a_section_of_a_union_may_have_a_field_named_as_its_kind() -> None:
    inputs = [{"files": "/x/*.py", "text_feild": "a"}, {"kind": "commits", "clone": "b"}]
    source = {"licence": "MIT", "policy": "code", "inputs": inputs}
    with pytest.raises(ConfigError) as error:
        build_section(RecipeSpec, {"title": "x", "sources": {"code": source}}, "recipe")
    assert error.value.problems == [
        "recipe: sources.code.inputs.0.text_feild: unknown key; did you mean 'text_field'?",
        "recipe: sources.code.inputs.1.clones: missing (The folders of the clones)",
        "recipe: sources.code.inputs.1.clone: unknown key; did you mean 'clones'?",
    ]
