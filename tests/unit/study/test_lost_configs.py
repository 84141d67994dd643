"""The configuration of a finished run, lost or damaged: named, and written again by a start."""

from pathlib import Path

import pytest

from megatron_codemix.study.run_checks import mend_configs, run_problems, start_problems
from tests.helpers.study_files import small_tree, write_trained


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
    [problem] = run_problems(tree, out)
    assert words in problem
    assert "'codemix study run' writes the file again" in problem
    assert start_problems(tree, out) == []
    [told] = mend_configs(tree, out)
    assert words in told
    assert run.config.read_bytes() == whole
    assert [*mend_configs(tree, out), *run_problems(tree, out)] == []


def test_the_configuration_of_another_run_is_not_written(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    node = tree.nodes["single/balanced"]
    run = write_trained(tree, out, node)
    other = run.require_status().identity[::-1]
    run.status.write_text(run.status.read_text().replace(run.require_status().identity, other))
    run.config.unlink()
    assert list(mend_configs(tree, out)) == []
    assert not run.config.exists()
