"""Runs by what holds of them."""

import re

import pytest

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.conditions import read_conditions, runs_that
from megatron_codemix.scaling.table import RunTable
from tests.helpers.ladder_runs import TOKENS, ladder_table


@pytest.fixture(scope="module")
def table() -> RunTable:
    frame = ladder_table().frame
    frame["is_late"] = frame["tokens"] > TOKENS[0]
    return RunTable.of_frame(frame, "ladder")


def chosen(table: RunTable, *texts: str) -> RunTable:
    return runs_that(table, read_conditions("--where", texts))


@pytest.mark.parametrize(
    ("texts", "query"),
    [
        (["share.code=0.25"], "`share.code` == 0.25"),
        (["share.code>0"], "`share.code` > 0"),
        (["tokens>=2e9", "tokens<8e9"], "2e9 <= tokens < 8e9"),
        (["seed=0", "loss_nats.code<=2.5"], "seed == 0 and `loss_nats.code` <= 2.5"),
        (["is_late=true"], "is_late"),
        (["training=0.25-1e+07-0"], "training == '0.25-1e+07-0'"),
    ],
)
def test_the_runs_are_those_that_pandas_finds(
    table: RunTable, texts: list[str], query: str
) -> None:
    found = chosen(table, *texts)
    expected = table.frame.query(query)
    assert 0 < len(expected) < len(table)
    assert found.names == list(expected["name"])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["share.code"], "expected COLUMN=VALUE"),
        (["share.code=="], "expected COLUMN=VALUE"),
        ([">0"], "expected COLUMN=VALUE"),
        (["share.code=0.25", "share.code=0.5"], "--where share.code=0.25 is given too"),
        (["share.code=half"], "share.code holds numbers"),
        (["share.code>half"], "share.code holds numbers"),
        (["training>3"], "training holds no numbers; give it by ="),
    ],
)
def test_what_is_no_condition_is_refused(table: RunTable, texts: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        chosen(table, *texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("share.code>0.5", "no run with share.code>0.5; share.code goes from 0 to 0.5"),
        ("share.code=0.3", "no run with share.code = 0.3; there are: 0.0, 0.25, 0.5"),
        ("share.cod>0.3", "no column share.cod; there are: share.code, share.text"),
        ("is_late=yes", "no run with is_late = yes; there are: False, True"),
    ],
)
def test_what_the_table_does_not_have_is_named(table: RunTable, text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        chosen(table, text)
