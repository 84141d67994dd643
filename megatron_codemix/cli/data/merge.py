"""`codemix data merge`."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import (
    DryRun,
    JsonOption,
    answer_words,
    counted,
    print_json,
)
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.data.preparation.sorted_shards import (
    merge_parts,
    require_merged,
    shards_to_merge,
)
from megatron_codemix.data.shards.describe import require_source_name
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.merge import bytes_to_read, merge_shards
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer()


@app.command()
def merge(
    places: Annotated[
        list[Path],
        typer.Argument(help="The folder of `prepare --shard`, or prefixes of shards to join."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Prefix of the joined shard; without it, parts are merged.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the joined source, where theirs differ.")
    ] = None,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Make shards of all parts that `prepare --shard` left, or join finished shards into one."""
    if out is None:
        _merge_parts(places, dry_run=dry_run, as_json=json)
        return
    if source is not None:
        require_source_name(source)
    for place in places:
        require_merged(place.parent, place.name.rpartition(".")[0])
    if dry_run:
        print_plan({"out": str(out), "shards": [str(place) for place in places]}, as_json=json)
        return
    with progress_bar("merge", bytes_to_read(places), "bytes") as advance:
        merged = merge_shards(places, out, source=source, advance=advance)
    if json:
        print_json(
            {
                "out": str(out),
                "num_documents": merged.num_documents,
                "num_tokens": merged.num_tokens,
                "was_complete": merged.was_complete,
            }
        )
        return
    documents = counted(merged.num_documents, "document")
    print(f"{out}: {documents}, {counted(merged.num_tokens, 'token')}")
    if merged.was_complete:
        print("complete already")


def _merge_parts(places: list[Path], *, dry_run: bool, as_json: bool) -> None:
    if len(places) != 1:
        raise DataError(
            f"{len(places)} places: give one folder of prepared parts, or --out for shards to join"
        )
    if dry_run:
        plan = {"folder": str(places[0]), "sources": shards_to_merge(places[0])}
        print_plan(plan, as_json=as_json)
        return
    shards = merge_parts(places[0])
    if as_json:
        print_json(
            {
                source: {split: _counts(entry) for split, entry in splits.items()}
                for source, splits in shards.items()
            }
        )
        return
    if not shards:
        print("complete already")
    for source, splits in shards.items():
        for split, entry in splits.items():
            documents = counted(entry.num_documents, "document")
            print(f"{source}.{split}: {documents}, {counted(entry.num_tokens, 'token')}")
            if words := answer_words(entry):
                print(f"    {words}")


def _counts(entry: Manifest) -> dict[str, int]:
    return {"num_documents": entry.num_documents, "num_tokens": entry.num_tokens}
