"""The process that runs the program: it gives up what it has, then becomes the program.

One of three: a program by itself; a candidate, which answers calls; a test, which makes them.
"""

import ast
import atexit
import builtins
import importlib
import io
import os
import resource
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TextIO

from megatron_codemix.sandbox import kernel, seccomp
from megatron_codemix.sandbox.limits import Limits
from megatron_codemix.sandbox.remote import Channel, Remote, serve

CHANNEL_DESCRIPTOR = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a new sandbox is to do; sent as JSON."""

    kind: Literal["program", "candidate", "test"]
    source: str
    limits: Limits
    prompt: str = ""
    """test: definitions that it may use; the candidate's own `entry_point` goes before them."""
    entry_point: str | None = None
    num_stdin_bytes: int = 0


def give_up(limits: Limits, *, isolated: bool) -> None:
    """Sets the limits and drops every privilege of this process, for good."""
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _limit(kind, value)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    if isolated:
        # In its own user namespace only its own count, and the supervisor. Elsewhere it would be
        # all processes of this user.
        _limit(resource.RLIMIT_NPROC, limits.processes + 1)
        kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    kernel.install_filter(seccomp.build_filter())


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, most = resource.getrlimit(kind)
    values = [soft, soft if hard is None else hard]
    if most != resource.RLIM_INFINITY:
        values = [min(value, most) for value in values]
    resource.setrlimit(kind, (values[0], values[1]))


def run_job(job: Job) -> int:
    """The exit code, after all that an interpreter does at its end."""
    os.environ.clear()
    sys.argv = ["program"]
    sys.stdin, sys.stdout, sys.stderr = (_stream(0, "r"), _stream(1, "w"), _stream(2, "w"))
    actions: dict[str, Callable[[Job], None]] = {
        "program": _run_program,
        "candidate": _run_candidate,
        "test": _run_test,
    }
    code = _exit_code_of(lambda: actions[job.kind](job))
    if job.kind != "test":
        code = _exit_code_of(_end_interpreter) or code
    return code


def _stream(descriptor: int, mode: str) -> TextIO:
    binary = os.fdopen(descriptor, f"{mode}b", closefd=False)
    return io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape")


def _exit_code_of(action: Callable[[], None]) -> int:
    try:
        action()
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code & 0xFF
        return 0 if end.code is None else 1
    except BaseException:  # this is the program's last frame
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def _end_interpreter() -> None:
    threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads, as an interpreter does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


def _run_program(job: Job) -> None:
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(job.source, "<program>", "exec"), module.__dict__)


def _run_candidate(job: Job) -> None:
    module = ModuleType("candidate")
    sys.modules["candidate"] = module
    channel = Channel(CHANNEL_DESCRIPTOR)
    exec(compile(job.source, "<candidate>", "exec"), module.__dict__)
    serve(channel, module.__dict__)


def _run_test(job: Job) -> None:
    """Returns only if the test ran to its end."""
    channel = Channel(CHANNEL_DESCRIPTOR)
    names: dict[str, Any] = {"__name__": "test"}
    exec(compile(job.prompt, "<prompt>", "exec"), names)
    for name in sorted(_undefined_names(job.source) - names.keys() | {job.entry_point or ""}):
        names[name] = Remote(channel, ["name", name])
    for name in _modules_used(job.source) - {job.entry_point}:
        names[name] = importlib.import_module(name)
    try:
        exec(compile(job.source, "<test>", "exec"), names)
    except SystemExit as end:
        raise RuntimeError(f"the test ended itself with {end.code!r}") from end


def _undefined_names(source: str) -> set[str]:
    """Names that a test reads and neither it nor Python defines: they are the candidate's."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    defined = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                defined.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                defined |= {(one.asname or one.name).split(".")[0] for one in aliases}
            case ast.ExceptHandler(name=str(name)):
                defined.add(name)
    return read - defined - set(dir(builtins))


def _modules_used(source: str) -> set[str]:
    """Modules of the standard library that a test reads from without an import (`math.pi`)."""
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    bases = {node.value.id for node in attributes if isinstance(node.value, ast.Name)}
    return bases & _undefined_names(source) & sys.stdlib_module_names
