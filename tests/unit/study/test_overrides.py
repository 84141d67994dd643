"""What --set changes of a study, and what of it is refused with which words."""

import re
from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.tree import expand
from tests.helpers.study_files import CELLS, STUDY, write_study


def test_overrides_change_defaults_or_the_study(tmp_path: Path) -> None:
    overrides = ["train.seed=7", "world_size=4", "evaluation.heldout.world_size=3"]
    spec = load_study(write_study(tmp_path), overrides=overrides)
    assert spec.world_size == 4
    assert spec.evaluation.heldout.world_size == 3
    assert expand(spec).nodes["single/cooldown"].config.train.seed == 7


@pytest.mark.parametrize(
    ("phase", "key", "value", "shown"),
    [
        ("cooldown", "train.train_tokens", "400M", {"train_tokens": 400}),
        ("text", "train.train_tokens", "400M", {"train_tokens": 400}),
        ("cooldown", "schedule.final_lr", "2e-6", {"final_lr": 2e-6, "start_lr": 1e-4}),
        (
            "cooldown",
            "train",
            "{train_tokens: 400M, global_batch_sequences: 4, seed: 1}",
            {"train_tokens": 400},
        ),
    ],
    ids=["that it has", "that is new", "below one that it has", "above one"],
)
def test_an_override_changes_a_dotted_key_of_a_phase(
    phase: str, key: str, value: str, shown: dict[str, object], tmp_path: Path
) -> None:
    path = write_study(tmp_path)
    spec = load_study(path, overrides=[f"phases.{phase}.set.{key}={value}"])
    before = load_study(path).phases
    assert [name for name, one in spec.phases.items() if one != before[name]] == [phase]
    config = expand(spec).nodes[f"single/{phase}"].config
    section = getattr(config, key.partition(".")[0]).model_dump()
    assert {name: section[name] for name in shown} == shown


def test_an_override_of_a_phases_value_takes_its_origin_away(tmp_path: Path) -> None:
    origin = "origin: {phases.cooldown.set.train.train_tokens: inferred}\n"
    path = write_study(tmp_path, origin + STUDY)
    assert load_study(path).origin
    assert not load_study(path, overrides=["phases.cooldown.set.train.train_tokens=1M"]).origin


def test_an_override_changes_an_axis(tmp_path: Path) -> None:
    path = write_study(tmp_path, CELLS.replace("little", "0.25"))
    overrides = ["axes.code.0.25.data.mixture.weights={text: 1}"]
    overrides += ["matrix.code=[0.25]", "matrix.train.seed=[3, 4]"]
    spec = load_study(path, overrides=overrides)
    assert spec.matrix == {"code": ["0.25"], "train.seed": ["3", "4"]}
    assert spec.axes["code"]["0.25"] == {"data.mixture.weights": {"text": "1"}}


def test_an_override_below_a_value_is_refused(tmp_path: Path) -> None:
    override = "phases.cooldown.set.train.train_tokens.x=1"
    words = f"--set {override}: phases.cooldown.set.train.train_tokens is a value"
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_study(write_study(tmp_path), overrides=[override])


def test_an_override_that_a_phase_would_undo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phases\.cooldown sets train\.train_tokens itself"):
        load_study(write_study(tmp_path), overrides=["train.train_tokens=5B"])


def test_wrong_overrides_and_a_wrong_file_are_reported_together(tmp_path: Path) -> None:
    text = STUDY.replace("variants:", "varaints:")
    with pytest.raises(ConfigError) as caught:
        load_study(write_study(tmp_path, text), overrides=["bar", "foo=1", "name.x=2"])
    message = str(caught.value)
    for words in ("--set bar: expected key=value", "foo=1", "name is a value", "varaints"):
        assert words in message
