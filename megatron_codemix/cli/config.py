"""`codemix config`: what a configuration says, whether it holds together, how two differ."""

import json as json_module
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.backend.environment import require_device
from megatron_codemix.config.checks import check_config, raise_if
from megatron_codemix.config.difference import differences
from megatron_codemix.config.editor_schema import editor_schema
from megatron_codemix.config.engine_options import overlap_needs
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.loader import (
    Tree,
    dump_yaml,
    load_run_config,
    load_run_config_and_tree,
    origins,
)
from megatron_codemix.config.megatron_flags.arguments import megatron_arguments, what_differs
from megatron_codemix.config.plan import make_plan, steps_text
from megatron_codemix.config.precision_checks import needs_of
from megatron_codemix.config.schema import Fp8Config, RunConfig
from megatron_codemix.config.tree import parse_yaml, where_of
from megatron_codemix.errors import EXIT_INPUT, ConfigError, UnavailableError
from megatron_codemix.runs import RunDirectory
from megatron_codemix.units import format_count

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_Config = Annotated[Path, typer.Argument(help="Configuration of a run (YAML).")]
_Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _group() -> None:
    """Show, check, compare and translate configurations."""


@app.command()
def show(config: _Config, overrides: _Overrides = None, json: _Json = False) -> None:
    """Print the complete configuration, and where each value is from."""
    resolved, tree = load_run_config_and_tree(config, overrides or [])
    if json:
        content = {
            "config": resolved.model_dump(mode="json"),
            "given": {".".join(path): place for path, place in _places(tree).items()},
            "origin": origins(tree),
        }
        print(json_module.dumps(content, indent=1))
    else:
        print(_annotated(dump_yaml(resolved), _places(tree), origins(tree)))


@app.command()
def check(
    config: _Config,
    overrides: _Overrides = None,
    world_size: Annotated[
        int | None, typer.Option(min=1, help="Check also that it runs on this many processes.")
    ] = None,
    file_only: Annotated[
        bool,
        typer.Option(
            "--file-only",
            help="Not what it needs: tokenizer, shards, the parent's run, the loader's package.",
        ),
    ] = False,
    json: _Json = False,
) -> None:
    """Check names, types, the rules across sections, and that what the run needs is there; exit
    code 2 if something is wrong."""
    problems: list[str] = []
    notes: list[str] = []
    plan = None
    try:
        run_config = load_run_config(config, overrides or [])
        raise_if(
            check_config(run_config)
            + check_layout(run_config, world_size or run_config.layout.model_parallel)
        )
        plan = make_plan(run_config, world_size) if world_size else None
        if isinstance(run_config.precision, Fp8Config):
            notes.append(needs_of(run_config.precision))
        notes += overlap_needs(run_config.layout)
        if not file_only:
            notes += _notes_on_needs(run_config)
    except ConfigError as error:
        if not json:
            raise
        problems = error.problems
    if json:
        content = {
            "ok": not problems,
            "problems": problems,
            "notes": notes,
            "plan": plan.as_dict() if plan else None,
        }
        print(json_module.dumps(content, indent=1))
    elif plan is None:
        print(f"{config}: nothing wrong")
    else:
        print(
            f"{config}: nothing wrong; {steps_text(plan)} = {format_count(plan.train_tokens)}, "
            f"{plan.data_parallel} data-parallel ranks x {plan.num_microbatches} microbatches"
        )
    if not json:
        for note in notes:
            print(f"note: {note}")
    if problems:
        raise typer.Exit(EXIT_INPUT)


@app.command()
def schema() -> None:
    """Print the JSON schema, for completion and checks in an editor."""
    print(json_module.dumps(editor_schema(), indent=1))


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(help="Configuration, or directory of a run.")],
    second: Annotated[Path, typer.Argument(help="The other one.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the other one: section.key=value ...")
    ] = None,
    json: _Json = False,
) -> None:
    """Print the fields that differ; '*' marks those that make it another run."""
    found = differences(_load_either(first), _load_either(second, overrides or []))
    if json:
        rows = [
            {"path": d.path, "first": d.first, "second": d.second, "identity": d.identity}
            for d in found
        ]
        print(json_module.dumps({"differences": rows}, indent=1))
        return
    marks = {"yes": "*", "by content": "?", "no": " "}
    for d in found:
        print(f"{marks[d.identity]} {d.path}: {_text(d.first)} -> {_text(d.second)}")
    print(_summary([d.identity for d in found]))


@app.command("megatron-args")
def megatron_args(
    config: _Config,
    world_size: Annotated[int, typer.Option(min=1, help="Number of processes.")],
    overrides: _Overrides = None,
) -> None:
    """Print the flags of Megatron-LM's pretrain_gpt.py for the same run, one a line.

    What they cannot make equal goes to stderr.
    """
    run_config = load_run_config(config, overrides or [])
    raise_if(check_config(run_config) + check_layout(run_config, world_size))
    for flag in megatron_arguments(run_config, make_plan(run_config, world_size)):
        print(shlex.join(flag))
    for note in what_differs(run_config):
        print(f"note: {note}", file=sys.stderr)


def _notes_on_needs(config: RunConfig) -> list[str]:
    """Raises ConfigError where something that the run needs is missing or does not fit."""
    # Here, so that the other commands do not wait for numpy.
    from megatron_codemix.data.needs import check_needs

    needs = check_needs(config)
    raise_if(needs.problems)
    notes = needs.notes
    try:
        require_device(config.backend.device)
    except UnavailableError as error:  # it may run elsewhere
        notes.append(str(error))
    return notes


def _load_either(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    return load_run_config(RunDirectory(path).config if path.is_dir() else path, overrides)


def _text(value: Any) -> str:  # Any: a JSON value
    return "absent" if value is None else str(value)


def _summary(decided: list[str]) -> str:
    if not decided:
        return "the same configuration"
    if "yes" in decided:
        return "another run: fields marked * decide what is learned"
    if "by content" in decided:
        return "the same run if the files behind the fields marked ? have the same content"
    return "the same run: no difference decides what is learned"


def _places(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Where each value of the tree was given; the rest are defaults."""
    places: dict[tuple[str, ...], str] = {}
    for key, value in tree.items():
        if not path and key == "origin":
            continue
        if isinstance(value, dict):
            places |= _places(value, (*path, key))
        else:
            places[(*path, str(key))] = where_of(key)
    return places


def _annotated(text: str, places: Mapping[tuple[str, ...], str], origin: Mapping[str, str]) -> str:
    """The YAML text with the place of each value as a comment behind it."""
    lines = text.splitlines()
    width = min(48, max(map(len, lines)))
    lines_of: Tree = parse_yaml(text, "line", [])

    def visit(section: Tree, path: tuple[str, ...]) -> None:
        for key, value in section.items():
            here = (*path, str(key))
            if isinstance(value, dict) and value:
                visit(value, here)
                continue
            number = int(where_of(key).rpartition(":")[2]) - 1
            source = origin.get(".".join(here))
            comment = places.get(here, "default") + (f"; {source}" if source else "")
            lines[number] = f"{lines[number]:<{width}}  # {comment}"

    visit(lines_of, ())
    return "\n".join(lines)
