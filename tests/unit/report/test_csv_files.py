"""The report's tables as CSV: read back by pandas and by the csv module, against report.json."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from megatron_codemix.files import read_json
from megatron_codemix.report.csv_files import COMPARISONS, csv_text
from megatron_codemix.report.render import write_report
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained
from tests.helpers.task_results import write_task_results

NAMES = ("variants", "comparisons", "phases", "sources", "heldout", "tasks", "published")
ALL = (
    STUDY.replace("  mixed:", '  "mixed, \\"half\\"":')
    + "  tasks: {names: [copa, mbpp]}\n"
    + "matrix: {size: [small, wide], train.seed: [1, 2]}\n"
    + "axes: {size: {small: {}, wide: {model.hidden_size: 32}}}\n"
    + "published: {paper_a/proportion: {rows: {text-only: 0%, cooled: 25%}}}\n"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder of the tables, and report.json."""
    folder = tmp_path_factory.mktemp("study")
    tree, out = small_tree(folder, ALL), folder / "out"
    for key, node in tree.nodes.items():
        generator = np.random.default_rng(list(key.encode()))
        nats = {name: float(generator.uniform(1500, 2500)) for name in ("text", "code")}
        write_evaluated(tree, write_trained(tree, out, node), nats)
        answers = {name: generator.integers(2, size=30) * 1.0 for name in ("copa", "mbpp")}
        write_task_results(tree, out, node, answers)
    result = write_report(tree, out)
    return result.tables, read_json(result.json)


def table(written: tuple[Path, dict[str, Any]], name: str) -> pd.DataFrame:
    return pd.read_csv(written[0] / f"{name}.csv")


def test_every_table_is_there(written: tuple[Path, dict[str, Any]]) -> None:
    assert sorted(path.name for path in written[0].iterdir()) == sorted(f"{n}.csv" for n in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_lines_end_and_quote_as_rfc_4180_has_it(
    written: tuple[Path, dict[str, Any]], name: str
) -> None:
    raw = (written[0] / f"{name}.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    rows = list(csv.reader(io.StringIO(raw.decode(), newline=""), strict=True))
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1
    assert len(set(rows[0])) == len(rows[0])


def test_names_with_commas_and_quotes_come_back(written: tuple[Path, dict[str, Any]]) -> None:
    assert set(table(written, "variants")["variant"]) == {"text-only", 'mixed, "half"', "cooled"}


def test_heldout_is_that_of_the_report(written: tuple[Path, dict[str, Any]]) -> None:
    frame = table(written, "heldout").set_index(["variant", "cell", "source"])
    rows = written[1]["variants"]
    assert len(frame) == 2 * len(rows) == 2 * 12
    for row in rows:
        for source, score in row["heldout"].items():
            line = frame.loc[(row["name"], row["cell"], source)]
            assert line["bits_per_byte"] == score["bits_per_byte"]
            assert line["relative"] == score["relative"]
            assert np.isnan(line["low"])
            assert (line["point"], line["seed"]) == tuple(
                part if place == 0 else int(part.removeprefix("seed"))
                for place, part in enumerate(row["cell"].split("."))
            )


def test_comparisons_are_those_of_the_report(written: tuple[Path, dict[str, Any]]) -> None:
    frame = table(written, "comparisons")
    rows = written[1]["comparisons"]
    assert list(frame.columns) == list(rows[0]) == list(COMPARISONS)
    assert len(frame) == len(rows)
    for column in ("difference", "low", "p_corrected", "value"):
        assert np.allclose(frame[column], [row[column] for row in rows], rtol=1e-15)
    assert list(frame["lower_is_better"]) == [row["lower_is_better"] for row in rows]
    assert list(frame["verdict"]) == [row["verdict"] for row in rows]


def test_tasks_have_averages_beside_them(written: tuple[Path, dict[str, Any]]) -> None:
    frame = table(written, "tasks")
    assert set(zip(frame["kind"], frame["name"], strict=True)) == {
        *(("task", name) for name in ("copa", "mbpp")),
        *(("average", name) for name in ("reasoning", "code")),
    }
    wide = frame.pivot(index=["variant", "cell"], columns=["kind", "name"], values="value")
    assert np.allclose(wide["task", "copa"], wide["average", "reasoning"])


def test_phases_have_their_costs(written: tuple[Path, dict[str, Any]]) -> None:
    frame = table(written, "phases")
    cost = written[1]["cost"]["phases"]
    assert list(frame["train_seconds"]) == [row["train_seconds"] for row in cost]
    assert frame.loc[frame["phase"] == "balanced", "variants"].iloc[0] == 'mixed, "half"; cooled'
    sources = table(written, "sources")
    assert sources["consumed_tokens"].sum() == frame["tokens"].sum()


def test_published_is_flat(written: tuple[Path, dict[str, Any]]) -> None:
    frame = table(written, "published")
    rows = [row for entry in written[1]["published"] for row in entry["rows"]]
    assert len(frame) == len(rows)
    assert list(frame["paper"]) == [row["paper"]["value"] for row in rows]
    ours = [np.nan if row["ours"] is None else row["ours"]["value"] for row in rows]
    assert np.allclose(frame["ours"], ours, equal_nan=True)
    assert frame["ours"].notna().any()
    assert (frame["ours"].isna() == frame["why"].notna()).all()


def test_a_column_that_nobody_has_named_is_an_error() -> None:
    with pytest.raises(ValueError, match="other"):
        csv_text(["name"], [{"name": 1, "other": 2}])


def test_a_table_without_rows_has_its_header() -> None:
    assert csv_text(["a", "b"], []) == "a,b\r\n"
