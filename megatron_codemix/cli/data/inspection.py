"""`codemix data inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import JsonOption, counted, print_json
from megatron_codemix.data.shards.describe import ShardSummary, summarise_shard
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.units import format_bytes

app = typer.Typer()


@app.command("inspect")
def inspect_shard(
    prefix: Annotated[Path, typer.Argument(help="Prefix of a shard.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Its tokenizer.json, to decode samples.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Documents to show.")] = 3,
    sample_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each to show.")] = 64,
    json: JsonOption = False,
) -> None:
    """Counts, a histogram of document lengths and a few decoded documents."""
    loaded = Tokenizer.load(tokenizer) if tokenizer is not None else None
    summary = summarise_shard(prefix, loaded, num_samples=samples, sample_tokens=sample_tokens)
    if loaded is not None and loaded.hash != summary.manifest.tokenizer_hash:
        raise DataError(
            f"{prefix}: made with tokenizer {summary.manifest.tokenizer_hash[:8]}, {tokenizer} is "
            f"{loaded.hash[:8]}; name the tokenizer that made the shard"
        )
    _print_summary(summary, as_json=json)


def _print_summary(summary: ShardSummary, *, as_json: bool) -> None:
    manifest = summary.manifest
    if as_json:
        print_json(asdict(summary) | {"manifest": manifest.model_dump(mode="json")})
        return
    print(f"{summary.prefix}: source {manifest.source}, {manifest.split}, {manifest.dtype}")
    print(
        f"{counted(manifest.num_documents, 'document')}, "
        f"{counted(manifest.num_tokens, 'token')}, "
        f"{format_bytes(manifest.num_bytes)} of text; "
        f"{manifest.num_bytes / max(1, manifest.num_tokens):.2f} bytes a token"
    )
    print(f"tokens a document: {summary.shortest} to {summary.longest}")
    highest = max(summary.length_histogram.values(), default=0)
    for name, count in summary.length_histogram.items():
        bar = "#" * round(40 * count / highest) if highest else ""
        print(f"  {name:>16s} {count:8d} {bar}")
    for sample in summary.samples:
        print("---")
        print(sample)
