"""`codemix sandbox`: whether this machine can run programs that nobody vouches for."""

import json as json_module
import time
from dataclasses import asdict
from typing import Annotated

import typer

from megatron_codemix.errors import UnavailableError
from megatron_codemix.sandbox.limits import Limits
from megatron_codemix.sandbox.sandbox import Sandbox
from megatron_codemix.units import format_bytes

app = typer.Typer(
    help="Run programs in isolation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_NUM_PROGRAMS = 50


@app.callback()
def sandbox() -> None:
    """Run programs in isolation."""  # a callback keeps `check`, the only one, a subcommand


@app.command()
def check(
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Try without isolation: resource limits alone.")
    ] = False,
) -> None:
    """Say whether this machine isolates programs, by running some; exit code 2 if it does not."""
    limits = Limits()
    with Sandbox(limits, unsafe=unsafe) as one:
        started = time.monotonic()
        for _ in range(_NUM_PROGRAMS):
            outcome = one.run("print('ran')")
            if (outcome.status, outcome.stdout) != ("passed", b"ran\n"):
                raise UnavailableError(f"a program that prints one word ended as {outcome}")
        milliseconds = 1000 * (time.monotonic() - started) / _NUM_PROGRAMS
    if json:
        report = {
            "isolated": not unsafe,
            "milliseconds_per_program": milliseconds,
            "limits": asdict(limits),
        }
        print(json_module.dumps(report, indent=1))
        return
    how = "under resource limits alone: NOT isolated" if unsafe else "isolated"
    print(f"programs run {how}; one takes {milliseconds:.1f} ms to start and end")
    print(
        f"limits: {limits.wall_seconds:g} s, {limits.cpu_seconds} s of CPU, "
        f"{format_bytes(limits.memory_bytes)} of memory, {limits.processes} processes, "
        f"{format_bytes(limits.output_bytes)} of output, {format_bytes(limits.disk_bytes)} of files"
    )
