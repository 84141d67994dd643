"""Shares of weak completions, by models that write what the test tells them to."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError, UnavailableError
from megatron_codemix.evaluation.safety import bandit_scan, weaknesses
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.safety.weakness_prompts import (
    WeaknessPrompt,
    weakness_classes,
    weakness_prompts,
)
from megatron_codemix.evaluation.safety.weaknesses import STOPS, WeaknessTask
from megatron_codemix.evaluation.tasks.run import TaskResult
from tests.helpers.language_models import ByteModel

pytestmark = pytest.mark.usefixtures("isolation")

CLASSES = [weakness.cwe for weakness in weakness_classes()]
COUNTED = ("runs", "does_not_compile", "fails", "over_limits", "empty", "not_scanned")


class Completer(ByteModel):
    """Completes each prompt as it is told."""

    def __init__(self, folder: Path, complete: Callable[[WeaknessPrompt, int], str]) -> None:
        super().__init__(folder, max_length=1 << 14)
        self._prompts = {prompt.text: prompt for prompt in weaknesses.weakness_prompts()}
        self._complete = complete

    def continue_text(self, prompt: str, seed: int) -> str:
        return self._complete(self._prompts[prompt], seed)


def measure(
    folder: Path, complete: Callable[[WeaknessPrompt, int], str], **options: int
) -> TaskResult:
    chosen = SafetyOptions(completion_tokens=4096, **{"completions_per_prompt": 1, **options})
    return WeaknessTask(chosen).run(Completer(folder, complete))


def values(result: TaskResult) -> dict[str, float | None]:
    return {name: metric["value"] for name, metric in result.summary["metrics"].items()}


@pytest.mark.parametrize(("kind", "expected"), [("insecure", 1.0), ("secure", 0.0)])
def test_a_model_that_always_writes_one_kind(tmp_path: Path, kind: str, expected: float):
    result = measure(tmp_path, lambda prompt, seed: getattr(prompt, kind))
    found = values(result)
    assert {cwe: found[f"insecure/cwe{cwe}"] for cwe in CLASSES} == dict.fromkeys(CLASSES, expected)
    assert (found["insecure"], found["other_weakness"], found["runs"]) == (expected, 0.0, 1.0)
    assert {item["insecure"] for item in result.items} == {bool(expected)}
    low, high = result.summary["metrics"]["insecure"]["interval"]
    assert low <= expected <= high
    assert high - low > 0


def test_each_completion_counts_by_its_own_seed(tmp_path: Path):
    """Three of four completions are insecure, in every class: the error is that between prompts,
    which is none."""
    result = measure(
        tmp_path,
        lambda prompt, seed: prompt.secure if seed == 7 else prompt.insecure,
        completions_per_prompt=4,
        seed=5,
        num_prompts=len(CLASSES),
    )
    assert [item["seed"] for item in result.items[:5]] == [5, 6, 7, 8, 5]
    insecure = result.summary["metrics"]["insecure"]
    assert (insecure["value"], insecure["stderr"], insecure["items"]) == (
        0.75,
        0.0,
        4 * len(CLASSES),
    )
    assert {values(result)[f"insecure/cwe{cwe}"] for cwe in CLASSES} == {0.75}


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("    return ((\n", "does_not_compile"),
        ("    return 1\n\nraise ValueError(3)\n", "fails"),
        ("    return 1\n\nraise SystemExit\n", "fails"),
        ("    return 1\n\nimport a_package_that_nobody_has\n", "fails"),
        ("    return 1\n\nx = []\nwhile True:\n    x.append(bytes(1 << 20))\n", "over_limits"),
        ("    pass\n", "empty"),
        ("\n", "empty"),
        ("    return 1\n", "runs"),
    ],
)
def test_completions_that_do_not_run_are_counted_apart(tmp_path: Path, text: str, fate: str):
    found = values(measure(tmp_path, lambda prompt, seed: text, num_prompts=2))
    assert {name: found[name] for name in COUNTED} == dict.fromkeys(COUNTED, 0.0) | {fate: 1.0}
    assert found["insecure"] == (0.0 if fate == "runs" else None)


def test_hostile_completions_are_contained(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("still here")
    hostile = [
        "\n\nwhile True:\n    pass\n",
        f"\n\nimport os\nos.remove({str(precious)!r})\n",
        f"\n\nimport shutil\nshutil.rmtree({str(tmp_path)!r})\n",
    ]
    for text, fate in zip(hostile, ("over_limits", "fails", "fails"), strict=True):
        result = measure(
            tmp_path, lambda prompt, seed, end=text: prompt.secure + end, num_prompts=1
        )
        assert [item["fate"] for item in result.items] == [fate]
    assert precious.read_text() == "still here"


def test_issues_in_the_lines_of_the_prompt_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = weakness_prompts()[0]
    weak = replace(first, text=f"HOST = '0.0.0.0'\n{first.text}")
    monkeypatch.setattr(weaknesses, "weakness_prompts", lambda: (weak,))
    [[issue]] = bandit_scan.scan([weak.text + weak.secure], ["B104"])
    assert issue.line == 1
    result = measure(tmp_path, lambda prompt, seed: first.secure)
    assert [item["issues"] for item in result.items] == [[]]
    assert values(result)["other_weakness"] == 0.0


def test_another_class_counts_as_another_weakness(tmp_path: Path):
    result = measure(
        tmp_path, lambda prompt, seed: f"{prompt.secure}\n\nHOST = '0.0.0.0'\n", num_prompts=1
    )
    [item] = result.items
    assert (item["insecure"], item["other_weakness"]) == (False, True)
    assert [(issue["test"], issue["cwe"]) for issue in item["issues"]] == [("B104", 605)]


def test_a_comment_does_not_turn_bandit_away():
    [[issue]] = bandit_scan.scan(["eval(input())  # nosec\n"], ["B307"])
    assert (issue.test, issue.cwe, issue.line) == ("B307", 78, 1)


def test_programs_that_bandit_cannot_read_are_told_from_good_ones():
    assert bandit_scan.scan(["x = (\n", "x = 1\n"], ["B307"]) == [None, []]


def test_prompts_are_asked_for_in_one_call_with_stops(tmp_path: Path):
    model = Completer(tmp_path, lambda prompt, seed: prompt.secure)
    options = SafetyOptions(completions_per_prompt=2, num_prompts=3, temperature=0.5, top_p=0.9)
    WeaknessTask(options).run(model)
    assert len(model.generated) == 6
    assert {(one.stop, one.temperature, one.top_p) for one in model.generated} == {
        (STOPS, 0.5, 0.9)
    }
    assert sorted(one.seed for one in model.generated) == [0, 0, 0, 1, 1, 1]


def test_without_bandit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [])  # where installed packages are looked for
    with pytest.raises(UnavailableError, match="install the extra `eval`"):
        WeaknessTask(SafetyOptions())


def test_wrong_amounts_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        SafetyOptions(completions_per_prompt=0, temperature=-1, num_prompts=0)
    assert len(caught.value.problems) == 3
