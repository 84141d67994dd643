"""What tasks and suites there are, and names that are not among them."""

import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.evaluation.suites.readers import READERS
from megatron_codemix.evaluation.suites.registry import all_tasks, expand, suites, table


def nobody() -> list[str]:
    raise AssertionError("the harness's index takes seconds; it was not needed")


def test_suites_and_tasks_are_expanded_in_order_once() -> None:
    assert expand(["boolq", "paper_a"], nobody)[:2] == ["boolq", "arc_easy"]
    assert len(expand(["paper_a", "paper_a"], nobody)) == len(suites()["paper_a"])


def test_unknown_names_are_told_together_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        expand(["bolq", "papera", "lambada_opena", "qqqq"], lambda: ["lambada_openai", "mmlu"])

    boolq, paper_a, lambada, nothing = caught.value.problems
    assert boolq == "--tasks: there is no task or suite 'bolq'; did you mean boolq?"
    assert "did you mean paper_a" in paper_a
    assert lambada.endswith("did you mean lambada_openai?")
    assert nothing.endswith("`codemix evaluate --list-tasks` has all")


def test_names_of_the_harness_are_let_through() -> None:
    assert expand(["mmlu", "boolq"], lambda: ["mmlu"]) == ["mmlu", "boolq"]


@pytest.mark.parametrize("name", all_tasks())
def test_task_files_say_all_that_a_user_needs(name: str) -> None:
    info = all_tasks()[name]
    assert info.reader in READERS
    assert info.files
    assert info.source
    assert info.licence
    assert info.suites
    assert info.random_baseline is None or 0 <= info.random_baseline <= 0.5


def test_the_table_has_every_task() -> None:
    assert [row["task"] for row in table()] == list(all_tasks())
    assert len({tuple(row) for row in table()}) == 1


def test_the_documentation_has_every_task_as_its_file_says() -> None:
    text = (Path(__file__).parents[3] / "docs/evaluation.md").read_text()
    for info in all_tasks().values():
        suite_names = ", ".join(info.suites)
        assert f"| `{info.name}` | {suite_names} | {info.num_items or ''} | {info.metric} |" in text
        files = ", ".join(f"`{name}`" for name in info.better_files + info.files)
        assert f"| {files} |" in text
        assert f"| {info.licence}: {info.source} |" in text
        for one in READERS[info.reader].formats:
            assert f"{', '.join(one.needs)} ({one.name})" in text
    for suite in suites():
        assert f"| `{suite}` |" in text


def test_the_registry_needs_neither_harness_nor_torch() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'lm_eval', 'datasets', 'transformers']))\n"
        "from megatron_codemix.evaluation.suites import above_random, metrics, registry\n"
        "registry.table(); registry.expand(['paper_a'], list)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
