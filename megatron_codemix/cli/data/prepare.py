"""`codemix data prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import (
    DryRun,
    Fraction,
    JsonOption,
    OriginField,
    TextField,
    TokenizerFile,
    answer_words,
    print_json,
    shard_counts,
)
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.cli.paths import PATTERN
from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.data.preparation.plan import (
    VALIDATION_FRACTION,
    Preparation,
    plan_preparation,
)
from megatron_codemix.data.preparation.prepare import (
    PreparedCorpus,
    prepare_corpus,
    warn_of_seen_text,
)
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration

app = typer.Typer()


def part_of(text: str) -> Part:
    """`2/8`: the second of eight."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter(f"{text!r}: expected I/N with 1 <= I <= N, such as 1/4")
    return Part(int(number) - 1, int(count))


@app.command()
def prepare(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder, as `codemix corpus` makes it.")],
    tokenizer: TokenizerFile,
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Only this source. May be repeated.")
    ] = None,
    validation_fraction: Fraction = VALIDATION_FRACTION,
    text_field: TextField = "text",
    origin_field: OriginField = "origin",
    chat_template: Annotated[
        str,
        typer.Option(
            help="Of conversations: plain, chatml, a file in Jinja, or auto: the one beside the "
            "tokenizer, else chatml where it has its tokens, else plain."
        ),
        PATTERN,
    ] = "auto",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; 1 is this one, with a thread for each core.")
    ] = 1,
    shard: Annotated[
        Part | None,
        typer.Option(parser=part_of, metavar="I/N", help="Only part I of N, for `merge`."),
    ] = None,
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
        chat_template=chat_template,
        advance=lambda amount: None,
    )
    plan = plan_preparation(corpus, preparation, source)
    if dry_run:
        warn_of_seen_text(preparation)
        print_plan(
            {
                "out": str(out),
                "todo": sorted(plan.todo),
                "finished": sorted(plan.finished),
                "chat_templates": {name: one.name for name, one in plan.templates.items()},
                "text_bytes": plan.text_bytes,
                "disk_bytes": plan.disk_bytes,
            },
            as_json=json,
        )
        return
    part = shard or WHOLE
    with progress_bar("prepare", plan.text_bytes // part.count, "bytes") as advance:
        result = prepare_corpus(
            corpus,
            tokenizer,
            out,
            sources=source,
            validation_fraction=validation_fraction,
            text_field=text_field,
            origin_field=origin_field,
            chat_template=chat_template,
            num_workers=workers,
            part=part,
            advance=advance,
        )
    _print_prepared(result, as_json=json)


def _print_prepared(result: PreparedCorpus, *, as_json: bool) -> None:
    if as_json:
        shards = {
            source: {split: shard_counts(entry) for split, entry in splits.items()}
            for source, splits in result.shards.items()
        }
        print_json(
            {
                "folder": str(result.folder),
                "shards": shards,
                "finished_before": result.finished_before,
                "waiting": result.waiting,
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
            if words := answer_words(entry):
                print(f"    {words}")
    for reason, count in sorted(result.skipped.items()):
        print(f"skipped, {reason}: {count}")
    if result.waiting:
        print(f"a part of {', '.join(result.waiting)}, in {format_duration(result.seconds)}")
        print(f"once all are: codemix data merge {result.folder}")
        return
    is_complete = len(result.finished_before) == len(result.shards)
    print("complete already" if is_complete else f"in {format_duration(result.seconds)}")
