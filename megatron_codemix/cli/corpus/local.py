"""`codemix corpus local`."""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.corpus.stage_command import source_json
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.cli.paths import PATTERN
from megatron_codemix.corpus.local.build import (
    LocalCorpus,
    build_local_corpus,
    plan_local_corpus,
)
from megatron_codemix.corpus.local.own_files import SOURCES
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration, parse_bytes

app = typer.Typer()


@app.command(context_settings={"allow_extra_args": True})
def local(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder for the corpus.")],
    text: Annotated[
        list[str] | None,
        typer.Option(help="Own files in place of this machine's prose. May be repeated."),
        PATTERN,
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Own files in place of this machine's code."),
        PATTERN,
    ] = None,
    markup: Annotated[
        list[str] | None,
        typer.Option(help="Own files in place of this machine's markup."),
        PATTERN,
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="Field of the text in JSON lines and Parquet.")
    ] = "text",
    origin_field: Annotated[
        str,
        typer.Option(
            help="Field that names the file a record came from: records of one origin are all "
            "training or all held-out."
        ),
    ] = "origin",
    source_bytes: Annotated[
        str, typer.Option(help="Cap on what is taken of this machine for each source.")
    ] = "16MB",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a corpus of this machine's files, or of your own.

    Three sources: code, markup and English prose. Patterns are globs or folders; files are JSON
    lines (.jsonl, .jsonl.gz, .jsonl.zst), Parquet, or one document a file.
    """
    _refuse_extra(context.args)
    given = {"text": text, "code": code, "markup": markup}
    patterns = {source: given[source] or [] for source in SOURCES}
    try:
        cap_bytes = parse_bytes(source_bytes)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--source-bytes") from error
    if dry_run:
        plan = plan_local_corpus(
            out,
            patterns,
            text_field=text_field,
            origin_field=origin_field,
            source_bytes=cap_bytes,
        )
        print_plan(asdict(plan), as_json=json)
        return
    with progress_bar("corpus", None, "bytes") as advance:
        result = build_local_corpus(
            out,
            patterns,
            text_field=text_field,
            origin_field=origin_field,
            source_bytes=cap_bytes,
            advance=advance,
        )
    _print(result, as_json=json)


def _refuse_extra(arguments: list[str]) -> None:
    """What an unquoted pattern gives: the shell puts the names of the files in its place."""
    if arguments:
        more = f" and {len(arguments) - 1} more" if len(arguments) > 1 else ""
        raise DataError(
            f"unexpected argument {arguments[0]!r}{more}; quote patterns, so that the shell "
            "leaves them alone: --code 'src/*.py'"
        )


def _print(result: LocalCorpus, *, as_json: bool) -> None:
    if as_json:
        record = {
            "folder": str(result.folder),
            "sources": {name: source_json(entry) for name, entry in result.sources.items()},
            "skipped": result.skipped,
            "left_out": result.left_out,
            "seconds": result.seconds,
            "was_complete": result.was_complete,
        }
        print(json_module.dumps(record, indent=1))
        return
    for name, entry in result.sources.items():
        print(
            f"{name:10s} {entry.num_documents:7d} documents  {format_bytes(entry.num_bytes):>10s}"
            f"  {result.folder / entry.files[0].file}"
        )
    for source, counts in result.left_out.items():
        whose = "own files" if source in result.own_sources else "this machine"
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
        print(f"left out of {source} ({whose}): {reasons or 'nothing'}")
    print("complete already" if result.was_complete else f"in {format_duration(result.seconds)}")
