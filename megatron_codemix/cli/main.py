"""`codemix`: finds the command and runs it.

Each command is the module of its name here, with a typer `app` or a function `command`. It is
imported only when chosen: `codemix --help` and `codemix study status` must not wait for torch.
"""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from megatron_codemix import __version__
from megatron_codemix.cli.early import remembering_stops_of
from megatron_codemix.cli.ending import Interrupted, run_readably
from megatron_codemix.cli.paths import with_paths_read
from megatron_codemix.errors import EXIT_DONE
from megatron_codemix.garbage import no_search_for_garbage

COMMANDS = {
    "quickstart": "A whole tiny study on this machine; nothing is downloaded.",
    "doctor": "What this machine has, and what is missing.",
    "config": "Show, check, compare and translate configurations.",
    "corpus": "Collect and clean raw text.",
    "data": "Train a tokenizer, make token shards, inspect them.",
    "train": "Train one run, or go on with it.",
    "plan": "Whether a run fits on GPUs elsewhere, how fast it is and what it costs.",
    "study": "Check, run and report a study: phases chained by checkpoint.",
    "scaling": "Ladders of small runs, laws fitted to them, predictions for large ones.",
    "evaluate": "Score a run.",
    "generate": "Go on with texts, or serve a run to OpenAI's clients.",
    "judge": "Which of two models answers better, by the word of a third one.",
    "checkpoint": "List, verify, average and convert checkpoints.",
    "sandbox": "Whether this machine can run programs that nobody vouches for.",
    "bench": "Measure this machine: ours beside a peer.",
}
"""Name -> line for the help."""


# Newer versions of typer carry click inside and keep its types to themselves.
_Context = Any


class _LazyGroup(TyperGroup):
    """Knows the names of the commands; imports the one that runs."""

    def __init__(self, **options: Any) -> None:  # Any: typer's own
        # Stand-ins, enough for the help and for suggestions.
        names = {name: TyperCommand(name=name, help=line) for name, line in COMMANDS.items()}
        super().__init__(**(options | {"commands": names}))

    def resolve_command(self, ctx: _Context, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is None or name is None:
            return name, command, rest
        return name, load_command(name), rest

    def invoke(self, ctx: _Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted from error


def load_command(name: str) -> Any:  # Any: a click command, which typer keeps to itself
    """Imports the module of a command and makes it runnable."""
    with no_search_for_garbage():
        module = import_module(f"megatron_codemix.cli.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(module.command)
    command = with_paths_read(typer.main.get_command(app))
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"codemix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    """Code-versus-text data-mixture studies on megatron-core.

    Exit codes: 0 done, 1 a bug, 2 the input is wrong, 75 try the same command again, 130 Ctrl-C.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    limit_blas_threads()
    # Python searches for garbage before it ends: 1 s where torch is loaded, to no purpose.
    atexit.register(gc.freeze)
    given = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = "--debug" in given

    def work() -> int:
        app(args=[argument for argument in given if argument != "--debug"], prog_name="codemix")
        return EXIT_DONE

    with remembering_stops_of(given):
        return run_readably(work, is_debug=is_debug)


def limit_blas_threads() -> None:
    """Before numpy is imported: see data/preparation/__init__.py."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
