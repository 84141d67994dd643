"""`codemix generate`, its server, and `codemix judge --judge local`, on a run that was trained."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import RetryableError, RunError
from megatron_codemix.evaluation.judge.own_runs import served
from megatron_codemix.evaluation.judge.question import PREAMBLE, question
from megatron_codemix.evaluation.prompts import conversation_text
from megatron_codemix.files import read_json, read_jsonl, rewrite_jsonl, write_json
from tests.helpers.commands import ENVIRONMENT, Command, codemix
from tests.helpers.judging_run import SEQUENCE, write_judging_run

VERDICT = " Comparison: it is clearer.\nPreferred: Answer (A)"
PROMPTS = ["Which of the", "Answer (A): hello\n\nAnswer", "FIRST compare"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate")
    done = codemix("train", write_judging_run(folder), "--run-dir", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def greedy(run: Path) -> list[dict[str, Any]]:
    return generated(run, *prompt_options(PROMPTS), "--max-new-tokens", "12")


def prompt_options(prompts: list[str]) -> list[str]:
    return [part for prompt in prompts for part in ("--prompt", prompt)]


def generated(run: Path, *options: str | Path) -> list[dict[str, Any]]:
    """The lines of JSON in the order of the prompts and samples."""
    done = codemix("generate", run, *options, "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(lines, key=lambda line: (line["number"], line["sample"]))


def judges_prompt() -> str:
    asked = question("hello", "", "first", "second")
    return conversation_text([("system", PREAMBLE), ("user", asked)])


def test_what_was_learned_is_written(run: Path) -> None:
    (line,) = generated(run, "--prompt", judges_prompt(), "--stop", "\nUser:")
    assert line["completion"] == VERDICT
    assert line["finish_reason"] == "stop"
    assert line["cut_prompt_tokens"] == 0


@pytest.mark.parametrize(
    "layout", [["--tensor", "2"], ["--pipeline", "2"], []], ids=["tensor", "pipeline", "data"]
)
def test_every_layout_writes_the_same(
    run: Path, greedy: list[dict[str, Any]], layout: list[str]
) -> None:
    options = [*prompt_options(PROMPTS), "--max-new-tokens", "12"]
    assert generated(run, *options, "--nproc", "2", *layout) == greedy


def test_samples_depend_on_the_seed_alone(run: Path) -> None:
    options = ["--temperature", "1", "--max-new-tokens", "12", "--num-samples", "3"]
    both = generated(run, *prompt_options(PROMPTS[:2]), *options, "--seed", "5")
    alone = generated(run, "--prompt", PROMPTS[1], *options, "--seed", "5")
    assert [line["completion"] for line in both[3:]] == [line["completion"] for line in alone]
    assert len({line["completion"] for line in alone}) > 1
    other = generated(run, "--prompt", PROMPTS[1], *options, "--seed", "6")
    assert [line["completion"] for line in other] != [line["completion"] for line in alone]


def test_files_of_prompts_and_of_completions(run: Path, tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "new" / "out.jsonl"
    long = "x " * SEQUENCE
    rewrite_jsonl(prompts, [{"instruction": "hello", "context": "x"}, {"prompt": long}])
    done = codemix("generate", run, "--prompts", prompts, "--max-new-tokens", "9", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 prompts were cut from the left: the model sees 384 tokens" in done.stderr
    first, second = read_jsonl(out)
    assert first["prompt"] == "Instruction: hello\nContext: x\nAnswer:"
    assert first["cut_prompt_tokens"] == 0
    [tokens] = Tokenizer.load(run.parent / "tokenizer.json").encode_batch([long])
    assert second["cut_prompt_tokens"] == len(tokens) + 9 - SEQUENCE > 0
    assert second["number"] == 2


def test_completions_are_shown_behind_their_prompts(run: Path) -> None:
    done = codemix("generate", run, "--prompt", judges_prompt(), "--stop", "\nUser:")
    assert done.stdout.startswith("prompt 1 of 1: ")
    assert f"{judges_prompt()}{VERDICT}\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give --prompt, --prompts or --serve"),
        (["--prompt", ""], "a prompt is empty"),
        (["--prompts", "absent.txt"], "absent.txt: cannot be read"),
        (["--prompt", "a", "--top-p", "0"], "--top-p: 0: a number above 0"),
        (["--prompt", "a", "--top-p", "1.5"], "--top-p: 1.5"),
        (["--prompt", "a", "--top-p", "nan"], "--top-p: nan"),
        (["--prompt", "a", "--temperature", "-1"], "--temperature: -1"),
        (["--prompt", "a", "--temperature", "inf"], "--temperature: inf"),
        (["--prompt", "a", "--max-new-tokens", "0"], "from 1 to 383 are possible"),
        (["--prompt", "a", "--max-new-tokens", "384"], "from 1 to 383 are possible"),
        (["--prompt", "a", "--stop", ""], "--stop: an empty text"),
        (["--prompt", "a", "--num-samples", "0"], "--num-samples"),
        (["--prompt", "a", "--nproc", "2", "--tensor", "4"], "2 processes are not a multiple"),
        (["--prompt", "a", "--nproc", "3", "--pipeline", "3"], "num_layers"),
        (["--prompt", "a", "--out", "."], "cannot be written; give the path of a file"),
        (["--prompt", "a", "--out", "KEY/x.jsonl"], "a file is there, and a folder is wanted"),
        (["--serve", "--prompt", "a", "--seed", "3"], "--prompt, --seed: no effect: with --serve"),
        (["--prompt", "a", "--port", "80"], "--port: no effect: it goes with --serve"),
        (["--serve", "--host", "0.0.0.0"], "give a key with --api-key-file"),
        (["--serve", "--host", "192.0.2.1", "--api-key-file", "KEY"], "cannot serve on 192.0.2.1"),
        (["--serve", "--api-key-file", "absent"], "absent: cannot be read"),
        (["--serve", "--api-key-file", "SPACES"], "holds no key"),
    ],
)
def test_wrong_input(run: Path, tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "KEY").write_text("secret\n")
    (tmp_path / "SPACES").write_text("two words\n")
    done = codemix("generate", run, *options, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_run_that_is_not_done(run: Path, tmp_path: Path) -> None:
    nowhere = codemix("generate", tmp_path, "--prompt", "a")
    assert nowhere.returncode == 2
    assert "no run here" in nowhere.stderr
    for name in ("config.yaml", "status.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    write_json(tmp_path / "status.json", {**read_json(run / "status.json"), "state": "running"})
    unfinished = codemix("generate", tmp_path, "--prompt", "a")
    assert unfinished.returncode == 2
    assert "this run is running" in unfinished.stderr


@contextlib.contextmanager
def serving(
    run: Path, *options: str | Path, key: str = "", end: signal.Signals = signal.SIGTERM
) -> Iterator[dict[str, Any]]:
    """What the server has told of itself; it must end well on the signal."""
    process = Command(
        ["generate", run, "--serve", "--json", "--port", "0", *options],
        are_streams_one=False,
        environment={"CODEMIX_API_KEY": key} if key else None,
    )
    try:
        while "\n" not in process.said():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        yield json.loads(process.said())
    finally:
        process.send_signal(end)
        output = process.communicate(timeout=120)
    assert process.returncode == 0, output


def post(url: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


@pytest.mark.parametrize(
    "layout",
    [[], ["--nproc", "2", "--tensor", "2"], ["--nproc", "2"]],
    ids=["one", "tensor", "data"],
)
def test_the_server_writes_what_the_command_does(
    run: Path, greedy: list[dict[str, Any]], layout: list[str]
) -> None:
    with serving(run, *layout) as server:
        assert server["model"] == run.name
        assert server["max_length"] == SEQUENCE
        body = {"model": run.name, "max_tokens": 12, "temperature": 0}

        def complete(prompt: str) -> str:
            answer = post(f"{server['url']}/completions", {**body, "prompt": prompt})
            return str(answer["choices"][0]["text"])

        expected = [line["completion"] for line in greedy]
        with ThreadPoolExecutor(12) as clients:
            assert list(clients.map(complete, PROMPTS * 4)) == expected * 4
        together = post(f"{server['url']}/completions", {**body, "prompt": PROMPTS})
        assert [choice["text"] for choice in together["choices"]] == expected


def test_a_server_for_other_machines_wants_its_key(run: Path) -> None:
    with serving(run, "--host", "0.0.0.0", key="secret") as server:
        url = server["url"].replace("0.0.0.0", "127.0.0.1") + "/chat/completions"
        messages = [
            {"role": "system", "content": PREAMBLE},
            {"role": "user", "content": question("hello", "", "first", "second")},
        ]
        body = {"model": run.name, "messages": messages, "temperature": 0, "max_tokens": 40}
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(url, body)
        assert refused.value.code == 401
        refused.value.close()
        answer = post(url, body, key="secret")
    assert answer["choices"][0]["message"]["content"] == VERDICT.removeprefix(" ")
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_client_that_hangs_up_leaves_the_server_whole(run: Path) -> None:
    with serving(run, end=signal.SIGINT) as server:
        body = {"model": run.name, "prompt": PROMPTS[0], "max_tokens": 200, "temperature": 1}
        request = urllib.request.Request(
            f"{server['url']}/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with pytest.raises(OSError, match="timed out"):
            urllib.request.urlopen(request, timeout=0.001)
        assert post(f"{server['url']}/completions", {**body, "max_tokens": 2})["choices"]


def test_a_local_judge_over_http(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge has learned to prefer the first answer: all ties, all by its place."""
    monkeypatch.setitem(ENVIRONMENT, "CODEMIX_API_KEY", "of another server")
    prompts, answers, out = tmp_path / "p.jsonl", tmp_path / "b.jsonl", tmp_path / "out"
    instructions = ["hello", "house", "water"]
    rewrite_jsonl(prompts, [{"instruction": one} for one in instructions])
    rewrite_jsonl(answers, [{"instruction": one, "answer": "second"} for one in instructions])
    options = ["--prompts", prompts, "--judge", "local", "--model", run, "--out", out]
    limits = ["--max-new-tokens", "6", "--max-judge-tokens", "40"]
    done = codemix("judge", run, answers, *options, *limits, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["tie"]["count"] == len(instructions)
    assert summary["position_bias"]["value"] == 1
    assert summary["agreement"]["value"] == 0
    assert summary["cut_prompts"] == {"a": 0, "b": 0}
    line = read_jsonl(out / "items.jsonl")[0]
    assert line["judge"]["a_first"] == VERDICT.removeprefix(" ")
    assert line["answer_a"] != line["answer_b"] == "second"
    # Again: the run has answered, and the judge has judged; only the server is started.
    (made,) = out.glob("answers.*.jsonl")
    before = made.stat().st_mtime_ns, (out / "judge.jsonl").read_bytes()
    again = codemix("judge", run, answers, *options, *limits, "--json")
    assert json.loads(again.stdout) == summary
    assert (made.stat().st_mtime_ns, (out / "judge.jsonl").read_bytes()) == before


def test_a_local_judge_that_cannot_be_served(run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    subprocess.run(["cp", "-r", run, damaged], check=True)
    for path in damaged.glob("checkpoints/*/*.distcp"):
        os.truncate(path, path.stat().st_size // 2)
    prompts = tmp_path / "p.jsonl"
    rewrite_jsonl(prompts, [{"instruction": "hello", "answer": "x"}])
    done = codemix(
        "judge", prompts, prompts, "--prompts", prompts, "--judge", "local", "--model", damaged,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot be served as judge" in done.stderr
    assert ".distcp" in done.stderr


def test_a_judges_server_that_dies_is_told_of(run: Path, tmp_path: Path) -> None:
    def lose_the_server() -> None:
        with served(run, tmp_path / "judge.log", nproc=1):
            for child in psutil.Process().children():
                if "--serve" in child.cmdline():
                    child.kill()
                    child.wait()
            raise RetryableError("no answer")

    with pytest.raises(RunError, match=r"no answer\nThe judge's server has ended; .*judge\.log"):
        lose_the_server()
