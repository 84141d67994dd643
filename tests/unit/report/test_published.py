"""Published values beside ours: like beside like, by other means, and why nothing stands there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from megatron_codemix.report.collect import collect
from megatron_codemix.report.tables import build_report
from megatron_codemix.report.tasks import CATEGORIES
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained
from tests.helpers.task_results import write_task_results

LEVELS = {"text": 0.5, "balanced": 0.55, "balanced-then-text": 0.6, "cooldown": 0.3}
"""Phase -> chance of a right answer."""

NUM_ITEMS = 80
ROWS = "    rows: {text-only: 0%, mixed: 25%, cooled: 100%}\n"
PROPORTION = f"published:\n  paper_a/proportion:\n{ROWS}"
TASKS = "  tasks: {names: [copa, boolq, nq_open, triviaqa, mbpp, humaneval]}\n"
SEEDS = "matrix: {train.seed: [1, 2, 3]}\n"


def answers_of(tree: StudyTree, key: str, names: list[str]) -> dict[str, np.ndarray]:
    """Right or wrong; some questions are hard for all."""
    node = tree.nodes[key]
    found = {}
    for name in names:
        hard = np.random.default_rng(list(name.encode())).normal(0, 0.2, NUM_ITEMS)
        own = np.random.default_rng(list(f"{name} {key}".encode())).random(NUM_ITEMS)
        wide = 0.1 if node.cell.startswith("wide") else 0.0
        found[name] = (own < LEVELS[node.name] + wide + hard).astype(float)
    return found


def write_study_results(
    tree: StudyTree, out: Path, *, not_above_random: tuple[str, ...] = ()
) -> None:
    asked = tree.spec.evaluation.tasks
    for key, node in tree.nodes.items():
        write_evaluated(tree, write_trained(tree, out, node), {"text": 2000.0, "code": 2000.0})
        if asked is not None:
            answers = answers_of(tree, key, asked.names)
            write_task_results(tree, out, node, answers, not_above_random=not_above_random)


def report_of(tmp_path: Path, text: str, **how: Any) -> tuple[StudyTree, dict[str, Any]]:
    tree = small_tree(tmp_path, text)
    write_study_results(tree, tmp_path / "out", **how)
    report = build_report(collect(tree, tmp_path / "out"))
    return tree, json.loads(json.dumps(report, allow_nan=False))


def entry_of(report: Mapping[str, Any], measure: str, unit: str) -> dict[str, Any]:
    [entry] = [
        one for one in report["published"] if (one["measure"], one["unit"]) == (measure, unit)
    ]
    return entry


def row_of(entry: Mapping[str, Any], row: str, cell: str = "single") -> dict[str, Any]:
    [found] = [one for one in entry["rows"] if (one["row"], one["cell"]) == (row, cell)]
    return found


def mean_of(tree: StudyTree, key: str, names: list[str]) -> float:
    return float(np.mean([one.mean() for one in answers_of(tree, key, names).values()]))


def test_without_benchmarks_nothing_stands_beside_the_paper(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, STUDY + PROPORTION)
    assert [(one["measure"], one["unit"]) for one in report["published"]] == [
        ("average/reasoning", "change"),
        ("average/knowledge", "change"),
        ("average/code", "change"),
        ("average/code", "score"),
    ]
    for entry in report["published"]:
        assert entry["note"].startswith("This study asks for no benchmarks: its held-out")
        for row in entry["rows"]:
            assert row["ours"] is None
            assert row["why"]
    row = row_of(entry_of(report, "average/reasoning", "change"), "25%")
    assert (row["variant"], row["at"], row["against"]["variant"]) == ("mixed", 25.0, "text-only")
    assert row["paper"] == {
        "value": 0.034,
        "printed": "3.4%",
        "source": "section 3.3",
        "note": None,
    }
    assert row["why"].startswith("this study asks for no benchmarks")


def test_changes_are_from_the_papers_row(tmp_path: Path) -> None:
    tree, report = report_of(tmp_path, STUDY + TASKS + PROPORTION)
    reasoning = row_of(entry_of(report, "average/reasoning", "change"), "25%")["ours"]
    mixed, text = (
        mean_of(tree, f"single/{name}", ["copa", "boolq"])
        for name in ("balanced-then-text", "text")
    )
    assert reasoning["value"] == pytest.approx(mixed / text - 1)
    assert reasoning["tasks"] == ["boolq", "copa"]
    assert (reasoning["seeds"], reasoning["over"]) == (1, "1 seed, 160 items")
    [same] = [
        row
        for row in report["comparisons"]
        if (row["variant"], row["metric"]) == ("mixed", "average/reasoning")
    ]
    ends = [same["relative_low"], same["relative_high"]]
    assert [reasoning["low"], reasoning["high"]] == pytest.approx(ends)
    # Of code the paper compares with another row than the study's baseline.
    code = row_of(entry_of(report, "average/code", "change"), "100%")
    assert code["against"]["variant"] == "mixed"
    cooled, mixed = (
        mean_of(tree, f"single/{name}", ["mbpp", "humaneval"])
        for name in ("cooldown", "balanced-then-text")
    )
    assert code["ours"]["value"] == pytest.approx(cooled / mixed - 1)


def test_the_interval_of_a_change_from_another_row_is_that_of_its_own_study(
    tmp_path: Path,
) -> None:
    """The same records, reported with that row as the study's baseline."""
    text = STUDY + TASKS + SEEDS + PROPORTION
    _, report = report_of(tmp_path, text)
    row = row_of(entry_of(report, "average/code", "change"), "100%")["ours"]
    turned = text.replace("baseline: text-only", "baseline: mixed")
    tree = small_tree(tmp_path, turned)
    comparisons = build_report(collect(tree, tmp_path / "out"))["comparisons"]
    [same] = [
        one for one in comparisons if (one["variant"], one["metric"]) == ("cooled", "average/code")
    ]
    assert (row["seeds"], row["over"]) == (3, "3 seeds, 160 items")
    found = [row["value"], row["low"], row["high"]]
    assert found == pytest.approx([same[f"relative{end}"] for end in ("", "_low", "_high")])


def test_rows_that_the_study_has_not_say_so(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, STUDY + TASKS + PROPORTION.replace("25%", "50%"))
    knowledge = entry_of(report, "average/knowledge", "change")
    [lost] = [row for row in knowledge["rows"] if row["row"] == "25%"]
    assert (lost["variant"], lost["ours"]) == (None, None)
    assert lost["why"] == "no variant of this study is 25% code"
    assert row_of(knowledge, "100%")["ours"] is not None
    [code] = entry_of(report, "average/code", "change")["rows"]
    assert code["why"] == "no variant of this study is 25% code", "which it is compared with"


def test_a_score_is_beside_a_score_over_the_same_tasks(tmp_path: Path) -> None:
    tree, report = report_of(tmp_path, STUDY + TASKS + PROPORTION)
    row = row_of(entry_of(report, "average/code", "score"), "0%")
    answers = answers_of(tree, "single/text", ["mbpp", "humaneval"])
    value = np.mean([one.mean() for one in answers.values()])
    error = np.sqrt(sum(one.var(ddof=1) / NUM_ITEMS for one in answers.values())) / 2
    ours = row["ours"]
    assert (ours["value"], ours["over"]) == (pytest.approx(value), "1 seed, 160 items")
    ends = [value - stats.norm.ppf(0.975) * error, value + stats.norm.ppf(0.975) * error]
    assert [ours["low"], ours["high"]] == pytest.approx(ends)
    assert row["paper"]["value"] == 0
    assert row["against"] is None


def test_a_score_over_other_tasks_is_not(tmp_path: Path) -> None:
    text = STUDY + TASKS.replace(", humaneval", "") + PROPORTION
    _, report = report_of(tmp_path, text)
    row = row_of(entry_of(report, "average/code", "score"), "0%")
    assert row["ours"] is None
    assert "our mean is without humaneval, which the study does not ask for" in row["why"]
    change = entry_of(report, "average/code", "change")
    assert row_of(change, "100%")["ours"]["tasks"] == ["mbpp"]
    assert "Ours is over 1 of the paper's 2 tasks, without humaneval" in change["note"]


def test_averages_of_which_nothing_was_asked(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, STUDY + "  tasks: {names: [copa, boolq]}\n" + PROPORTION)
    row = row_of(entry_of(report, "average/code", "score"), "0%")
    assert row["why"] == "this study does not ask for any of humaneval, mbpp"


def test_scores_of_several_seeds_have_students_interval(tmp_path: Path) -> None:
    tree, report = report_of(tmp_path, STUDY + TASKS + SEEDS + PROPORTION)
    ours = row_of(entry_of(report, "average/code", "score"), "0%")["ours"]
    names = ["mbpp", "humaneval"]
    scores = [mean_of(tree, f"seed{seed}/text", names) for seed in (1, 2, 3)]
    low, high = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert (ours["seeds"], ours["over"]) == (3, "3 seeds")
    found = [ours["value"], ours["low"], ours["high"]]
    assert found == pytest.approx([np.mean(scores), low, high])


def test_tasks_that_are_not_above_random_are_left_out_as_in_the_paper(tmp_path: Path) -> None:
    text = STUDY + TASKS + PROPORTION
    _, report = report_of(tmp_path, text, not_above_random=("humaneval",))
    assert row_of(entry_of(report, "average/code", "score"), "0%")["ours"]["tasks"] == ["mbpp"]
    _, report = report_of(tmp_path, text, not_above_random=("humaneval", "mbpp"))
    row = row_of(entry_of(report, "average/code", "score"), "0%")
    assert row["ours"] is None
    assert row["why"].startswith("of the paper's tasks this study asks for humaneval, mbpp, and")


SIZES = (
    "matrix: {size: [small, wide], train.seed: [1, 2]}\n"
    "axes: {size: {small: {}, wide: {model.hidden_size: 32}}}\n"
)
SCALE = (
    "published:\n"
    "  paper_a/scale:\n"
    "    rows: {text-only: balanced-only, mixed: balanced->text}\n"
    "    cells: {small: 470M, wide: 2.8B}\n"
)


def test_a_recipe_is_compared_with_itself_at_another_size(tmp_path: Path) -> None:
    tree, report = report_of(tmp_path, STUDY + TASKS + SIZES + SCALE)
    names = ["nq_open", "triviaqa"]
    row = row_of(entry_of(report, "average/knowledge", "change"), "balanced->text", "wide")
    assert (row["model"], row["against"]["model"]) == ("2.8B", "470M")
    assert (row["against"]["row"], row["against"]["cell"]) == ("balanced->text", "small")
    large, small = (
        [mean_of(tree, f"{size}.seed{seed}/balanced-then-text", names) for seed in (1, 2)]
        for size in ("wide", "small")
    )
    ours = row["ours"]
    assert ours["value"] == pytest.approx(np.mean(large) / np.mean(small) - 1)
    assert ours["low"] < ours["value"] < ours["high"]
    assert ours["over"] == "2 seeds, 160 items"
    reasoning = entry_of(report, "average/reasoning", "change")
    [code_first] = [one for one in reasoning["rows"] if one["row"] == "code->text"]
    assert code_first["why"] == "no variant of this study is code->text"


def test_within_the_larger_size(tmp_path: Path) -> None:
    tree, report = report_of(tmp_path, STUDY + TASKS + SIZES + SCALE)
    rows = [
        row
        for row in entry_of(report, "average/code", "change")["rows"]
        if row["row"] == "balanced->text" and row["against"]["row"] == "balanced-only"
    ]
    [row] = rows
    assert (row["cell"], row["against"]["cell"], row["model"]) == ("wide", "wide", "2.8B")
    scores = {
        name: np.mean(
            [mean_of(tree, f"wide.seed{seed}/{name}", ["mbpp", "humaneval"]) for seed in (1, 2)]
        )
        for name in ("balanced-then-text", "text")
    }
    expected = scores["balanced-then-text"] / scores["text"] - 1
    assert row["ours"]["value"] == pytest.approx(expected)


def test_a_model_that_no_point_of_the_matrix_is(tmp_path: Path) -> None:
    text = STUDY + TASKS + SIZES + SCALE.replace(", wide: 2.8B", "")
    _, report = report_of(tmp_path, text)
    for entry in report["published"]:
        for row in entry["rows"]:
            assert row["ours"] is None
            if row["variant"] is not None:
                assert row["why"] == "no point of this study's matrix is the model of 2.8B"


def test_unfinished_variants_and_failed_baselines(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY + TASKS + PROPORTION)
    out = tmp_path / "out"
    write_study_results(tree, out)
    (tree.run_directory(out, tree.nodes["single/cooldown"]).evaluation / "tasks.json").unlink()
    report = build_report(collect(tree, out))
    row = row_of(entry_of(report, "average/reasoning", "change"), "100%")
    assert (row["ours"], row["why"]) == (None, "cooled is not finished")
    assert row_of(entry_of(report, "average/reasoning", "change"), "25%")["ours"] is not None


def test_a_baseline_of_zero_has_no_change(tmp_path: Path) -> None:
    text = STUDY + TASKS + PROPORTION.replace("text-only: 0%, mixed: 25%", "text-only: 25%")
    tree = small_tree(tmp_path, text)
    out = tmp_path / "out"
    write_study_results(tree, out)
    wrong = {name: np.zeros(NUM_ITEMS) for name in ("mbpp", "humaneval")}
    answers = answers_of(tree, "single/text", ["copa", "boolq", "nq_open", "triviaqa"])
    write_task_results(tree, out, tree.nodes["single/text"], answers | wrong)
    row = row_of(entry_of(build_report(collect(tree, out)), "average/code", "change"), "100%")
    assert row["why"] == "text-only has a score of 0, and no change is relative to it"


def test_the_second_papers_tasks_go_by_its_metrics(tmp_path: Path) -> None:
    """BLEU beside BLEU; pass@1 of the same task is another kind."""
    names = ["cosqa", "mbpp_bleu"]
    text = STUDY + f"  tasks: {{names: [{', '.join(names)}]}}\n"
    text += "published: {paper_b/table_6: {rows: {mixed: uniform, cooled: decrease}}}\n"
    tree = small_tree(tmp_path, text)
    out = tmp_path / "out"
    for metric in ("bleu", "pass@1"):
        for key, node in tree.nodes.items():
            write_evaluated(tree, write_trained(tree, out, node), {"text": 1.0})
            answers = answers_of(tree, key, names)
            write_task_results(tree, out, node, answers, metrics={"mbpp_bleu": metric})
        report = build_report(collect(tree, out))
        row = row_of(entry_of(report, "task/mbpp_bleu", "points"), "uniform")
        value = answers_of(tree, "single/balanced-then-text", names)["mbpp_bleu"].mean()
        if metric == "bleu":
            assert row["ours"]["value"] == pytest.approx(value)
        else:
            assert row["why"] == "mbpp_bleu is reported here by pass@1, in the paper by bleu"
    cosqa = entry_of(report, "task/cosqa", "score")
    assert row_of(cosqa, "uniform")["paper"]["value"] == pytest.approx(0.5165)
    assert row_of(cosqa, "uniform")["ours"] is not None
    logic = row_of(entry_of(report, "task/ceval_logic", "score"), "uniform")
    assert logic["why"] == "this study does not ask for ceval_logic"
    law = entry_of(report, "jec_qa", "score")
    assert all("does not say which questions" in row["why"] for row in law["rows"])
    assert law["note"].startswith("Nothing of ours is beside it: the paper does not say which")


def test_an_axis_that_sets_the_seed_is_a_repetition_by_any_name(tmp_path: Path) -> None:
    axes = "axes: {again: {a: {train.seed: 1}, b: {train.seed: 2}, c: {train.seed: 3}}}\n"
    named = STUDY + TASKS + "matrix: {again: [a, b, c]}\n" + axes + PROPORTION
    _, report = report_of(tmp_path, named)
    assert {row["cell"] for row in report["comparisons"]} == {"single"}
    assert {row["seeds"] for row in report["comparisons"]} == {3}
    assert all(row["p"] is not None for row in report["comparisons"])
    assert [(row["cell"], row["num_seeds"]) for row in report["seeds"]] == [("", 3)] * 3
    assert not any("one seed" in warning for warning in report["warnings"])
    row = row_of(entry_of(report, "average/reasoning", "change"), "25%")
    assert row["ours"]["seeds"] == 3


def test_an_axis_has_a_place_for_each_row(tmp_path: Path) -> None:
    _, report = report_of(tmp_path, STUDY + PROPORTION)
    axis = report["published"][0]["axis"]
    assert axis["label"] == "code in pre-training, % of tokens"
    assert axis["values"] == {"0%": 0, "25%": 25, "50%": 50, "75%": 75, "90%": 90, "100%": 100}


def test_averages_are_the_papers() -> None:
    """Two knowledge, eleven reasoning, two code: its Table 1."""
    assert [len(CATEGORIES[name]) for name in ("knowledge", "reasoning", "code")] == [2, 11, 2]
