"""Published values against one another, as the papers' own arithmetic has them, and what a study
may say that it repeats."""

import math
from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.published.catalog import figure_names, read_figure
from megatron_codemix.study.published.figure import PublishedValue
from megatron_codemix.study.tree import expand
from tests.helpers.example_studies import FLAT, STUDIES, planned
from tests.helpers.study_files import STUDY, small_tree, write_study

ROUNDED = 0.05 + 1e-9
"""Table 2 of the first paper has one digit behind the point."""

QUESTIONS = {"logic": 22, "jec_qa": 1000, "ekar": 335, "cosqa": 604}
"""Of the second paper's tasks: each accuracy is so many right ones of these."""


def values_of(name: str) -> list[PublishedValue]:
    return read_figure(name).values()


def table_of(name: str) -> dict[tuple[str, str], float]:
    """(row, measure) -> score or points, as printed."""
    return {
        (one.row, one.measure): float(one.printed.rstrip("%"))
        for one in values_of(name)
        if one.against is None
    }


def test_the_figures_are_those_of_both_papers() -> None:
    assert figure_names() == (
        *("paper_a/cooldown", "paper_a/initialization", "paper_a/proportion", "paper_a/quality"),
        *("paper_a/quality_continued", "paper_a/recommended", "paper_a/scale"),
        *("paper_b/table_2", "paper_b/table_3", "paper_b/table_4", "paper_b/table_6"),
        *("paper_b/table_7", "paper_b/table_8"),
    )


@pytest.mark.parametrize("name", figure_names())
def test_values_are_of_rows_models_and_measures_that_are_named(name: str) -> None:
    figure = read_figure(name)
    assert figure.values()
    for one in figure.values():
        assert {one.row, *([] if one.against is None else one.against[:1])} <= set(figure.rows)
        assert {one.model, *([] if one.against is None else one.against[1:])} <= set(figure.models)
        assert one.measure in figure.measures
        assert (one.row, one.model) != one.against
        assert one.source
    for measure in figure.measures.values():
        assert (measure.ours is None) == (measure.why is not None)


@pytest.mark.parametrize("name", figure_names())
def test_numbers_are_what_is_printed(name: str) -> None:
    for one in values_of(name):
        if one.printed.endswith("x"):
            assert 1 + one.value == pytest.approx(float(one.printed[:-1]))
            continue
        score, _, base = one.printed.partition(" from ")
        if base:
            assert one.value == pytest.approx(float(score) / float(base) - 1)
            assert one.source.startswith("worked out from Table ")
            continue
        printed = float(one.printed.rstrip("%"))
        factor = 1 if one.unit == "points" else 100
        assert abs(one.value) * factor == pytest.approx(printed)
        assert one.value >= 0 or one.unit == "change"


def test_the_means_of_table_2_are_means() -> None:
    table = table_of("paper_a/recommended")
    rows = {row for row, measure in table if measure == "total"}
    assert len(rows) == 10
    for row in rows:
        reasoning, knowledge, code = (table[row, m] for m in ("reasoning", "knowledge", "code"))
        assert table[row, "nl"] == pytest.approx((reasoning + knowledge) / 2, abs=2 * ROUNDED)
        total = (reasoning + knowledge + code) / 3
        assert table[row, "total"] == pytest.approx(total, abs=2 * ROUNDED)


AT_470M = {
    "paper_a/initialization": {},
    "paper_a/cooldown": {"none": "balanced->text", "with 20% code": "balanced->text + cooldown"},
    "paper_a/recommended": {},
}
"""Figures whose changes Table 2 has scores for -> row -> row of the table, where its name is
another."""


@pytest.mark.parametrize("name", AT_470M)
def test_changes_follow_from_table_2_or_say_that_they_do_not(name: str) -> None:
    table = table_of("paper_a/recommended")
    compared = 0
    for one in values_of(name):
        if one.against is None or one.source.startswith("worked out"):
            continue
        rows = [AT_470M[name].get(row, row) for row in (one.row, one.against[0])]
        if any((row, one.measure) not in table for row in rows):
            continue
        score, base = (table[row, one.measure] for row in rows)
        # What the table's last digit leaves open, and that of the text.
        error = (ROUNDED + abs(score / base) * ROUNDED) / base + 0.0051
        follows = score / base - 1 == pytest.approx(one.value, abs=error)
        says_not = one.note is not None and "Table 2 gives" in one.note
        assert follows or says_not, one
        if says_not:
            percent = 100 * (score / base - 1)
            assert f" {percent:.1f}%" in one.note or f" {percent:.0f}%" in one.note, one
        compared += 1
    assert compared >= 3


def test_the_paper_contradicts_itself_in_the_two_places() -> None:
    table = table_of("paper_a/recommended")
    noted = {
        (one.row, one.measure): table[one.row, one.measure] / table[one.against[0], one.measure] - 1
        for one in values_of("paper_a/initialization")
        if one.against is not None and "Table 2 gives" in (one.note or "")
    }
    assert noted == {
        ("balanced-only", "reasoning"): pytest.approx(0.057, abs=5e-4),
        ("balanced->text", "knowledge"): pytest.approx(0.042, abs=5e-4),
    }


@pytest.mark.parametrize("name", [name for name in figure_names() if name.startswith("paper_b")])
def test_the_second_papers_accuracies_are_whole_questions(name: str) -> None:
    for one in values_of(name):
        count = QUESTIONS.get(one.measure)
        if count is not None and one.unit == "score":
            right = one.value * count
            # 284 of 604 are 47.0199%, which it prints as 47.01, and 91 of 335 are 27.16%, as 27.20.
            digit = 1e-3 if one.printed.endswith("0") else 1e-4
            assert right == pytest.approx(round(right), abs=digit * count), one


def test_the_second_papers_tables_agree_where_they_show_the_same_model() -> None:
    table_3, table_6 = table_of("paper_b/table_3"), table_of("paper_b/table_6")
    for measure in ("logic", "jec_qa", "scienceqa", "ekar", "cosqa", "mbpp"):
        assert table_3["CC 2.6B", measure] == table_6["decrease", measure]
    table_2, table_4 = table_of("paper_b/table_2"), table_of("paper_b/table_4")
    for row in ("NL 2.6B", "CODE 2.6B"):
        for measure in ("scienceqa", "ekar"):
            assert table_4[row, measure] == table_2[row, measure]


def test_changes_of_tables_leave_out_what_is_from_nothing() -> None:
    """MBPP of the second paper's NN is 0."""
    changes = [one for one in values_of("paper_b/table_3") if one.unit == "change"]
    assert len(changes) == 3 * 5
    assert "mbpp" not in {one.measure for one in changes}
    [logic] = [one for one in changes if (one.row, one.measure) == ("CC 2.6B", "logic")]
    assert logic.value == pytest.approx(9 / 8 - 1, abs=5e-4), "9 and 8 questions of 22"


def test_units_are_those_of_our_reports() -> None:
    """Accuracies and F1 are shares of 1 there, BLEU goes to 100."""
    [bleu] = [
        one for one in values_of("paper_b/table_3") if (one.row, one.measure) == ("CC 2.6B", "mbpp")
    ]
    assert (bleu.unit, bleu.value, bleu.printed) == ("points", 24.88, "24.88")
    scores = [one.value for one in values_of("paper_b/table_7") if one.unit == "score"]
    assert all(0 < one < 1 for one in scores)


REPEATS = """\
published:
  paper_a/proportion:
    rows: {text-only: 0%, mixed: 25%, cooled: 100%}
"""


def problems_of(tmp_path: Path, published: str, study: str = STUDY) -> list[str]:
    with pytest.raises(ConfigError) as error:
        expand(load_study(write_study(tmp_path, study + published)))
    return error.value.problems


def test_a_study_says_what_it_repeats(tmp_path: Path) -> None:
    spec = expand(load_study(write_study(tmp_path, STUDY + REPEATS))).spec
    rows = spec.published["paper_a/proportion"].rows
    assert rows == {"text-only": "0%", "mixed": "25%", "cooled": "100%"}


def test_it_decides_nothing_that_is_learned(tmp_path: Path) -> None:
    plain, repeating = (small_tree(tmp_path, text) for text in (STUDY, STUDY + REPEATS))
    identities = [[node.identity for node in one.nodes.values()] for one in (plain, repeating)]
    assert identities[0] == identities[1]
    assert None not in identities[0]


@pytest.mark.parametrize(
    ("published", "words"),
    [
        (REPEATS.replace("proportion", "proportoin"),
         [":40: published.paper_a/proportoin: no published figure", "'paper_a/proportion'?"]),
        (REPEATS.replace("paper_a/proportion", "else"),
         ["no published figure 'else'; there are paper_a/cooldown, "]),
        (REPEATS.replace("mixed: 25%", "mixd: 25%"), ["rows.mixd: no variant", "'mixed'?"]),
        (REPEATS.replace("25%", "26%"), ["has no row '26%'; did you mean '25%'?"]),
        (REPEATS.replace("25%", "100%"), ["cooled: variant 'mixed' is row '100%' already"]),
        (REPEATS + "    cells: {sngle: 470M}\n", ["no point 'sngle'; did you mean 'single'?"]),
        (REPEATS + "    cells: {single: 2.8B}\n", ["no model '2.8B'; there are 470M"]),
        ("published: {paper_a/scale: {rows: {mixed: balanced->text}}}\n",
         ["has values of 470M and 2.8B; say which", "{single: ...}"]),
        ("published: {paper_a/proportion: {rows: {}}}\n", ["rows: must not be empty"]),
        (REPEATS + "    cell: {single: 470M}\n", ["cell: unknown key; did you mean 'cells'?"]),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_at_its_place(
    tmp_path: Path, published: str, words: list[str]
) -> None:
    [problem] = problems_of(tmp_path, published)
    assert "study.yaml:" in problem
    for word in words:
        assert word in problem


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    published = REPEATS.replace("mixed: 25%", "mixd: 26%") + "    cells: {x: y}\n"
    assert len(problems_of(tmp_path, published)) == 4


def test_rows_and_figures_are_taken_out_by_a_child(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY + REPEATS)
    child = tmp_path / "child.yaml"
    head = "extends: study.yaml\nname: child\n"
    child.write_text(head + "published: {paper_a/proportion: {rows: {cooled: ~}}}\n")
    assert set(load_study(child).published["paper_a/proportion"].rows) == {"text-only", "mixed"}
    child.write_text(head + "published: {paper_a/proportion: ~}\n")
    assert load_study(child).published == {}


def test_the_papers_own_studies_name_their_figures() -> None:
    named = {name: set(planned(name).spec.published) for name in FLAT}
    assert {name: found for name, found in named.items() if found} == {
        "initialization": {"paper_a/initialization"},
        "proportion": {"paper_a/proportion"},
        "quality": {"paper_a/quality", "paper_a/quality_continued"},
        "cooldown": {"paper_a/cooldown"},
        "scale": {"paper_a/initialization", "paper_a/scale"},
        "recommended": {"paper_a/initialization", "paper_a/recommended"},
        "synthetic_share": {"paper_a/quality"},
        "training_stage": {"paper_b/table_3"},
        "dynamic_mixing": {"paper_b/table_6"},
    }


@pytest.mark.parametrize("name", STUDIES)
def test_axes_of_figures_are_the_shares_that_are_trained(name: str) -> None:
    """What a figure's axis says of a row is the share of code that its variant's phase has."""
    spec = planned(name).spec
    for figure, repeats in spec.published.items():
        rows = read_figure(figure).rows
        if read_figure(figure).axis is None:
            continue
        for variant, row in repeats.rows.items():
            [node] = planned(name).variant("single", variant)
            weights = node.config.data.mixture.weights
            share = weights.get("code", 0.0) / math.fsum(weights.values())
            assert rows[row].at == pytest.approx(100 * share)
