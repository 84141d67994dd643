"""`codemix data manifest`."""

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
from megatron_codemix.data.shards.describe import (
    bytes_to_read,
    describe_shard,
    suffixes_to_write,
)
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer()


@app.command()
def manifest(
    prefix: Annotated[Path, typer.Argument(help="Prefix of an existing .bin and .idx.")],
    tokenizer: TokenizerFile,
    source: Annotated[str, typer.Option(help="Name of the source.")],
    split: Annotated[
        Literal["train", "validation"], typer.Option(help="What it is for.")
    ] = "train",
    replace: Annotated[
        bool, typer.Option("--replace", help="Even where a manifest that differs is there.")
    ] = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Write the manifest of a shard that Megatron-LM made."""
    loaded = Tokenizer.load(tokenizer)
    path = shard_file(prefix, ".manifest.json")
    bin_path = shard_file(prefix, ".bin")
    if not bin_path.is_file():
        raise DataError(f"{bin_path}: no such file; give the prefix without .bin or .idx")
    if dry_run:
        suffixes = suffixes_to_write(prefix, loaded, source, split, is_replacing=replace)
        print_plan(
            {
                "would_read": [str(bin_path), str(shard_file(prefix, ".idx"))],
                "would_write": [str(shard_file(prefix, suffix)) for suffix in suffixes],
            },
            as_json=json,
        )
        return
    with progress_bar("manifest", bytes_to_read(prefix), "bytes") as advance:
        result = describe_shard(prefix, loaded, source, split, advance, is_replacing=replace)
    if json:
        print_json(result.model_dump(mode="json"))
        return
    documents = counted(result.num_documents, "document")
    print(f"{path}: {documents}, {counted(result.num_tokens, 'token')}")
