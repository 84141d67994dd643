"""The same weights under the harness's own `hf` model, exported, and where they lie: the same
log-likelihoods and scores on real items."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")
pytest.importorskip("accelerate", reason="the harness's `hf` model needs it")

from megatron_codemix.evaluation.harness.prepared import harness_tasks
from megatron_codemix.evaluation.suites.prepare import ProgramOptions
from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.exported import LLAMA, Case, export_last, trained

DATA = Path(__file__).parents[3] / "shared/data/eval"
TASKS = ("arc_easy", "boolq", "copa", "winogrande")
LIMIT = 12
TOLERANCE = 1e-3
"""Nats, fp32: the two sum in different orders."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # those of the peer
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the benchmarks' items are not in {DATA}"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("parity")
    # Shorter than many of BoolQ's passages: what is cut must be the same too.
    return trained(folder, Case("LlamaForCausalLM", LLAMA), "data.sequence_length=384")


@pytest.fixture(scope="module")
def theirs(run: RunDirectory) -> dict[str, Any]:
    return results_of_hf(run, TASKS, LIMIT)


def results_of_hf(run: RunDirectory, names: Sequence[str], limit: int) -> dict[str, Any]:
    """The harness's results with its own model: samples by task."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    folder = export_last(run, run.path / "exported")
    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4)
    tasks = {task.name: task for task in harness_tasks(names, DATA, limit, ProgramOptions())}
    loaded = {
        "tasks": {name: task.loaded["tasks"][name] for name, task in tasks.items()},
        "groups": {},
    }
    return evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, confirm_run_unsafe_code=True)


def ours(
    run: RunDirectory, out: Path, *layout: str, names: Sequence[str] = TASKS, limit: int = LIMIT
) -> Path:
    done = codemix(
        *("evaluate", run.path, "-t", ",".join(names), "--data-dir", DATA, "--limit", str(limit)),
        *("--out", out, *layout),
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    "layout",
    [
        (),
        ("--nproc", "2", "--tensor", "2"),
        ("--nproc", "2", "--pipeline", "2"),
        ("--nproc", "2"),
    ],
    ids=["one", "tp2", "pp2", "dp2"],
)
def test_likelihoods_and_scores_are_the_harness_s_own(
    run: RunDirectory, theirs: dict[str, Any], tmp_path: Path, layout: tuple[str, ...]
) -> None:
    folder = ours(run, tmp_path, *layout)
    for task in TASKS:
        lines = read_jsonl(folder / f"{task}.first{LIMIT}.jsonl")
        samples = sorted(theirs["samples"][task], key=lambda sample: sample["doc_id"])
        assert len(lines) == len(samples) == LIMIT
        for line, sample in zip(lines, samples, strict=True):
            for (mine, is_greedy), (peer, peer_greedy) in zip(
                line["answers"], sample["filtered_resps"], strict=True
            ):
                assert mine == pytest.approx(peer, abs=TOLERANCE)
                assert is_greedy == peer_greedy
            assert _ranking(line["answers"]) == _ranking(sample["filtered_resps"])
        summary = read_json(folder / f"{task}.first{LIMIT}.summary.json")
        for metric in ("acc", "acc_norm"):
            if f"{metric},none" in theirs["results"][task]:
                peer = theirs["results"][task][f"{metric},none"]
                assert summary["metrics"][metric]["value"] == pytest.approx(peer)
    assert read_json(folder / f"boolq.first{LIMIT}.summary.json")["truncated_prompts"] > 0


def test_programs_are_those_of_the_harness_s_own_model(tmp_path: Path) -> None:
    # So long that HumanEval's prompts and its 1,024 new tokens fit.
    run = trained(
        tmp_path,
        Case("LlamaForCausalLM", LLAMA),
        *("data.sequence_length=2560", "train.train_tokens=81920"),
    )
    peer = results_of_hf(run, ["humaneval"], 4)
    folder = ours(run, tmp_path / "ours", names=["humaneval"], limit=4)
    lines = read_jsonl(folder / "humaneval.first4.jsonl")
    samples = sorted(peer["samples"]["humaneval"], key=lambda sample: sample["doc_id"])
    assert [line["answers"] for line in lines] == [one["filtered_resps"] for one in samples]
    assert any(line["answers"][0][0]["program"] for line in lines)
    summary = read_json(folder / "humaneval.first4.summary.json")
    assert summary["metrics"]["pass@1"]["value"] == peer["results"]["humaneval"]["pass@1,none"]
    assert summary["truncated_prompts"] == summary["shortened_generations"] == 0


def _ranking(answers: list[Any]) -> list[int]:
    """Choices from the best one down."""
    return sorted(range(len(answers)), key=lambda number: -answers[number][0])
