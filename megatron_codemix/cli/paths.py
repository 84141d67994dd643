"""Paths on the command line: one rule for all options and arguments of all commands.

A leading `~` is a home folder, also where it was quoted or stands behind `--out=` and the shell has
left it alone. An empty path is refused: it would be the present folder, and comes of a variable
that is not set. Paths within a text (`KEY=VALUE`, as --set, --root and --policy take it) are left
as they are.
"""

import os
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

PATTERN = "path pattern"
"""Beside `typer.Option` in the annotation of a text that names files, or may: it follows the same
rule."""


def with_paths_read(command: Any) -> Any:  # Any: a click command, which typer keeps to itself
    """`command`, and all below it, with the rule kept."""
    for sub in getattr(command, "commands", {}).values():
        with_paths_read(sub)
    hints = get_type_hints(command.callback, include_extras=True) if command.callback else {}
    for parameter in command.params:
        if _names_files(hints.get(parameter.name)):
            _read_paths_of(parameter)
    return command


def _names_files(hint: Any) -> bool:  # Any: a type
    return hint is Path or hint == PATTERN or any(_names_files(part) for part in get_args(hint))


def _read_paths_of(parameter: Any) -> None:  # Any: a click parameter
    process = parameter.process_value

    def read_and_process(context: Any, value: Any) -> Any:
        return process(context, _read(context, parameter, value))

    parameter.process_value = read_and_process


def _read(context: Any, parameter: Any, value: Any) -> Any:
    """What was given; a default that is no text as it is."""
    if isinstance(value, list | tuple):
        return type(value)(_read(context, parameter, one) for one in value)
    if not isinstance(value, str):
        return value
    if not value:
        text = "the path is empty; give one ('.' is this folder)"
        raise typer.BadParameter(text, ctx=context, param=parameter)
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        text = f"{value!r}: no such user's home folder; './{value}' is the file of this name"
        raise typer.BadParameter(text, ctx=context, param=parameter)
    return expanded
