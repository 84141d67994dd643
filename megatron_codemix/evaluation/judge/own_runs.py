"""Runs of ours as contestants and as judge: `codemix generate` in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from megatron_codemix.errors import RunError
from megatron_codemix.files import hash_json
from megatron_codemix.processes import die_with
from megatron_codemix.runs import RunDirectory, require_done

_GRACE_SECONDS = 30.0


def is_run(path: Path) -> bool:
    """Whether a path is a run's folder rather than a file of answers."""
    return RunDirectory(path).config.exists()


def run_version(run: Path) -> str:
    """Names the weights: what the run is, and its last step. Raises RunError unless it is done."""
    status = require_done(RunDirectory(run))
    return f"{status.identity}:{status.num_steps}"


def answer_file(run: Path, prompts: Path, folder: Path, *, max_new_tokens: int, nproc: int) -> Path:
    """Greedy answers of a run to the prompts: made, or those that the folder has from an earlier
    call. Raises RunError where `codemix generate` fails, which has told why on stderr."""
    made_of = {"run": run_version(run), "prompts": prompts.read_text(encoding="utf-8")}
    version = hash_json({**made_of, "max_new_tokens": max_new_tokens})
    path = folder / f"answers.{version[:12]}.jsonl"
    if path.exists():
        return path
    options = ["--prompts", prompts, "--max-new-tokens", max_new_tokens, "--nproc", nproc]
    command = _generate(run, *options, "--out", path)
    # Its progress is ours; what it prints is not.
    code = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=_bound()
    ).returncode
    if code != 0:
        raise RunError(f"{run}: no answers, `codemix generate` ended with exit code {code}")
    return path


@contextlib.contextmanager
def served(run: Path, log: Path, *, nproc: int) -> Iterator[dict[str, Any]]:
    """Serves a run on a free port of the loopback interface during the block: yields `url` and
    `model`. Raises RunError, with the end of the log, where the server does not come up."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = _generate(run, "--serve", "--port", 0, "--nproc", nproc, "--json")
    with (
        open(log, "wb") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us: requests under way shall end
            preexec_fn=_bound(),
        ) as server,
    ):
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                tail = "\n".join(
                    log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
                )
                raise RunError(f"{run}: cannot be served as judge; {log} ends with\n{tail}")
            yield json.loads(line)
        finally:
            _end(server)


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
