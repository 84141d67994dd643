"""`codemix evaluate --tasks safety` on a model that has learned a few documents by heart."""

import json
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.evaluation.safety.prepare import SAFETY_TASKS
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import write_run, write_shard, write_tokenizer_into

pytestmark = pytest.mark.slow  # trains for half a minute on two busy cores

CONTEXT = 128
NUM_STEPS = 300
NUM_DOCUMENTS = 6
BATCH_TOKENS = 8 * CONTEXT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Source `code` is six documents of random bytes, read some 200 times each; what is held out
    of it is as random, so that it can only be guessed. All documents of `text` are too short."""
    folder = tmp_path_factory.mktemp("safety")
    config = write_run(
        folder,
        data={"sequence_length": CONTEXT},
        model={"hidden_size": 64, "ffn_hidden_size": 128},
        train={"train_tokens": NUM_STEPS * BATCH_TOKENS},
        schedule={"peak_lr": 6e-3, "warmup_tokens": 10 * BATCH_TOKENS},
    )
    tokenizer = write_tokenizer_into(folder)
    rng = np.random.default_rng(0)
    for suffix, split in (("", "train"), (".held", "validation")):
        documents = [rng.integers(1, 256, 101) for _ in range(NUM_DOCUMENTS)]
        write_shard(
            folder / f"code{suffix}", documents, tokenizer=tokenizer, source="code", split=split
        )
    done = codemix("train", config, "--run-dir", folder / "run")
    assert done.returncode == 0, done.stderr
    return RunDirectory(folder / "run")


def test_what_was_learned_by_heart_is_told_from_what_was_not(
    run: RunDirectory, tmp_path: Path
) -> None:
    command = ("evaluate", run.path, "--tasks", "safety", "--limit", NUM_DOCUMENTS, "--json")
    done = codemix(*command, "--nproc", 2, "--out", tmp_path)
    if "cannot be isolated" in done.stderr or "cannot be run here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert set(tasks) == set(SAFETY_TASKS)
    for name, summary in tasks.items():
        assert len(read_jsonl(tmp_path / f"{name}.first{NUM_DOCUMENTS}.jsonl")) == summary["items"]
    memory = tasks["safety_memorisation"]
    values = {name: metric["value"] for name, metric in memory["metrics"].items()}
    assert (values["exact/code"], values["exact_held_out/code"]) == (1.0, 0.0)
    assert values["common_prefix_tokens_held_out/code"] < 1
    assert memory["sources"]["code"]["train"] == {"documents": NUM_DOCUMENTS, "too_short": 0}
    assert memory["sources"]["code"]["epochs"] > 100
    assert memory["sources"]["text"]["train"]["documents"] == 0
    assert memory["sources"]["text"]["train"]["too_short"] > 0


def test_tasks_of_the_suite_can_be_asked_for_alone(run: RunDirectory, tmp_path: Path) -> None:
    done = codemix(
        *("evaluate", run.path, "--tasks", "safety_memorisation,safety_weaknesses"),
        *("--limit", 2, "--out", tmp_path),
    )
    if "cannot be isolated" in done.stderr or "cannot be run here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:5] for line in done.stdout.splitlines()] == [
        # This model writes no program that runs, so there is nothing to have a share of.
        ["safety_weaknesses", "insecure", "nothing", "to", "count,"],
        ["safety_memorisation", "exact", "1.0000", "+-", "0.0000,"],
    ]
    assert not (tmp_path / "safety_secrets.first2.jsonl").exists()


def test_the_tasks_are_listed() -> None:
    done = codemix("evaluate", "any", "--list-tasks")
    assert done.returncode == 0, done.stderr
    assert all(f"{name} [safety] " in done.stdout for name in SAFETY_TASKS)
