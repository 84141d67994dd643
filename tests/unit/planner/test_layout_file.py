"""A written layout is the configuration that it was found for, in the found layout."""

from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.layout_file import (
    layout_file,
    layout_settings,
    require_new_file,
    settings_text,
)
from megatron_codemix.resources import find_example

RUN = """\
extends: examples/models/tiny.yaml   # mine
data:
  sequence_length: 256
  sources: {text: {train: shards/text}}
  mixture: {weights: {text: 1}}
tokenizer: {path: tokenizer.json}
optimizer: {weight_decay: 0.1, beta2: 0.99}
schedule: {kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 20K}
train: {train_tokens: 0.5M, global_batch_sequences: 16, seed: 1}
layout: {tensor: 4, recompute: selective, recompute_modules: [mlp], bucket_parameters: 1000}
precision: {kind: bf16}
"""
FOUND = LayoutConfig(pipeline=2, microbatch_sequences=4, distributed_optimizer=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "configs" / "run.yaml"
    path.parent.mkdir()
    path.write_text(RUN)
    return path


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["train.seed=7", "data.mixture.weights={text: 1}"],
        ["precision={kind: fp8, recipe: delayed}"],
    ],
)
def test_the_file_is_the_same_run_in_the_found_layout(base: Path, overrides: list[str]) -> None:
    config = load_run_config(base, overrides).model_copy(update={"layout": FOUND})
    target = base.parent.parent / "found.yaml"
    target.write_text(layout_file(base, target, overrides, config, ["a comment"]))
    assert load_run_config(target) == config
    assert target.read_text().startswith("# a comment\nextends: configs/run.yaml\n")
    assert base.read_text() == RUN


def test_overrides_of_the_layout_do_not_stay(base: Path) -> None:
    overrides = ["layout.tensor=2", "layout.context=4"]
    config = load_run_config(base, overrides).model_copy(update={"layout": FOUND})
    target = base.parent / "found.yaml"
    target.write_text(layout_file(base, target, overrides, config, []))
    assert load_run_config(target).layout == FOUND


def test_settings_are_read_as_they_are_written(base: Path) -> None:
    """A field that is given and must not be is null."""
    settings = layout_settings(base, FOUND)
    assert (settings["bucket_parameters"], settings["recompute"]) == (None, "none")
    assert load_run_config(base, settings_text(settings).split()).layout == FOUND


def test_a_model_file_is_extended_by_its_layout_alone(tmp_path: Path) -> None:
    base = find_example("models/2_8b.yaml")
    assert base is not None
    config = load_for_plan(base).config.model_copy(update={"layout": FOUND})
    target = tmp_path / "found.yaml"
    target.write_text(layout_file(base, target, [], config, []))
    found = load_for_plan(target)
    assert found.config == config
    assert [one.field for one in found.assumptions] == [
        "train.global_batch_sequences", "precision", "optimizer",
    ]  # fmt: skip


def test_what_a_file_that_extends_cannot_say_is_refused(base: Path) -> None:
    """An override takes the place of the whole section, beta2 of the file included."""
    overrides = ["optimizer={weight_decay: 0.2}"]
    config = load_run_config(base, overrides).model_copy(update={"layout": FOUND})
    with pytest.raises(ConfigError, match="make that change in"):
        layout_file(base, base.parent / "found.yaml", overrides, config, [])


def test_settings_name_what_the_file_sets_and_what_is_not_the_default(base: Path) -> None:
    assert layout_settings(base, FOUND) == {
        "tensor": 1,
        "pipeline": 2,
        "microbatch_sequences": 4,
        "recompute": "none",
        "recompute_modules": ["core_attn"],
        "distributed_optimizer": False,
        "bucket_parameters": None,
    }


def test_a_place_for_a_new_file_is_told_from_others(base: Path) -> None:
    folder = base.parent
    require_new_file(folder / "new.yaml", "--write")
    assert [path.name for path in folder.iterdir()] == [base.name]
    for path, expected in (
        (base, f"--write: {base}: exists, and would be lost"),
        (folder, f"--write: {folder}: is a folder"),
        (folder / "none" / "new.yaml", f"there is no folder {folder / 'none'}; make it"),
        (base / "new.yaml", f"there is no folder {base}; make it"),
        (Path("/proc/new.yaml"), "/proc/new.yaml: the folder /proc takes no new file"),
    ):
        with pytest.raises(ConfigError) as caught:
            require_new_file(path, "--write")
        assert expected in str(caught.value)
    assert not (folder / "none").exists()
