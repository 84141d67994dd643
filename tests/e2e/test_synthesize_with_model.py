"""`codemix corpus synthesize --endpoint` as a user runs it, with a model on loopback."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.writer import write_documents
from tests.helpers.commands import codemix, start_codemix
from tests.helpers.endpoint_server import Question, Reply, endpoint_server
from tests.helpers.exercise_server import EXERCISES, answer, document_text

COUNT = len(EXERCISES)


pytestmark = pytest.mark.usefixtures("isolation")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    folder = tmp_path / "seeds"
    folder.mkdir()
    documents = (
        Document(f"d{one}", "text", f"d{one}", f"d{one}", None, document_text(one))
        for one in range(2 * COUNT)
    )
    write_documents(folder, "text.jsonl.zst", documents)
    return folder


def arguments(seeds: Path, out: Path, url: str, *more: str) -> list[str | Path]:
    model = ["--endpoint", url, "--model", "m", "--seed-documents", seeds]
    patience = ["--retry-seconds", "0", "--retries", "1", "--concurrency", "1"]
    return [
        "corpus", "synthesize", "--out", out, "--count", str(COUNT), "--seed", "3",
        *model, *patience, *more,
    ]  # fmt: skip


def test_a_corpus_is_written_and_verified(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(answer) as server:
        key = ("--api-key-env", "HOME")
        done = codemix(*arguments(seeds, tmp_path / "out", server.url, "--json", *key))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"] == {"synthetic_model": COUNT}
    assert {one.headers["Authorization"] for one in server.questions} == {
        f"Bearer {os.environ['HOME']}"
    }
    verified = codemix("corpus", "verify", tmp_path / "out", "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["documents"] == COUNT


def test_killed_in_the_middle_it_asks_nothing_twice(seeds: Path, tmp_path: Path) -> None:
    with endpoint_server(answer) as server:
        whole = codemix(*arguments(seeds, tmp_path / "whole", server.url, "--json"))
    answered = 8

    def then_hang(question: Question) -> Reply:
        return answer(question) if question.number <= answered else Reply(hangs=True)

    out = tmp_path / "out"
    with endpoint_server(then_hang) as server:
        process = start_codemix(arguments(seeds, out, server.url))
        deadline = time.monotonic() + 120
        while len(server.questions) <= answered:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = server.bodies()[:answered]
        server.questions.clear()
        server.behave = answer
        done = codemix(*arguments(seeds, out, server.url, "--json"))
        after = server.bodies()
    assert done.returncode == 0, done.stderr
    same = [json.loads(one.stdout)["families"] for one in (whole, done)]
    assert same[0] == same[1]
    assert len(before) == answered
    assert not set(before) & set(after)


def test_an_endpoint_without_credit_says_what_is_kept(seeds: Path, tmp_path: Path) -> None:
    def only_three(question: Question) -> Reply:
        busy = Reply(status=429, body=b"no credit")
        return answer(question) if question.number <= 3 else busy

    with endpoint_server(only_three) as server:
        done = codemix(*arguments(seeds, tmp_path / "out", server.url))
    assert done.returncode == 75
    assert "no credit, 2 times in a row" in done.stderr
    assert "3 replies are kept in" in done.stderr
    assert "Traceback" not in done.stderr


MISTAKES = {
    "no model": (["--endpoint", "http://127.0.0.1:9/v1"], "--endpoint also needs --model and"),
    "no endpoint": (["--model", "m"], "--model: only with --endpoint"),
    "no URL": (["--endpoint", "nonsense", "--model", "m", "--seed-documents", "x"], "is no URL"),
    "no key": (
        [
            "--endpoint",
            "http://127.0.0.1:9/v1",
            "--model",
            "m",
            "--seed-documents",
            "x",
            "--api-key-env",
            "CODEMIX_NO_SUCH_KEY",
        ],
        "CODEMIX_NO_SUCH_KEY holds no key",
    ),
    "families": (
        ["--endpoint", "http://127.0.0.1:9/v1", "--family", "lists"],
        "--family and --translate are for problems drawn from the grammar",
    ),
    "another language": (["--translate", "c"], "no translation into 'c'; there is javascript"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_options_that_do_not_fit_are_named(tmp_path: Path, name: str) -> None:
    options, said = MISTAKES[name]
    out = ["corpus", "synthesize", "--out", str(tmp_path / "out"), "--count", "1", "--seed", "1"]
    done = codemix(*out, *options)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
