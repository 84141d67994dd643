"""Options that would have no effect beside others are refused, not ignored."""

from collections.abc import Iterable

import typer


def refuse_unused(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Raises BadParameter that names those of the options (as Python names them) that were given on
    the command line.

    why: `the clients say it`.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in names
        if getattr(context.get_parameter_source(name), "name", None) == "COMMANDLINE"
    ]
    if given:
        raise typer.BadParameter(f"no effect: {why}", param_hint=", ".join(given))
