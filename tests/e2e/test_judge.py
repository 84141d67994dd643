"""`codemix judge` as a user runs it, with a judge on loopback that is killed for or misbehaves."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import codemix, start_codemix
from tests.helpers.endpoint_server import Question, Reply, endpoint_server
from tests.helpers.judge_server import prefer, prefer_longer

NUM_ITEMS = 12
NUM_LONGER = 8


@pytest.fixture
def files(tmp_path: Path) -> list[str | Path]:
    """Arguments: A's answers, longer than B's on NUM_LONGER items, B's, and the prompts."""

    def write(name: str, line: Callable[[int], dict[str, str]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line(n)) + "\n" for n in range(NUM_ITEMS)))
        return path

    instruction = "Question {}?".format
    a = write(
        "a.jsonl",
        lambda n: {"instruction": instruction(n), "answer": "x" * (9 if n < NUM_LONGER else 1)},
    )
    b = write("b.jsonl", lambda n: {"prompt": instruction(n), "completion": "yyy"})
    prompts = write("prompts.jsonl", lambda n: {"instruction": instruction(n), "category": "open"})
    return [a, b, "--prompts", prompts, "--out", tmp_path / "out", "--retry-seconds", "0"]


def arguments(files: list[str | Path], url: str, *more: str) -> list[str | Path]:
    return ["judge", *files, "--judge", url, "--model", "judge", *more]


def judged(files: list[str | Path], url: str, *more: str) -> subprocess.CompletedProcess[str]:
    return codemix(*arguments(files, url, *more))


def test_wins_ties_and_losses(files: list[str | Path]) -> None:
    with endpoint_server(prefer_longer) as server:
        done = judged(files, server.url, "--json")
        assert done.returncode == 0, done.stderr
        told = judged(files, server.url)
    summary = json.loads(done.stdout)
    assert [summary[name]["count"] for name in ("win", "tie", "loss")] == [8, 0, 4]
    assert len(server.questions) == 2 * NUM_ITEMS  # the second time nothing was asked
    assert "A wins                   66.7%   [39.1, 86.2]" in told.stdout


def test_busy_and_broken_servers_are_waited_for(files: list[str | Path]) -> None:
    troubles = {
        2: Reply(status=429, headers={"Retry-After": "0"}, body=b"slow down"),
        5: Reply(status=500, body=b"oops"),
        9: Reply(closes=True),
        11: Reply(body=b"<html>"),
    }
    with endpoint_server(lambda q: troubles.get(q.number) or prefer_longer(q)) as server:
        done = judged(files, server.url, "--json", "--api", "completions")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["win"]["count"] == NUM_LONGER
    assert len(server.questions) == 2 * NUM_ITEMS + len(troubles)


def test_killed_in_the_middle_it_repeats_no_answered_request(files: list[str | Path]) -> None:
    answered = 7

    def then_hang(question: Question) -> Reply:
        return prefer_longer(question) if question.number <= answered else Reply(hangs=True)

    with endpoint_server(then_hang) as server:
        process = start_codemix(arguments(files, server.url, "--concurrency", "1"))
        deadline = time.monotonic() + 60
        while len(server.questions) <= answered:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = server.bodies()
        with open(Path(files[5]) / "judge.jsonl", "ab") as torn:
            torn.write(b'{"key": "0123')
        server.questions.clear()
        server.behave = prefer_longer
        done = judged(files, server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["win"]["count"] == NUM_LONGER
    assert len(server.questions) == 2 * NUM_ITEMS - answered
    assert not set(before[:answered]) & set(server.bodies())


def test_busy_for_ever_says_what_is_kept(files: list[str | Path]) -> None:
    def only_three(question: Question) -> Reply:
        return prefer("A") if question.number <= 3 else Reply(status=429, body=b"no credit")

    with endpoint_server(only_three) as server:
        done = judged(files, server.url, "--retries", "1", "--concurrency", "1")
    assert done.returncode == 75
    assert "HTTP 429 Too Many Requests: no credit, 2 times in a row" in done.stderr
    assert "3 replies are kept in" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_keeps_what_was_answered(files: list[str | Path]) -> None:
    reached = 5

    def slow_down(question: Question) -> Reply:
        # The one under way ends; the retry of the next is what Ctrl-C interrupts.
        busy = Reply(status=429, headers={"Retry-After": "500"}, body=b"")
        return prefer("A") if question.number <= reached else busy

    with endpoint_server(slow_down) as server:
        process = start_codemix(arguments(files, server.url, "--concurrency", "1"))
        while len(server.questions) <= reached:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "give the same command again" in output
    assert len((Path(files[5]) / "judge.jsonl").read_text().splitlines()) == reached


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--judge": "ftp://x"}, "neither `local` nor a URL"),
        ({"--judge": "http://127.0.0.1:port/v1"}, "neither `local` nor a URL"),
        ({"--judge": "local", "--model": "nowhere"}, "nowhere: no run here"),
        ({"--api-key-env": "NO_SUCH_KEY"}, "NO_SUCH_KEY holds no key"),
        ({"--prompts": "absent.jsonl"}, "absent.jsonl: cannot be read"),
        ({"A": "absent"}, "absent: neither a run directory nor a file"),
        ({"--limit": "0"}, "--limit"),
        ({"--concurrency": "0"}, "--concurrency"),
    ],
)
def test_wrong_input(files: list[str | Path], change: dict[str, str], said: str) -> None:
    a, b, *options = map(str, files)
    settings = dict(zip(options[::2], options[1::2], strict=True))
    settings |= {"--judge": "http://127.0.0.1:9/v1", "--model": "judge", **change}
    a = settings.pop("A", a)
    done = codemix("judge", a, b, *(part for pair in settings.items() for part in pair))
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_folder_is_judged_in_by_one_process(files: list[str | Path]) -> None:
    with endpoint_server(lambda question: Reply(hangs=True)) as server:
        process = start_codemix(arguments(files, server.url))
        try:
            while not server.questions:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            second = judged(files, server.url)
        finally:
            process.kill()
            process.communicate()
    assert second.returncode == 2
    assert "codemix judge is already running here" in second.stderr
