"""Progress: plain lines where nobody watches, a bar where somebody does."""

import io

import pytest

from megatron_codemix.obs.progress import progress_bar


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_at_most_every_ten_seconds_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress_bar("reading", 80, "files", stream=stream, clock=clock) as advance:
        for _ in range(4):
            clock.now += 6
            advance(10)
    assert stream.getvalue().splitlines() == [
        "reading: 20 of 80 files, about 36s left",
        "reading: 40 of 80 files, about 24s left",
        "reading: 40 of 40 files, done in 24s",
    ]


def test_without_a_total_there_is_no_remaining_time() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress_bar("reading", None, "bytes", stream=stream, clock=clock) as advance:
        clock.now += 11
        advance(22 << 20)
    assert stream.getvalue().splitlines()[0] == "reading: 22.0 MiB, 11s so far, 2.1 MB/s"


def test_a_total_that_is_passed_is_not_shown_any_more() -> None:
    stream, clock = io.StringIO(), Clock()
    with progress_bar("reading", 3 << 20, "bytes", stream=stream, clock=clock) as advance:
        for _ in range(2):
            clock.now += 11
            advance(2 << 20)
    assert stream.getvalue().splitlines() == [
        "reading: 2.0 MiB of 3.0 MiB, about 5.5s left, 0.2 MB/s",
        "reading: 4.0 MiB, 22s so far, 0.2 MB/s",
        "reading: 4.0 MiB of 4.0 MiB, done in 22s, 0.2 MB/s",
    ]


def test_amounts_are_shown_in_their_unit() -> None:
    stream = io.StringIO()
    with progress_bar("training", 200_000_000, "tokens", stream=stream, clock=Clock()) as advance:
        advance(200_000_000)
    assert stream.getvalue() == "training: 200M of 200M tokens, done in 0.0s\n"


def test_a_failure_inside_is_not_called_done() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyError), progress_bar("x", 2, "files", stream=stream, clock=Clock()):
        raise KeyError
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress_bar("reading", 80, "files", stream=stream) as advance:
        advance(40)
        advance(40)
    assert "reading" in stream.getvalue()
    assert "80 of 80 files" in stream.getvalue()


def test_standard_output_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("reading", 1, "files") as advance:
        advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reading: 1 of 1 file, done in")


def test_nothing_done_is_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with progress_bar("reading", 80, "bytes", stream=stream, clock=Clock()):
        pass
    assert stream.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with progress_bar("reading", 80, "files", stream=terminal):
        pass
    assert "reading" not in terminal.getvalue().rpartition("\x1b[2K")[2]
