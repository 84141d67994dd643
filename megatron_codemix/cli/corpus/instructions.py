"""`codemix corpus instructions`."""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.cli.paths import PATTERN
from megatron_codemix.corpus.instructions.build import (
    InstructionFiles,
    Instructions,
    build_instructions,
    plan_instructions,
)
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration

app = typer.Typer()


@app.command()
def instructions(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...", help="JSON or Parquet: files, folders, patterns, addresses."
        ),
        PATTERN,
    ],
    out: Annotated[Path, typer.Option(help="Corpus folder; other kinds may be in it already.")],
    kind: Annotated[
        Literal["text", "code"], typer.Option(help="Names the source: KIND_instructions.")
    ],
    source: Annotated[str | None, typer.Option(help="Another name of the source.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of records that name none themselves.")
    ] = None,
    leave_out_bad: Annotated[
        bool,
        typer.Option("--leave-out-bad", help="Leave out, and count, what is no conversation."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put them in place of other files of the source.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a source of conversations.

    Chats (`messages`, or ShareGPT's `conversations`), or Alpaca's `instruction`, `input` and
    `output`. `codemix data prepare` makes tokens of it that know which of them are answers.
    """
    asked = InstructionFiles(
        patterns=files,
        source=f"{kind}_instructions" if source is None else source,
        licence=licence,
        leaves_out_bad=leave_out_bad,
        replaces=replace,
    )
    if dry_run:
        print_plan(asdict(plan_instructions(out, asked)), as_json=json)
        return
    with progress_bar("instructions", None, "bytes") as advance:
        result = build_instructions(out, asked, advance)
    _print(result, as_json=json)


def _print(result: Instructions, *, as_json: bool) -> None:
    if as_json:
        record = asdict(result) | {"folder": str(result.folder)}
        print(json_module.dumps(record, indent=1))
        return
    file = result.file
    print(
        f"{result.source:18s} {file.num_documents:7d} conversations  "
        f"{format_bytes(file.num_bytes):>10s}  {result.folder / file.file}"
    )
    for reason, count in sorted(result.skipped.items()):
        print(f"left out, {reason}: {count}")
    print("complete already" if result.was_complete else f"in {format_duration(result.seconds)}")
