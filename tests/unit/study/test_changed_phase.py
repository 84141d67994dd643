"""Which run of a phase goes on once the study gives the phase another mixture."""

from pathlib import Path

import pytest

from megatron_codemix.files import write_json
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.study.changed_phase import earlier_run, take_over
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import STUDY, TOKENS_PER_STEP, small_tree

STEP = 4
"""Of the newest checkpoint; the phase has ten steps."""


def tree_with(folder: Path, change_after_steps: int | None, weight: float = 0.25) -> StudyTree:
    """The study whose phase `text` has code in it after so many steps, or none."""
    if change_after_steps is None:
        return small_tree(folder)
    tokens = change_after_steps * TOKENS_PER_STEP * 10**6  # the study's scale is 1e-6
    mixture = f"{{weights: {{text: {1 - weight}, code: {weight}}}}}"
    change = f"data.changes: [{{at_tokens: {tokens}, mixture: {mixture}}}]"
    text = STUDY.replace("  text: {}\n", f"  text: {{set: {{{change}}}}}\n")
    return small_tree(folder, text)


def write_running(tree: StudyTree, out: Path, state: str = "running") -> RunDirectory:
    """The run of `text`, in its middle."""
    node = tree.nodes["single/text"]
    assert node.identity is not None
    assert node.mixture is not None
    run = tree.run_directory(out, node)
    write_json(run.attempt(1) / "plan.json", {"mixture": node.mixture.as_dict()})
    write_json(run.checkpoint(STEP) / COMPLETE_MARKER, {})
    status = Status(identity=node.identity, state=state, step=STEP, num_steps=STEP, attempts=1)
    run.write_status(status)
    return run


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (None, STEP, True),
        (None, STEP - 1, False),  # a step of it was trained with the mixture before
        (7, 5, True),
        (7, None, True),  # taken back
        (STEP - 1, None, False),
    ],
)
def test_a_run_goes_on_where_only_what_comes_changes(
    tmp_path: Path, before: int | None, after: int | None, goes_on: bool
):
    out = tmp_path / "out"
    run = write_running(tree_with(tmp_path, before), out)
    tree = tree_with(tmp_path, after)
    found = earlier_run(tree, out, tree.nodes["single/text"])
    assert (found is not None) == goes_on
    if found is not None:
        assert (found.run.path, found.step) == (run.path, STEP)


def test_a_run_that_is_done_stays_what_it_is(tmp_path: Path):
    out = tmp_path / "out"
    write_running(tree_with(tmp_path, None), out, state="done")
    tree = tree_with(tmp_path, STEP)
    assert earlier_run(tree, out, tree.nodes["single/text"]) is None


def test_a_run_of_another_seed_is_another(tmp_path: Path):
    out = tmp_path / "out"
    other = STUDY.replace("seed: 1", "seed: 2")
    write_running(small_tree(tmp_path, other), out)
    tree = tree_with(tmp_path, STEP)
    assert earlier_run(tree, out, tree.nodes["single/text"]) is None


def test_the_run_takes_the_name_of_its_new_identity_and_keeps_its_files(tmp_path: Path):
    out = tmp_path / "out"
    run = write_running(tree_with(tmp_path, None), out)
    tree = tree_with(tmp_path, STEP)
    node = tree.nodes["single/text"]
    assert take_over(tree, out, node) is not None
    own = tree.run_directory(out, node)
    assert own.path != run.path
    assert not run.path.exists()
    assert own.complete_steps() == [STEP]
    assert take_over(tree, out, node) is None, "it has its run now"
    back = tree_with(tmp_path, None)
    assert take_over(back, out, back.nodes["single/text"]) is not None, "taken back untrained"
    assert run.complete_steps() == [STEP]
