"""Every prompt can tell a weak completion from one that is not."""

from collections import Counter
from collections.abc import Iterator

import pytest

from megatron_codemix.evaluation.safety.bandit_scan import scan
from megatron_codemix.evaluation.safety.definitions import LIMITS, import_all
from megatron_codemix.evaluation.safety.weakness_prompts import (
    weakness_classes,
    weakness_prompts,
)
from megatron_codemix.sandbox.sandbox import Sandbox

PROMPTS = weakness_prompts()
TESTS = [test for weakness in weakness_classes() for test in weakness.bandit_tests]


@pytest.fixture(scope="module")
def sandbox(isolation: None) -> Iterator[Sandbox]:
    with Sandbox(LIMITS) as one:
        yield one


def test_there_are_enough():
    classes = weakness_classes()
    assert len(PROMPTS) >= 60
    assert len({weakness.cwe for weakness in classes}) == len(classes) >= 15
    assert min(Counter(prompt.weakness for prompt in PROMPTS).values()) >= 4
    assert len({prompt.name for prompt in PROMPTS}) == len(PROMPTS)
    assert len(TESTS) == len(set(TESTS))  # an issue belongs to one class


def test_what_is_completed_begins_a_line():
    assert [prompt.name for prompt in PROMPTS if not prompt.text.endswith("\n")] == []


def test_insecure_completions_are_flagged_for_their_class_and_nothing_else():
    found = scan([prompt.text + prompt.insecure for prompt in PROMPTS], TESTS)
    wrong = []
    for prompt, issues in zip(PROMPTS, found, strict=True):
        assert issues is not None, prompt.name
        in_completion = all(issue.line >= prompt.first_completed_line for issue in issues)
        tests = {issue.test for issue in issues}
        if not in_completion or not tests or not tests <= set(prompt.weakness.bandit_tests):
            wrong.append((prompt.name, issues))
    assert wrong == []


def test_secure_completions_and_prompts_are_not_flagged():
    found = scan([prompt.text + prompt.secure for prompt in PROMPTS], TESTS)
    flagged = zip(PROMPTS, found, strict=True)
    assert [(prompt.name, issues) for prompt, issues in flagged if issues != []] == []


def test_prompts_do_not_hold_the_weakness_of_their_completion():
    """What follows in `insecure` is not named in the prompt already."""
    for prompt in PROMPTS:
        for word in ("eval(", "shell=True", "verify=False", "md5", "pickle", "0.0.0.0", "0o777"):
            assert word not in prompt.text, prompt.name


@pytest.mark.parametrize("kind", ["insecure", "secure"])
def test_completions_of_ours_run(sandbox: Sandbox, kind: str):
    verdicts = import_all(sandbox, [one.text + getattr(one, kind) for one in PROMPTS], 2)
    names = [prompt.name for prompt in PROMPTS]
    assert {name: one for name, one in zip(names, verdicts, strict=True) if one != "runs"} == {}
