"""`codemix data tokenizer`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import DryRun, Fraction, JsonOption, TextField, print_json
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.corpus.stages.run import wanted_files
from megatron_codemix.corpus.store import source_sizes
from megatron_codemix.data.preparation.plan import VALIDATION_FRACTION
from megatron_codemix.data.tokenizer_training import require_trainable, train_tokenizer
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes, format_duration

app = typer.Typer()


@app.command()
def tokenizer(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder, as `codemix corpus` makes it.")],
    out: Annotated[Path, typer.Option(help="The tokenizer.json to write.")],
    vocabulary_size: Annotated[int, typer.Option(help="Entries, end of document included.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Train on this source only. May be repeated.")
    ] = None,
    validation_fraction: Fraction = VALIDATION_FRACTION,
    text_field: TextField = "text",
    fill_in_the_middle: Annotated[
        bool,
        typer.Option("--fill-in-the-middle", help="With the tokens that fill-in-the-middle needs."),
    ] = False,
    chatml: Annotated[
        bool, typer.Option("--chatml", help="With the tokens of the chat template chatml.")
    ] = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Train a byte-level BPE on the same number of bytes of each source, held-out text left out.

    As much is taken of each as the smallest source has, up to 8 MB: leave a tiny one out by naming
    the others with --source.
    """
    require_trainable(
        vocabulary_size,
        validation_fraction,
        out,
        fill_in_the_middle=fill_in_the_middle,
        chatml=chatml,
    )
    files = wanted_files(corpus, source)
    sizes = source_sizes(corpus, files)
    if dry_run:
        plan = {"out": str(out), "vocabulary_size": vocabulary_size, "text_bytes": sizes}
        print_plan(plan, as_json=json)
        return
    with progress_bar(
        "tokenizer, in two passes over the corpus", 2 * sum(sizes.values()), "bytes"
    ) as advance:
        result = train_tokenizer(
            corpus,
            vocabulary_size,
            out,
            sources=source,
            validation_fraction=validation_fraction,
            text_field=text_field,
            fill_in_the_middle=fill_in_the_middle,
            chatml=chatml,
            advance=advance,
        )
    if json:
        print_json(asdict(result) | {"path": str(result.path)})
        return
    trained_on = ", ".join(
        f"{name} {format_bytes(size)}" for name, size in result.bytes_per_source.items()
    )
    print(f"{result.path}: {result.vocabulary_size} entries, hash {result.hash[:8]}")
    print(f"trained on {trained_on}")
    print("complete already" if result.was_complete else f"in {format_duration(result.seconds)}")
