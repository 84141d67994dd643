"""Tokens that a study says there are, where no shard is: epochs, caps, and what goes first."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.outlook import outlook, repetition_warnings, stated_tokens_note
from megatron_codemix.study.tree import StudyTree, check_stated_tokens, expand, identify
from tests.helpers.study_files import STUDY, write_data, write_study

STATED = STUDY.replace("defaults:\n", "source_tokens: {text: 4001, code: 81}\ndefaults:\n", 1)
"""250 samples of text, 5 of code; phases of 640 tokens read 40 samples."""
CAPPED = STATED.replace(
    'code: {train: "{data}/code_train"', 'code: {max_epochs: 4.5, train: "{data}/code_train"'
)
"""22 samples of code, of which the balanced model reads 20, and its child 10."""


def planned(folder: Path, text: str, data: Path | None = None) -> StudyTree:
    root = folder / "nowhere" if data is None else data
    return identify(expand(load_study(write_study(folder, text), data_root=root)))


def test_epochs_are_counted_with_stated_tokens(tmp_path: Path) -> None:
    tree = planned(tmp_path, STATED)
    phases = {phase.phase: phase for phase in outlook(tree)}
    assert phases["balanced"].epochs == pytest.approx({"code": 20 / 5, "text": 20 / 250})
    then = phases["balanced-then-text"]
    assert then.epochs == pytest.approx({"code": 30 / 5, "text": 50 / 250})
    assert then.identity is None, "the data itself is still missing"
    notes = repetition_warnings(list(phases.values()))
    assert [note.split(" times")[0] for note in notes] == [
        "balanced-then-text: code is read 6.00",
        "cooldown: code is read 6.00",
    ]
    [note] = stated_tokens_note(tree)
    assert note.endswith("the study states: text 4001, code 81")
    assert any("code_train" in name for name in tree.inventory.missing)


def test_a_shard_that_is_there_goes_before_what_is_stated(tmp_path: Path) -> None:
    tree = planned(tmp_path, STATED, write_data(tmp_path / "data", num_tokens=161))
    phases = {phase.phase: phase for phase in outlook(tree)}
    assert phases["balanced"].epochs == pytest.approx({"code": 20 / 10, "text": 20 / 10})
    assert stated_tokens_note(tree) == []


def test_stated_tokens_do_not_scale(tmp_path: Path) -> None:
    """Epochs of a tenth of the budget are a tenth of the epochs."""
    whole = planned(tmp_path, STATED.replace("token_scale: 1e-6", "token_scale: 1e-5"))
    assert {phase.phase: phase.epochs["text"] for phase in outlook(whole)}["text"] == 400 / 250


def test_a_cap_that_stated_tokens_cannot_keep_is_refused_without_data(tmp_path: Path) -> None:
    tree = expand(load_study(write_study(tmp_path, CAPPED)))
    with pytest.raises(ConfigError) as caught:
        check_stated_tokens(tree)
    [problem] = caught.value.problems
    place = f"{tmp_path}/study.yaml:13: phase balanced-then-text"
    assert problem.startswith(f"{place}: data.sources.code.max_epochs: 4.5 epochs")
    assert "are 22 samples; earlier phases have read 20" in problem
    with pytest.raises(ConfigError, match="are 22 samples"):
        planned(tmp_path, CAPPED)
    enough = write_data(tmp_path / "data")
    assert planned(tmp_path, CAPPED, enough).nodes["single/cooldown"].identity is not None


def test_every_cap_that_is_not_kept_is_told(tmp_path: Path) -> None:
    text = CAPPED.replace("max_epochs: 4.5", "max_epochs: 2").replace(
        "  text: {}\n", "  text: {}\n  all-code: {set: {data.mixture.weights: {code: 1}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        check_stated_tokens(expand(load_study(write_study(tmp_path, text))))
    # The child would go on where its parent ends, beyond the cap.
    assert {problem.split(": ")[1] for problem in caught.value.problems} == {
        "phase balanced",
        "phase balanced-then-text",
        "phase all-code",
    }


def test_tokens_of_a_source_that_is_none(tmp_path: Path) -> None:
    text = STATED.replace("{text: 4001, code: 81}", "{text: 4001, cod: 81}")
    with pytest.raises(ConfigError) as caught:
        expand(load_study(write_study(tmp_path, text)))
    [problem] = caught.value.problems
    assert "study.yaml:4: source_tokens.cod: no source 'cod'; did you mean 'code'?" in problem
