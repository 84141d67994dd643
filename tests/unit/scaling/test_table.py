"""Tables of runs: what is read, refused and excluded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.laws.data_constrained import DataConstrained
from megatron_codemix.scaling.laws.downstream import ErrorOfLoss
from megatron_codemix.scaling.table import RunTable, read_table

HEAD = "name,parameters_total,tokens,loss_nats.c4,seed"


def written(folder: Path, *lines: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(**columns: list) -> RunTable:
    return RunTable.of_frame(pd.DataFrame(columns), "runs")


def two_sizes(**columns: list) -> RunTable:
    """Four runs, to which columns are added."""
    base = {
        "name": ["a", "b", "c", "d"],
        "parameters_total": [1e8, 1e8, 2e8, 2e8],
        "tokens": [2e9, 4e9, 4e9, 8e9],
        "loss_nats.c4": [3.6, 3.4, 3.3, 3.1],
    }
    return table(**(base | columns))


def test_csv_and_jsonl_give_the_same_table(tmp_path):
    csv = written(tmp_path, HEAD, "a,190M,4B,3.5,1", "b,370000000,8e9,3.25,2")
    jsonl = written(
        tmp_path,
        '{"name": "a", "parameters_total": "190M", "tokens": 4e9, "loss_nats.c4": 3.5, "seed": 1}',
        '{"name": "b", "parameters_total": 370000000, "tokens": 8e9, "loss_nats.c4": 3.25, '
        '"seed": 2}',
        name="runs.jsonl",
    )
    pd.testing.assert_frame_equal(read_table(csv).frame, read_table(jsonl).frame)
    assert read_table(csv).frame["parameters_total"].tolist() == [1.9e8, 3.7e8]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a,0.19,4,3.5,1",
            r"line 2 \(run a\): parameters_total of 0.19: give whole counts, or 2.5B",
        ),
        ("a,190M,4B,-3.5,1", r"line 2 \(run a\): loss_nats.c4 of -3.5: a loss is above zero"),
        ("a,190M,4B,33.5,1", "looks like a perplexity"),
        ("a,190M,4B,high,1", r"line 2 \(run a\): loss_nats.c4: not a number: 'high'"),
        ("a,190 miles,4B,3,1", "parameters_total: not a number: '190 miles'"),
    ],
)
def test_values_that_cannot_be_in_the_columns_unit_are_refused(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path, HEAD, line))


@pytest.mark.parametrize("column", ["loss", "loss.c4", "loss_bits.c4", "params", "tokens_b", "ppl"])
def test_a_quantity_without_its_unit_is_refused(tmp_path, column):
    with pytest.raises(DataError, match=f"column '{column}' does not say its unit"):
        read_table(written(tmp_path, f"{HEAD},{column}", "a,190M,4B,3.5,1,2"))


def test_all_problems_come_together(tmp_path):
    path = written(tmp_path, f"{HEAD},loss", "a,190,4,3.5,1,2")
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value).count(str(path)) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"accuracy.boolq": [61, 62, 63, 64]},
            "run a: accuracy.boolq of 61 .and 3 more rows like it.: it is",
        ),
        (
            {"share.code": [0.2] * 4, "share.text": [0.7] * 4},
            "run a: the shares add to 0.9 .and",
        ),
    ],
)
def test_fractions_are_fractions(columns, message):
    with pytest.raises(DataError, match=message):
        two_sizes(**columns)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a \.csv or a \.jsonl file"):
        read_table(written(tmp_path, HEAD, name="runs.txt"))
    with pytest.raises(DataError, match="there is no run in it"):
        read_table(written(tmp_path, HEAD))
    with pytest.raises(DataError, match="No such file"):
        read_table(tmp_path / "absent.csv")


def test_inputs_are_the_columns():
    inputs, target = two_sizes().inputs_for(Chinchilla(), "loss_nats.c4")
    assert inputs["parameters"].tolist() == [1e8, 1e8, 2e8, 2e8]
    assert inputs["tokens"].tolist() == [2e9, 4e9, 4e9, 8e9]
    assert target.tolist() == [3.6, 3.4, 3.3, 3.1]


def test_a_task_follows_the_only_loss_or_the_one_that_is_named():
    errors = {"error.boolq": [0.5, 0.4, 0.35, 0.3]}
    inputs, _ = two_sizes(**errors).inputs_for(ErrorOfLoss(), "error.boolq")
    assert inputs["loss_nats"].tolist() == [3.6, 3.4, 3.3, 3.1]
    two = two_sizes(**errors, **{"loss_nats.code": [2.0, 1.9, 1.8, 1.7]})
    with pytest.raises(DataError, match="say which loss"):
        two.inputs_for(ErrorOfLoss(), "error.boolq")
    inputs, _ = two.inputs_for(ErrorOfLoss(), "error.boolq", loss_column="loss_nats.code")
    assert inputs["loss_nats"].tolist() == [2.0, 1.9, 1.8, 1.7]


@pytest.mark.parametrize(
    ("law", "column", "message"),
    [
        (Chinchilla(), "loss_nats.pile", "no column loss_nats.pile; there are: loss_nats.c4"),
        (Chinchilla(), "accuracy.boolq", "predicts loss_nats.<name> or bits_per_byte.<name>"),
        (DataConstrained(), "loss_nats.c4", "no column unique_tokens"),
    ],
)
def test_a_column_that_is_not_there_or_does_not_fit_is_named(law, column, message):
    with pytest.raises(DataError, match=message):
        two_sizes().inputs_for(law, column)


def test_counts_with_and_without_embeddings_do_not_mix():
    mixed = two_sizes(
        parameters_total=[1e8, 1e8, None, None],
        parameters_without_embedding=[None, None, 1.5e8, 1.5e8],
    )
    with pytest.raises(DataError, match=r"2 of 4 runs have no parameters_total \(first: c\) but"):
        mixed.inputs_for(Chinchilla(), "loss_nats.c4")


def test_nan_and_marked_runs_are_excluded_and_listed():
    runs = two_sizes(
        **{"loss_nats.c4": [3.6, float("nan"), 3.3, 3.1], "diverged": ["", "", "true", ""]}
    ).usable_for("loss_nats.c4")
    assert runs.names == ["a", "d"]
    assert [(gone.name, gone.reason) for gone in runs.excluded] == [
        ("b", "loss_nats.c4 is no finite number"),
        ("c", "it is marked as diverged"),
    ]
    assert runs.usable_for("loss_nats.c4") == runs


def test_a_run_that_is_worse_than_a_smaller_one_has_diverged():
    runs = two_sizes(**{"loss_nats.c4": [3.6, 3.4, 3.3, 3.95]}).usable_for("loss_nats.c4")
    assert runs.names == ["a", "b", "c"]
    assert runs.excluded[0].reason == (
        "diverged: its loss_nats.c4 of 3.95 is more than 1.1 times those of c (3.3) and b (3.4), "
        "which are no larger and saw no more tokens"
    )
    close = two_sizes(**{"loss_nats.c4": [3.6, 3.4, 3.3, 3.6]})
    assert len(close.usable_for("loss_nats.c4")) == 4


def test_one_wrong_loss_that_is_too_low_condemns_no_run():
    low = two_sizes(**{"loss_nats.c4": [0.36, 3.4, 3.3, 3.1]})
    assert low.usable_for("loss_nats.c4") == low
    both = two_sizes(**{"loss_nats.c4": [0.36, 3.4, 3.3, 3.95]})
    assert both.usable_for("loss_nats.c4").names == ["a", "b", "c"]


def test_the_rule_may_be_left_out_but_not_the_marks():
    runs = two_sizes(
        **{"loss_nats.c4": [3.6, float("nan"), 3.3, 3.95], "diverged": [True, False, False, False]}
    )
    kept = replace(runs, keep_diverged=True).usable_for("loss_nats.c4")
    assert kept.names == ["c", "d"]


def test_copies_of_a_run_count_once():
    same = {"name": ["a", "a", "b", "c"], "parameters_total": [1e8] * 4, "tokens": [2e9] * 4}
    runs = table(**same, **{"loss_nats.c4": [3.6, 3.6, 3.6, 3.5]})
    assert runs.names == ["a", "c"]
    assert [(gone.name, gone.reason) for gone in runs.excluded] == [
        ("a", "the same as run a"),
        ("b", "the same as run a"),
    ]
    assert len(table(**same, **{"loss_nats.c4": [3.6] * 4, "seed": [1, 2, 3, 4]})) == 4
    assert len(table(**same)) == 4


def test_a_run_that_is_bad_at_one_thing_has_not_diverged():
    code = {"loss_nats.c4": [3.6, 3.4, 3.3, 3.95], "loss_nats.code": [2.0, 1.9, 1.8, 1.7]}
    assert len(two_sizes(**code).usable_for("loss_nats.c4")) == 4
    both = two_sizes(**code | {"loss_nats.code": [2.0, 1.9, 1.8, 2.7]})
    assert both.usable_for("loss_nats.code").excluded[0].reason.endswith("likewise")


def test_other_mixtures_and_many_epochs_are_no_sign_of_divergence():
    losses = {"loss_nats.c4": [3.6, 3.4, 3.3, 3.95]}
    shares = {"share.code": [0.2, 0.2, 0.2, 0.9], "share.text": [0.8, 0.8, 0.8, 0.1]}
    assert len(two_sizes(**losses, **shares).usable_for("loss_nats.c4")) == 4
    repeated = two_sizes(**losses, unique_tokens=[1e9, 1e9, 1e9, 1e9])
    assert len(repeated.usable_for("loss_nats.c4")) == 4


def test_a_part_of_the_runs_by_a_label():
    runs = two_sizes(training_set=["c4", "c4", "pile", "pile"])
    assert runs.where_equal("training_set", "pile").names == ["c", "d"]
    with pytest.raises(DataError, match="no run with training_set = web; there are: c4, pile"):
        runs.where_equal("training_set", "web")
    with pytest.raises(DataError, match="no column foo; there are: name, parameters_total, tok"):
        runs.where_equal("foo", "1")


def test_groups_are_the_column_or_the_names():
    assert two_sizes().groups == ["a", "b", "c", "d"]
    assert two_sizes(group=[1, 1, 2, 2]).groups == ["1", "1", "2", "2"]


def test_the_order_of_the_rows_is_kept():
    runs = two_sizes()
    shuffled = RunTable.of_frame(runs.frame.iloc[::-1], "runs")
    _, target = shuffled.inputs_for(Chinchilla(), "loss_nats.c4")
    assert np.array_equal(target, [3.1, 3.3, 3.4, 3.6])
