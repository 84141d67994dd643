"""Made-up items: the task files read them, and they are as long as the real ones."""

import statistics
from pathlib import Path

import pytest

from megatron_codemix.bench.evaluate import suite
from megatron_codemix.bench.evaluate.items import (
    CHOICE_TASKS,
    Writer,
    code_prompts,
    write_choice_items,
)
from megatron_codemix.errors import ConfigError, UnavailableError
from megatron_codemix.evaluation.suites.data import read_task
from megatron_codemix.evaluation.suites.registry import all_tasks

NUM_ITEMS = 200
MEDIAN_CHARACTERS = {
    "arc_easy": ("question", 92),
    "boolq": ("passage", 495),
    "copa": ("premise", 34),
    "winogrande": ("sentence", 25),
}
"""A field of each task and what half of the published items exceed in it: `_` and a space stand
before Winogrande's rest, a full stop behind COPA's premise."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("items")
    write_choice_items(folder, NUM_ITEMS, seed=1)
    return folder


@pytest.mark.parametrize("name", CHOICE_TASKS)
def test_the_tasks_read_items_of_their_lengths(name: str, folder: Path) -> None:
    documents = read_task(all_tasks()[name], folder, limit=None).documents
    assert len(documents) == NUM_ITEMS
    field, median = MEDIAN_CHARACTERS[name]
    found = statistics.median(len(document[field]) for document in documents)
    assert 0.8 * median < found < 1.3 * median + 5, "words are not cut"


def test_the_same_seed_makes_the_same_items(folder: Path, tmp_path: Path) -> None:
    write_choice_items(tmp_path, NUM_ITEMS, seed=1)
    for name in CHOICE_TASKS:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (folder / f"{name}.jsonl").read_bytes()
    write_choice_items(tmp_path, NUM_ITEMS, seed=2)
    assert (tmp_path / "copa.jsonl").read_bytes() != (folder / "copa.jsonl").read_bytes()


def test_prompts_begin_with_functions_and_have_humanevals_lengths() -> None:
    prompts = code_prompts(NUM_ITEMS, seed=1)
    assert all(prompt.startswith("def ") for prompt in prompts)
    assert len(set(prompts)) > NUM_ITEMS // 2
    assert 350 < statistics.median(map(len, prompts)) < 500, "HumanEval's: 396, up to a line's end"


def test_a_text_is_as_long_as_asked() -> None:
    text = Writer(seed=1).words((50, 50))
    last = text.rpartition(" ")[2]
    assert 50 <= len(text) < 50 + len(last) + 1


def test_a_section_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no section 'choice'; there are choices, generation"):
        suite.require_sections(["choices", "choice"])


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch) -> None:
    suite.require_packages()
    lacking = {"lm_eval": None, "accelerate": None}
    monkeypatch.setattr(suite, "find_spec", lambda name: lacking.get(name, "is there"))
    with pytest.raises(UnavailableError, match=r"needs lm_eval, accelerate; .*\[eval\].*\[hf\]"):
        suite.require_packages()
