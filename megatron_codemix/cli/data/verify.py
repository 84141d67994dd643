"""`codemix data verify`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import JsonOption, counted, print_json
from megatron_codemix.data.shards.block_hashes import count_blocks
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.verify import VerifiedShard, find_shards, verify_shards
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer()


@app.command()
def verify(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="PLACE...", help="Prefixes of shards, or folders of shards."),
    ],
    json: JsonOption = False,
) -> None:
    """Read every byte of token shards and compare with their hashes; exit code 2 on a problem."""
    found = (find_shards(place) if place.is_dir() else [place] for place in places)
    prefixes = list(dict.fromkeys(prefix for some in found for prefix in some))
    total = sum(
        count_blocks(shard_file(prefix, suffix).stat().st_size)
        for prefix in prefixes
        for suffix in (".bin", ".idx", ".answers")
        if shard_file(prefix, suffix).is_file()
    )
    with progress_bar("verify", total, "blocks") as advance:
        results = verify_shards(prefixes, advance)
    _print_verified(results, as_json=json)


def _print_verified(results: list[VerifiedShard], *, as_json: bool) -> None:
    problems = [problem for result in results for problem in result.problems]
    if as_json:
        shards = [asdict(result) | {"prefix": str(result.prefix)} for result in results]
        print_json({"ok": not problems, "shards": shards})
        if problems:
            raise typer.Exit(DataError.exit_code)
        return
    if problems:
        raise DataError(*problems)
    for result in results:
        print(f"{result.prefix}: {counted(result.num_blocks, 'block')}, as in the manifest")
