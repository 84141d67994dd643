"""The rank launcher, on real processes: exit codes, signals, deaths, and what the user sees."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from megatron_codemix.errors import (
    ConfigError,
    DataError,
    PreemptedError,
    RetryableError,
)
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.rank_process import tell_failure
from megatron_codemix.launch.ranks import run_ranks


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No process, running or zombie, outlives a call."""
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def _write_context(folder: Path, context: RankContext) -> int:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    values = " ".join(os.environ[name] for name in names)
    (folder / f"rank{context.rank}").write_text(f"{values} {context.init_method}")
    return 0


def test_each_rank_knows_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert run_ranks(lambda context: _write_context(tmp_path, context), 3) == 0

    for rank in range(3):
        *environment, method = (tmp_path / f"rank{rank}").read_text().split()
        port = environment[4]
        assert environment == [str(rank), "3", str(rank), "127.0.0.1", port, "1"]
        assert method == f"tcp://127.0.0.1:{port}"


def test_a_single_rank_has_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert run_ranks(lambda context: _write_context(tmp_path, context), 1) == 0

    threads = (tmp_path / "rank0").read_text().split()[5]
    assert int(threads) == len(os.sched_getaffinity(0))


def test_a_crowd_of_ranks_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("megatron_codemix.launch.crowding.usable_cores", lambda: 1)

    assert run_ranks(lambda context: 0, 4) == 0
    assert capfd.readouterr().err == ""
    assert run_ranks(lambda context: 0, 5) == 0
    assert capfd.readouterr().err.startswith("warning: 5 processes share 1 core;")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_notice_while_ranks_are_started_ends_those_that_there_are(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids, fork = [], os.fork

    def fork_and_notify() -> int:
        pid = fork()
        if pid > 0:
            pids.append(pid)
        if len(pids) == 2:
            os.kill(os.getpid(), number)
        return pid

    def target(context: RankContext) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
        while True:  # as one does that waits for those that never come
            signal.pause()

    monkeypatch.setattr(os, "fork", fork_and_notify)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(PreemptedError) as stopped:
        run_ranks(target, 6, timeout_seconds=5)
    # Another thread of this process may take the signal, and be about to tell of it.
    assert 2 <= len(pids) <= 3
    started = f"stopped by {number.name} when {len(pids)} of 6 ranks were started"
    assert str(stopped.value).startswith(started)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_prepare_runs_once_in_the_parent(tmp_path: Path) -> None:
    def prepare() -> None:
        with open(tmp_path / "prepared", "a") as handle:
            handle.write(f"{os.getpid()}\n")

    def target(context: RankContext) -> int:
        return 0 if (tmp_path / "prepared").exists() else 1

    assert run_ranks(target, 2, prepare=prepare) == 0
    assert (tmp_path / "prepared").read_text() == f"{os.getpid()}\n"


def test_rank_0_can_listen_where_the_ranks_meet_and_nobody_else_gets_that_port() -> None:
    def target(context: RankContext) -> int:
        port = int(context.init_method.rsplit(":", 1)[1])
        if context.rank == 1:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("", port))
            return 0
        with socket.socket() as store:
            store.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            store.bind(("", port))
            store.listen()
        return 0

    assert run_ranks(target, 2) == 0


def _fail(context: RankContext, *, rank: int, error: Exception | int) -> int:
    """The given rank fails, the others wait for a signal."""
    if context.rank != rank:
        signal.pause()
    if isinstance(error, int):
        return error
    raise error


@pytest.mark.parametrize(
    ("error", "code", "block"),
    [
        (DataError("shard.bin: cut"), 2, "error: shard.bin: cut\n(rank 1 of 3)\n"),
        (RetryableError("lost a node"), 75, "error: lost a node\n(rank 1 of 3)\n"),
        (ConfigError(["a", "b"]), 2, "error: a\nerror: b\n(rank 1 of 3)\n"),
        (3, 3, "rank 1 of 3 exited with code 3\n"),
    ],
)
def test_the_exit_code_of_the_rank_that_fails_is_kept(
    error: Exception | int, code: int, block: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_ranks(lambda context: _fail(context, rank=1, error=error), 3) == code
    assert capfd.readouterr().err == block


def test_a_bug_shows_its_traceback_once_and_stays_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def target(context: RankContext) -> int:
        return _fail(context, rank=1, error=ZeroDivisionError("by zero"))

    assert run_ranks(target, 2, log_folder=tmp_path) == 1

    shown = capfd.readouterr().err
    assert shown.startswith("rank 1 of 2 failed:\nTraceback")
    assert shown.count("ZeroDivisionError: by zero") == 1
    assert str(tmp_path / "rank1.log") in shown
    assert "ZeroDivisionError: by zero" in (tmp_path / "rank1.log").read_text()


def test_an_error_that_all_ranks_raise_is_shown_once(capfd: pytest.CaptureFixture[str]) -> None:
    def target(context: RankContext) -> int:
        raise DataError("the same on every rank")

    assert run_ranks(target, 4) == 2
    assert capfd.readouterr().err.count("the same on every rank") == 1


def test_the_cause_is_shown_and_not_what_followed_from_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    turn, done = os.pipe()

    def target(context: RankContext) -> int:
        if context.rank == 0:  # sees its peer go before the peer has said why
            os.write(done, b".")
            raise RuntimeError("Connection closed by peer [127.0.0.1]:1")
        os.read(turn, 1)
        raise DataError("block 3 of shard.bin is damaged")

    assert run_ranks(target, 2) == 2
    assert capfd.readouterr().err == "error: block 3 of shard.bin is damaged\n(rank 1 of 2)\n"


def test_an_abort_is_told_only_where_nothing_else_is(capfd: pytest.CaptureFixture[str]) -> None:
    """NCCL aborts a rank that has lost another."""
    turn, done = os.pipe()

    def target(context: RankContext) -> int:
        if context.rank == 0:
            os.write(done, b".")
            os.abort()
        os.read(turn, 1)
        raise DataError("block 3 of shard.bin is damaged")

    assert run_ranks(target, 2) == 2
    told = capfd.readouterr().err
    assert told.endswith("\nerror: block 3 of shard.bin is damaged\n(rank 1 of 2)\n")
    assert run_ranks(lambda context: os.abort(), 1) == 75
    assert "rank 0 of 1 was killed by SIGABRT; run the same command again" in capfd.readouterr().err


def test_a_hang_is_told_and_not_the_abort_that_followed(capfd: pytest.CaptureFixture[str]) -> None:
    """What a watchdog says is a consequence too, as far as the launcher knows, but it names ranks.
    NCCL aborts the others when one is gone, and one that ends."""
    turn, done = os.pipe()

    def target(context: RankContext) -> int:
        if context.rank == 0:
            os.read(turn, 1)
            raise RetryableError("hangs: 1 of 4 ranks do not answer: 3 on gpu01")
        if context.rank == 1:
            os.write(done, b".")
        if context.rank == 2:
            tell_failure(
                context, "a collective has timed out: rank 0 has ended, whose log says why"
            )
        os.abort()

    assert run_ranks(target, 3) == 75
    said = "error: hangs: 1 of 4 ranks do not answer: 3 on gpu01\n(rank 0 of 3)\n"
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("are_logs_kept", [True, False])
def test_a_rank_killed_counts_as_try_again_and_ends_the_others(
    are_logs_kept: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def target(context: RankContext) -> int:
        if context.rank == 2:
            sys.stdout.write("last words\n")
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
        return 0

    assert run_ranks(target, 4, log_folder=tmp_path if are_logs_kept else None) == 75

    shown = capfd.readouterr().err
    assert shown.startswith("rank 2 of 4 was killed by SIGKILL (out of memory?)")
    assert "last words" in shown


def test_a_rank_killed_is_noticed_even_if_it_leaves_a_child_behind(tmp_path: Path) -> None:
    def target(context: RankContext) -> int:
        if context.rank == 0:
            child = os.fork()
            if child == 0:
                signal.pause()
            (tmp_path / "child").write_text(str(child))
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
        return 0

    assert run_ranks(target, 2) == 75

    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_a_rank_that_ignores_the_end_is_killed_after_the_grace_time() -> None:
    def target(context: RankContext) -> int:
        if context.rank == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        raise DataError("wrong")

    assert run_ranks(target, 2, grace_seconds=0.2) == 2


def test_a_stopped_rank_is_woken_to_end_in_order() -> None:
    ready, tell_ready = os.pipe()
    woken, tell_woken = os.pipe()

    def end(number: int, frame: object) -> None:
        os.write(tell_woken, b"saved")
        os._exit(0)

    def target(context: RankContext) -> int:
        if context.rank == 0:
            os.read(ready, 1)
            raise RetryableError("hangs: waits for rank 1")
        signal.signal(signal.SIGTERM, end)
        os.write(tell_ready, b".")
        os.kill(os.getpid(), signal.SIGSTOP)
        signal.pause()
        return 0

    assert run_ranks(target, 2, grace_seconds=20) == 75
    os.close(tell_woken)
    assert os.read(woken, 10) == b"saved"
    for descriptor in (ready, tell_ready, woken):
        os.close(descriptor)


@pytest.mark.parametrize("how", ["raises", "returns"])
def test_ranks_that_stop_in_order_leave_the_others_to_finish(tmp_path: Path, how: str) -> None:
    reader, writer = os.pipe()

    def target(context: RankContext) -> int:
        if context.rank == 1:
            os.write(writer, str(os.getpid()).encode())
        else:
            _wait_until_reaped(int(os.read(reader, 32)))
            (tmp_path / "saved").touch()
        if how == "raises":
            raise PreemptedError("saved at step 10")
        return 75

    assert run_ranks(target, 2) == 75
    assert (tmp_path / "saved").exists()


def _wait_until_reaped(pid: int) -> None:
    while psutil.pid_exists(pid):
        os.sched_yield()


def test_ranks_still_running_when_time_is_up_leave_their_stacks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def wait_for_ever(context: RankContext) -> int:
        if context.rank == 1:
            signal.pause()
        return 0

    assert run_ranks(wait_for_ever, 2, log_folder=tmp_path, timeout_seconds=0.5) == 75

    assert "rank 1 of 2 did not end in time" in capfd.readouterr().err
    assert "wait_for_ever" in (tmp_path / "rank1.log").read_text()


# A launch in a process of its own. Each rank says what it sees through the pipe; the pipe ends with
# the last process.
_LAUNCH = """
import os, signal, sys
from megatron_codemix.launch.ranks import run_ranks

pipe, on_notice = int(sys.argv[1]), sys.argv[2]

def say(word):
    os.write(pipe, f"{word}\\n".encode())

def target(context):
    notices = {signal.SIGTERM, signal.SIGUSR1} if on_notice != "dies" else {}
    signal.pthread_sigmask(signal.SIG_BLOCK, notices)
    say(f"{context.rank}:up")
    while notices:
        say(f"{context.rank}:{signal.Signals(signal.sigwait(notices)).name}")
        if on_notice == "stops":
            return 75
    signal.pause()

sys.exit(run_ranks(target, 2))
"""


class _Launch:
    """A launch of two ranks, up and waiting."""

    def __init__(self, on_notice: str) -> None:
        reader, writer = os.pipe()
        self.words = os.fdopen(reader)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(writer), on_notice],
            pass_fds=[writer],
            start_new_session=True,  # a terminal's process group of its own
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        self.heard(2)

    def heard(self, count: int) -> list[str]:
        """The next words of the ranks, sorted."""
        return sorted(self.words.readline().strip() for _ in range(count))

    def rest(self) -> str:
        """All that is still said; returns when the last process has gone."""
        return self.words.read()

    def end(self) -> tuple[int, str]:
        """Exit code and error output."""
        _, shown = self.process.communicate()
        return self.process.returncode, shown


@pytest.fixture
def launch() -> Iterator[Callable[[str], _Launch]]:
    with contextlib.ExitStack() as stack:

        def start(on_notice: str) -> _Launch:
            launched = _Launch(on_notice)
            stack.enter_context(launched.words)
            stack.enter_context(launched.process)
            stack.callback(launched.process.kill)
            return launched

        yield start


@pytest.mark.parametrize(
    ("sent", "received"), [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGUSR1", "SIGUSR1")]
)
def test_each_rank_gets_a_notice_once_and_75_comes_back(
    launch: Callable[[str], _Launch], sent: str, received: str
) -> None:
    running = launch("stops")

    running.process.send_signal(signal.Signals[sent])

    assert running.heard(2) == [f"0:{received}", f"1:{received}"]
    assert running.end() == (75, "")
    assert running.rest() == ""


def test_ctrl_c_in_a_terminal_reaches_each_rank_once(launch: Callable[[str], _Launch]) -> None:
    running = launch("stops")

    os.killpg(running.process.pid, signal.SIGINT)

    assert running.heard(2) == ["0:SIGTERM", "1:SIGTERM"]
    assert running.end() == (75, "")
    assert running.rest() == ""


def test_a_second_ctrl_c_kills(launch: Callable[[str], _Launch]) -> None:
    running = launch("stays")

    running.process.send_signal(signal.SIGINT)
    assert running.heard(2) == ["0:SIGTERM", "1:SIGTERM"]
    running.process.send_signal(signal.SIGINT)

    code, shown = running.end()
    assert code == 75
    assert "was stopped by SIGINT" in shown


def test_a_notice_before_the_ranks_listen_counts_as_try_again(
    launch: Callable[[str], _Launch],
) -> None:
    running = launch("dies")

    running.process.terminate()

    code, shown = running.end()
    assert code == 75
    assert shown.count("was stopped by SIGTERM") == 1


def test_nothing_outlives_a_parent_killed_by_kill_9(
    launch: Callable[[str], _Launch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rank, and no file."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    running = launch("stays")

    running.process.kill()

    assert running.rest() == ""  # ends only when no process holds the pipe
    assert running.end() == (-signal.SIGKILL, "")
    assert not list(tmp_path.iterdir())
