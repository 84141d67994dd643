"""The configuration of a finished run, lost or damaged: named, and written again by a start."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.files import append_jsonl
from megatron_codemix.study.run_checks import config_problems, mend_configs, start_problems
from megatron_codemix.study.state import phase_progress
from tests.helpers.study_files import SOURCES, STUDY, SUMS, small_tree, write_trained


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "config.yaml: is missing"), ("[]\n", "config.yaml:1: expected lines of 'key: value'")],
)
def test_a_lost_configuration_is_named_and_written_again(
    content: str | None, words: str, tmp_path: Path
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/balanced"])
    whole = run.config.read_bytes()
    run.config.unlink()
    if content is not None:
        run.config.write_text(content)
    [problem] = config_problems(tree, out)
    assert words in problem
    assert "'codemix study run' or 'submit' writes the file again" in problem
    assert start_problems(tree, out) == []
    [told] = mend_configs(tree, out)
    assert words in told
    assert run.config.read_bytes() == whole
    assert [*mend_configs(tree, out), *config_problems(tree, out)] == []


VALIDATED = STUDY.replace(
    "fp32}\n", "fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}\n", 1
).replace("{world_size: 1, max_bytes_per_source: 1KiB}", "{kind: validation}")


@pytest.mark.parametrize("content", [None, "model: {"])
def test_what_another_study_has_validated_is_not_made_up(
    content: str | None, tmp_path: Path
) -> None:
    """In a store the configuration says on what a run was validated, and only who trained it knew:
    after a loss nobody takes its validation for his own."""
    store = tmp_path / "store"
    wider = VALIDATED.replace("max_bytes_per_source: 1KiB", "max_bytes_per_source: 8KiB")
    mine, other = (replace(small_tree(tmp_path, text), store=store) for text in (VALIDATED, wider))
    node, others = mine.nodes["single/text"], other.nodes["single/text"]
    run = write_trained(mine, tmp_path / "out", node)
    losses = {"step": mine.plan(node).num_steps, "sources": dict.fromkeys(SOURCES, SUMS)}
    append_jsonl(run.validation, losses)

    def states() -> list[str]:
        return [
            phase_progress(mine, tmp_path / "out", node).state,
            phase_progress(other, tmp_path / "other", others).state,
        ]

    assert states() == ["done", "trained"]
    run.config.unlink()
    if content is not None:
        run.config.write_text(content)
    assert states() == ["trained", "trained"]
    assert start_problems(other, tmp_path / "other") == []
    [told] = mend_configs(other, tmp_path / "other")
    assert "without what was validated" in told
    assert states() == ["trained", "trained"]
    assert load_run_config(run.config).train == node.config.train


def test_another_users_configuration_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    tree, out = small_tree(tmp_path), tmp_path / "out"
    run = write_trained(tree, out, tree.nodes["single/balanced"])
    run.config.unlink()
    monkeypatch.setattr("megatron_codemix.study.run_checks.write_text", refuse)
    [told] = mend_configs(tree, out)
    assert told.endswith(f"{run.config}: is missing; it cannot be written again: Permission denied")


def test_the_configuration_of_another_run_is_not_written(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    node = tree.nodes["single/balanced"]
    run = write_trained(tree, out, node)
    other = run.require_status().identity[::-1]
    run.status.write_text(run.status.read_text().replace(run.require_status().identity, other))
    run.config.unlink()
    assert list(mend_configs(tree, out)) == []
    assert not run.config.exists()
