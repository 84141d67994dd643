"""`codemix data import`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from megatron_codemix.cli.data.options import (
    DryRun,
    JsonOption,
    TokenizerFile,
    counted,
    print_json,
)
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.data.shards.imports import Import, import_tokens, plan_import
from megatron_codemix.data.shards.layout import all_files, shard_file
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer()

TokenType = Literal["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@app.command("import")
def import_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Prefixes of Megatron data sets, .npy or .ds files, or folders of the last two.",
        ),
    ],
    tokenizer: TokenizerFile,
    source: Annotated[str, typer.Option(help="Name of the source.")],
    out: Annotated[Path, typer.Option(help="Prefix of the shard to write.")],
    split: Annotated[
        Literal["train", "validation"], typer.Option(help="What it is for.")
    ] = "train",
    dtype: Annotated[
        TokenType | None, typer.Option(help="Type of tokens in files without a header.")
    ] = None,
    append_eod: Annotated[
        bool, typer.Option("--append-eod", help="End the documents that have no end.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Even where a shard is there.")
    ] = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Copy tokens that Megatron-LM, OLMo or datatrove (nanotron) made into a shard."""
    asked = Import(
        inputs=[path for place in inputs for path in _files(place)],
        out=out,
        tokenizer=Tokenizer.load(tokenizer),
        source=source,
        split=split,
        dtype=dtype,
        append_eod=append_eod,
        is_replacing=replace,
    )
    opened = plan_import(asked)
    total = sum(foreign.tokens.nbytes for foreign in opened)
    if dry_run:
        names = [str(foreign.path) for foreign in opened]
        written = [str(path) for path in all_files(out)]
        plan = {"would_read": names, "bytes": total, "would_write": written}
        print_plan(plan, as_json=json)
        return
    with progress_bar("import", total, "bytes") as advance:
        result = import_tokens(asked, advance)
    if json:
        print_json(result.model_dump(mode="json"))
        return
    path = shard_file(out, ".manifest.json")
    print(f"{path}: {counted(result.num_documents, 'document')}, {result.num_tokens} tokens")


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    found = sorted([*place.glob("*.npy"), *place.glob("*.ds")])
    if not found:
        raise DataError(f"{place}: holds no .npy and no .ds file; give the prefix of a data set")
    return found
