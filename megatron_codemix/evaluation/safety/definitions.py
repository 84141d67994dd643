"""Which programs come to the end of their definitions, tried in the sandbox."""

from collections.abc import Sequence
from importlib import resources
from typing import Literal

from megatron_codemix.evaluation.safety import importing
from megatron_codemix.sandbox.limits import MIB, Limits, Outcome
from megatron_codemix.sandbox.sandbox import Sandbox

LIMITS = Limits(wall_seconds=5.0, cpu_seconds=5, memory_bytes=512 * MIB, processes=4)
"""Definitions take milliseconds."""
STAND_INS = (
    "Crypto",
    "cryptography",
    "defusedxml",
    "django",
    "flask",
    "jinja2",
    "markupsafe",
    "paramiko",
    "psycopg2",
    "requests",
    "yaml",
)
"""Packages that the prompts, or our own completions of them, import."""

Verdict = Literal["runs", "does_not_compile", "fails", "over_limits"]


def import_all(sandbox: Sandbox, programs: Sequence[str], workers: int) -> list[Verdict]:
    """Whether each can be imported as a module; so many at a time.

    runs: to its last statement. fails: raises, exits or crashes. over_limits: is ended for its use
    of time, memory, processes or output.
    """
    return [
        _verdict(outcome) for outcome in sandbox.run_many(list(map(_program, programs)), workers)
    ]


def _program(source: str) -> str:
    file = resources.files("megatron_codemix.evaluation.safety") / "importing.py"
    return f"{file.read_text(encoding='utf-8')}\n\nimport_program({source!r}, {STAND_INS!r})\n"


def _verdict(outcome: Outcome) -> Verdict:
    lines = outcome.stdout.decode(errors="replace").splitlines()
    if lines == [importing.NO_PROGRAM]:
        return "does_not_compile"
    if outcome.status == "passed" and lines[-1:] == [importing.IMPORTED]:
        return "runs"
    return "fails" if outcome.status in ("passed", "failed", "killed") else "over_limits"
