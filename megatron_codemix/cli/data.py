"""`codemix data`: tokenizer and token shards."""

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megatron_codemix.corpus.store import source_files
from megatron_codemix.data.preparation.prepare import (
    VALIDATION_FRACTION,
    Preparation,
    PreparedCorpus,
    plan_preparation,
    prepare_corpus,
    source_sizes,
    warn_of_seen_text,
)
from megatron_codemix.data.shards.describe import (
    ShardSummary,
    describe_shard,
    require_describable,
    require_source_name,
    summarise_shard,
)
from megatron_codemix.data.shards.manifest import BLOCK_BYTES
from megatron_codemix.data.shards.token_shard import shard_file
from megatron_codemix.data.shards.verify import VerifiedShard, find_shards, verify_shard
from megatron_codemix.data.tokenizer import Tokenizer, require_trainable, train_tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration

app = typer.Typer(help="Tokenizer and token shards.", no_args_is_help=True)

Fraction = Annotated[
    float,
    typer.Option("--validation-fraction", help="Share of the origins that is held out."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
TextField = Annotated[str, typer.Option(help="Field of the text in the records.")]
OriginField = Annotated[str, typer.Option(help="Field that names a record's origin.")]
TokenizerFile = Annotated[Path, typer.Option("--tokenizer", help="A byte-level tokenizer.json.")]


@app.command()
def tokenizer(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder, a file for each source.")],
    out: Annotated[Path, typer.Option(help="The tokenizer.json to write.")],
    vocabulary_size: Annotated[int, typer.Option(help="Entries, end of document included.")],
    validation_fraction: Fraction = VALIDATION_FRACTION,
    text_field: TextField = "text",
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Train a byte-level BPE on the same number of bytes of each source, held-out text left out."""
    require_trainable(vocabulary_size, validation_fraction, out)
    files = source_files(corpus)
    sizes = source_sizes(corpus, files)
    if dry_run:
        plan = {"out": str(out), "vocabulary_size": vocabulary_size, "text_bytes": sizes}
        _print_json(plan)
        return
    with progress_bar(
        "tokenizer, in two passes over the corpus", 2 * sum(sizes.values()), "bytes"
    ) as advance:
        result = train_tokenizer(
            corpus,
            vocabulary_size,
            out,
            validation_fraction=validation_fraction,
            text_field=text_field,
            advance=advance,
        )
    if json:
        _print_json(asdict(result) | {"path": str(result.path)})
        return
    trained_on = ", ".join(
        f"{name} {format_bytes(size)}" for name, size in result.bytes_per_source.items()
    )
    print(f"{result.path}: {result.vocabulary_size} entries, hash {result.hash[:8]}")
    print(f"trained on {trained_on}")
    print("complete already" if result.was_complete else f"in {format_duration(result.seconds)}")


@app.command()
def prepare(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder, a file for each source.")],
    tokenizer: TokenizerFile,
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source. May be repeated.")
    ] = None,
    validation_fraction: Fraction = VALIDATION_FRACTION,
    text_field: TextField = "text",
    origin_field: OriginField = "origin",
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Tokenise a corpus into shards, training and held-out; a rerun goes on after a kill."""
    preparation = Preparation(
        tokenizer=Tokenizer.load(tokenizer),
        out=out,
        validation_fraction=validation_fraction,
        text_field=text_field,
        origin_field=origin_field,
        advance=lambda amount: None,
    )
    plan = plan_preparation(corpus, preparation, source)
    if dry_run:
        warn_of_seen_text(preparation)
        _print_json(
            {
                "out": str(out),
                "todo": sorted(plan.todo),
                "finished": sorted(plan.finished),
                "text_bytes": plan.text_bytes,
                "disk_bytes": plan.disk_bytes,
            }
        )
        return
    with progress_bar("prepare", plan.text_bytes, "bytes") as advance:
        result = prepare_corpus(
            corpus,
            tokenizer,
            out,
            sources=source,
            validation_fraction=validation_fraction,
            text_field=text_field,
            origin_field=origin_field,
            advance=advance,
        )
    _print_prepared(result, as_json=json)


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
        require_source_name(source)
        if not replace:
            require_describable(prefix, loaded, source, split)
        _print_json({"would_write": [str(path), str(shard_file(prefix, ".documents.jsonl"))]})
        return
    with progress_bar("manifest", bin_path.stat().st_size, "bytes") as advance:
        result = describe_shard(prefix, loaded, source, split, advance, is_replacing=replace)
    if json:
        _print_json(result.model_dump(mode="json"))
        return
    documents = _counted(result.num_documents, "document")
    print(f"{path}: {documents}, {_counted(result.num_tokens, 'token')}")


@app.command()
def verify(
    place: Annotated[Path, typer.Argument(help="Prefix of a shard, or a folder of shards.")],
    json: JsonOption = False,
) -> None:
    """Compare every block of token shards with its hash; exit code 2 where one has changed."""
    prefixes = find_shards(place) if place.is_dir() else [place]
    total = sum(
        -(-shard_file(prefix, ".bin").stat().st_size // BLOCK_BYTES)
        for prefix in prefixes
        if shard_file(prefix, ".bin").is_file()
    )
    with progress_bar("verify", total, "blocks") as advance:
        results = [verify_shard(prefix, advance) for prefix in prefixes]
    _print_verified(results, as_json=json)


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


def _counted(number: int, unit: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _print_json(value: Any) -> None:  # Any: JSON values
    print(json_module.dumps(value, indent=1, ensure_ascii=False))


def _print_prepared(result: PreparedCorpus, *, as_json: bool) -> None:
    if as_json:
        shards = {
            source: {
                split: entry.model_dump(
                    mode="json", include={"num_documents", "num_tokens", "num_bytes", "dtype"}
                )
                for split, entry in splits.items()
            }
            for source, splits in result.shards.items()
        }
        _print_json(
            {
                "folder": str(result.folder),
                "shards": shards,
                "finished_before": result.finished_before,
                "skipped": result.skipped,
                "seconds": result.seconds,
            }
        )
        return
    for source, splits in result.shards.items():
        for split, entry in splits.items():
            print(
                f"{source + '.' + split:24s} {entry.num_documents:8d} documents "
                f"{entry.num_tokens:12d} tokens  {format_bytes(entry.num_bytes):>10s} of text"
            )
    for reason, count in sorted(result.skipped.items()):
        print(f"skipped, {reason}: {count}")
    is_complete = len(result.finished_before) == len(result.shards)
    print("complete already" if is_complete else f"in {format_duration(result.seconds)}")


def _print_verified(results: list[VerifiedShard], *, as_json: bool) -> None:
    problems = [problem for result in results for problem in result.problems]
    if as_json:
        shards = [asdict(result) | {"prefix": str(result.prefix)} for result in results]
        _print_json({"ok": not problems, "shards": shards})
        if problems:
            raise typer.Exit(DataError.exit_code)
        return
    if problems:
        raise DataError("\n".join(problems))
    for result in results:
        print(f"{result.prefix}: {_counted(result.num_blocks, 'block')}, as in the manifest")


def _print_summary(summary: ShardSummary, *, as_json: bool) -> None:
    manifest = summary.manifest
    if as_json:
        _print_json(asdict(summary) | {"manifest": manifest.model_dump(mode="json")})
        return
    print(f"{summary.prefix}: source {manifest.source}, {manifest.split}, {manifest.dtype}")
    print(
        f"{_counted(manifest.num_documents, 'document')}, "
        f"{_counted(manifest.num_tokens, 'token')}, "
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
