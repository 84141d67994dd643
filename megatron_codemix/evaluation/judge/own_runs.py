"""Runs of ours as contestants and as judge: `codemix generate` in a process of its own."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from megatron_codemix.corpus.instructions.template import ChatTemplate, load_template
from megatron_codemix.errors import RetryableError, RunError
from megatron_codemix.evaluation.serving.server import KEY_VARIABLE
from megatron_codemix.files import hash_json
from megatron_codemix.processes import die_with
from megatron_codemix.run_checkpoints import require_done
from megatron_codemix.runs import RunDirectory

_GRACE_SECONDS = 30.0


def is_run(path: Path) -> bool:
    """Whether a path is a run's folder rather than a file of answers."""
    return RunDirectory(path).config.exists()


def run_version(run: Path) -> str:
    """Names the weights: what the run is, and its last step. Raises RunError unless it is done."""
    status = require_done(RunDirectory(run))
    return f"{status.identity}:{status.num_steps}"


def chat_template_of(run: Path) -> ChatTemplate | None:
    """By which a run is asked; None where it has learned no conversations. Raises DataError."""
    path = RunDirectory(run).chat_template
    return load_template(path) if path.exists() else None


def answer_file(run: Path, prompts: Path, folder: Path, *, max_new_tokens: int, nproc: int) -> Path:
    """Greedy answers of a run to the prompts, asked by its chat template if it has one: made, or
    those that the folder has from an earlier call of the same run, prompts and template.

    Raises RunError where `codemix generate` fails, which has told why on stderr.
    """
    made_of = {"run": run_version(run), "prompts": prompts.read_text(encoding="utf-8")}
    template = chat_template_of(run)
    if template is not None:
        made_of["chat_template"] = template.hash
    version = hash_json({**made_of, "max_new_tokens": max_new_tokens})
    path = folder / f"answers.{version[:12]}.jsonl"
    if path.exists():
        return path
    options = ["--prompts", prompts, "--max-new-tokens", max_new_tokens, "--nproc", nproc]
    as_chat = ["--chat"] if template is not None else []
    command = _generate(run, *options, *as_chat, "--out", path)
    # Its progress is ours; what it prints is not.
    code = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=_bound()
    ).returncode
    if code != 0:
        raise RunError(f"{run}: no answers, `codemix generate` ended with exit code {code}")
    return path


@dataclass(frozen=True)
class Place:
    """Where a judge is asked, and under which name."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)


@contextlib.contextmanager
def served(run: Path, log: Path, *, nproc: int) -> Iterator[Place]:
    """Serves a run during the block, on a free port of the loopback interface and with a key that
    only this process has. Raises RunError, with the end of the log, where the server does not come
    up or ends before the block does."""
    log.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_urlsafe()
    command = _generate(run, "--serve", "--port", 0, "--nproc", nproc, "--json")
    with (
        open(log, "wb") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, KEY_VARIABLE: key},
            start_new_session=True,  # Ctrl-C is for us: requests under way shall end
            preexec_fn=_bound(),
        ) as server,
    ):
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise RunError(f"{run}: cannot be served as judge; {_end_of(log)}")
            told = json.loads(line)
            yield Place(told["url"], told["model"], key)
        except RetryableError as error:
            if server.poll() is None:
                raise
            raise RunError(f"{error}\nThe judge's server has ended; {_end_of(log)}") from error
        finally:
            _end(server)


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"{log} ends with", *lines[-20:]])


def _generate(run: Path, *options: object) -> list[str]:
    return [sys.executable, "-m", "megatron_codemix", "generate", *map(str, (run, *options))]


def _bound() -> partial[None]:
    """For a `preexec_fn`: the child is asked to end when we end, however that is."""
    return partial(die_with, os.getpid(), by=signal.SIGTERM)


def _end(server: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        server.terminate()
    try:
        server.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
