"""Phases of several cells that are one training: which they are, where they lie, what they cost."""

import json
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, ConfigError
from megatron_codemix.run_status import Status
from megatron_codemix.runs import EVALUATION
from megatron_codemix.study.job_graph import job_graph
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.sharing import require_one_run_each
from megatron_codemix.study.state import study_progress
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.study_files import (
    CELLS,
    OTHER_HELD_OUT,
    small_tree,
    write_data,
    write_evaluated,
    write_study,
    write_trained,
)


def apart(tree: StudyTree) -> dict[str, str]:
    return {key: owner for key, owner in tree.owners.items() if key != owner}


def test_what_an_axis_does_not_change_is_trained_once(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, CELLS)
    assert apart(tree) == {"much/base": "little/base", "much/even": "little/even"}
    out = tmp_path / "out"
    runs = {key: tree.run_directory(out, node).path for key, node in tree.nodes.items()}
    assert runs["much/base"] == runs["little/base"]
    assert runs["much/base"].parent == out / "little"
    assert runs["much/mixed"] != runs["little/mixed"]
    origin = tree.resolved_config(out, tree.nodes["much/mixed"]).init_from
    assert origin is not None
    assert origin.run == runs["little/base"]


def test_without_its_data_a_study_knows_the_same(tmp_path: Path) -> None:
    whole = small_tree(tmp_path, CELLS)
    bare = identify(expand(load_study(tmp_path / "study.yaml", data_root=tmp_path / "nowhere")))
    assert bare.owners == whole.owners


def test_phases_of_one_cell_stay_what_they_are(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    assert apart(tree) == {}
    node = tree.nodes["single/text"]
    run = tree.run_directory(tmp_path / "out", node)
    assert (run.path.parent, run.results) == (tmp_path / "out" / "single", EVALUATION)


@pytest.mark.parametrize(
    "setting",
    [
        "layout.tensor: 1",
        "checkpoint.keep_last: 5",
        "validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
    ],
)
def test_what_runs_differently_is_another_training(setting: str, tmp_path: Path) -> None:
    """An axis of layouts is there to compare them; in a store they would be one run."""
    tree = small_tree(tmp_path, CELLS.replace("much: {", f"much: {{{setting}, "))
    assert apart(tree) == {}
    same = tree.nodes["little/base"].identity == tree.nodes["much/base"].identity
    assert same, "it learns the same"
    with pytest.raises(ConfigError, match="little/base and much/base learn the same"):
        require_one_run_each(tree.nodes, tree.owners)


def test_cells_that_share_runs_may_have_a_store(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, CELLS)
    require_one_run_each(tree.nodes, tree.owners)


def test_other_held_out_documents_are_another_evaluation_of_the_same_run(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, OTHER_HELD_OUT), tmp_path / "out"
    first, second = (
        tree.run_directory(out, tree.nodes[f"{cell}/base"]) for cell in ("little", "much")
    )
    assert first.path == second.path
    assert first.results == EVALUATION
    assert second.evaluation.parent == first.evaluation
    write_evaluated(tree, write_trained(tree, out, tree.nodes["little/base"]), {"text": 1000.0})
    states = {phase.node.key: phase.state for phase in study_progress(tree, out)}
    assert (states["little/base"], states["much/base"]) == ("done", "trained")
    write_evaluated(tree, second, {"text": 2000.0})
    states = {phase.node.key: phase.state for phase in study_progress(tree, out)}
    assert (states["little/base"], states["much/base"]) == ("done", "done")


def test_a_folder_with_a_run_for_each_cell_goes_on(tmp_path: Path) -> None:
    """As it was made before: the one that is further is taken, neither is trained again."""
    tree, out = small_tree(tmp_path, CELLS), tmp_path / "out"
    node = tree.nodes["much/base"]
    assert node.identity is not None
    run = write_trained(tree, out, tree.nodes["little/base"])
    old = out / "much" / f"base-{node.identity[:8]}"
    old.parent.mkdir()
    run.path.rename(old)
    run.write_status(Status(identity=node.identity, state="pending", step=2))
    assert {tree.run_directory(out, tree.nodes[f"{cell}/base"]).path for cell in tree.cells} == {
        old
    }


def test_one_job_for_what_is_trained_once(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, CELLS), tmp_path / "out"
    jobs = {job.name: job for job in job_graph(tree, study_progress(tree, out))}
    assert [name for name in jobs if name.endswith(":train")] == [
        f"small:{key}:train" for key in ("little/base", "little/mixed", "little/even", "much/mixed")
    ]
    assert len([name for name in jobs if name.endswith(":evaluate")]) == 4
    assert jobs["small:much/mixed:train"].needs == ("small:little/base:train",)
    for job in jobs.values():
        assert {*job.needs, *job.follows} <= set(jobs)


def test_one_training_and_a_job_for_each_evaluation(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, OTHER_HELD_OUT), tmp_path / "out"
    jobs = {job.name: job for job in job_graph(tree, study_progress(tree, out))}
    assert jobs["small:much/base:evaluate"].needs == ("small:little/base:train",)
    assert jobs["small:little/base:evaluate"].needs == ("small:little/base:train",)
    assert "small:much/base:train" not in jobs
    write_trained(tree, out, tree.nodes["little/base"])
    jobs = {job.name: job for job in job_graph(tree, study_progress(tree, out))}
    assert jobs["small:much/base:evaluate"].needs == ()
    assert jobs["small:much/mixed:train"].needs == ()


def test_a_plan_counts_each_training_once_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    words = ["study", "plan", str(write_study(tmp_path, CELLS)), "--data", str(data)]
    assert main([*words, "--gpu", "h100", "--json"]) == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    phases = {f"{one['cell']}/{one['phase']}": one for one in record["phases"]}
    assert {key for key, one in phases.items() if one["trained_with"]} == {
        "much/base",
        "much/even",
    }
    # Each phase has 640 tokens, and none has another's shape.
    assert record["trainings"]["count"] == 4
    assert record["trainings"]["tokens"] == 4 * 640
    each = phases["little/base"]["gpu_hours"]
    assert record["trainings"]["gpu_hours"] == pytest.approx(4 * each)
    assert record["cost"]["total"]["tokens"] == 4 * 640
    [note] = [text for text in record["warnings"] if "trained once" in text]
    assert note.startswith("4 trainings for 6 phases")
    assert "much/base with little/base" in note
    assert main([*words, "--gpu", "h100"]) == EXIT_DONE
    assert "counted with" in capsys.readouterr().out
