"""`codemix corpus stats`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megatron_codemix.cli.corpus.stage_command import Corpus, JsonOption, Workers, print_json
from megatron_codemix.corpus.output_place import STATISTICS_SUFFIX, require_file_place
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.split import require_validation_fraction
from megatron_codemix.corpus.statistics.count import CorpusCounts, count_corpus, dropped_files
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.statistics.summary import summarise
from megatron_codemix.corpus.store import DROPPED_FOLDER, hash_files, source_files, source_sizes
from megatron_codemix.data.preparation.plan import VALIDATION_FRACTION
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_bytes

if TYPE_CHECKING:
    from megatron_codemix.report.corpus_statistics.epochs import TokenQuestion

app = typer.Typer()


@app.command()
def stats(
    corpus: Corpus,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; by default CORPUS-statistics.html.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option("--study", help="Study file: how often its runs would read each source."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder that {data} stands for in the study's paths."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="Multiply the study's token_scale.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            help="tokenizer.json: tokens of each source, from a sample. With --study it stands in "
            "for the study's own.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=0, max=1000, help="Documents to show of each source.")
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Draws the samples.")] = 0,
    validation_fraction: Annotated[
        float,
        typer.Option(
            "--validation-fraction", help="What `codemix data prepare` will be told to hold out."
        ),
    ] = VALIDATION_FRACTION,
    workers: Workers = 1,
    json: JsonOption = False,
) -> None:
    """Make a page about a corpus, with figures and samples.

    Sizes, languages, duplicates, what was left out, samples to read, and how often a study would
    read it.
    """
    require_validation_fraction(validation_fraction)
    refuse_without(study, data=data, scale=scale)
    files = source_files(corpus)
    page = out or _beside(corpus)
    require_writable(page)
    question = _question(study, data, scale, tokenizer, files)
    options = CountOptions(
        num_samples=samples,
        seed=seed,
        validation_fraction=validation_fraction,
        has_pieces=question is not None and question.needs_sample,
    )
    counts = _counted(corpus, options, workers)
    # Here, so that matplotlib is not waited for before something wrong in the corpus is said.
    from megatron_codemix.report.corpus_statistics.epochs import answer
    from megatron_codemix.report.corpus_statistics.page import write_page

    figures: dict[str, Any] = summarise(corpus, counts)  # Any: JSON values
    figures["tokens"] = None if question is None else answer(question, counts.sources)
    write_page(page, figures, options)
    if json:
        print_json({"page": str(page), **figures})
    else:
        _print(page, figures)


def _counted(corpus: Path, options: CountOptions, workers: int) -> CorpusCounts:
    sizes = source_sizes(corpus, source_files(corpus))
    left_out = dropped_files(corpus)
    if left_out:
        sizes |= {
            f"{name} left out": size
            for name, size in source_sizes(corpus / DROPPED_FOLDER, left_out).items()
        }
    with progress_bar("statistics", sum(sizes.values()), "bytes") as advance:
        return count_corpus(corpus, options, workers=workers, advance=advance)


def _beside(corpus: Path) -> Path:
    """Not in the folder, which is for sources."""
    folder = corpus.resolve()
    return folder.with_name(folder.name + STATISTICS_SUFFIX)


def require_writable(page: Path) -> None:
    """Before the corpus is read, which may take hours. Raises DataError."""
    require_file_place(page, "statistics.html")
    folder = next(place for place in page.absolute().parents if place.exists())
    is_allowed = os.access(folder, os.W_OK) and (not page.exists() or os.access(page, os.W_OK))
    if not is_allowed:
        raise DataError(f"{page}: cannot be written; name another place with --out")


def refuse_without(study: Path | None, **options: object) -> None:
    """Raises DataError: options that say nothing without --study."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if study is None and given:
        raise DataError(f"{', '.join(given)}: goes with --study, which is missing")


def _question(
    study: Path | None,
    data: Path | None,
    scale: str | None,
    tokenizer: Path | None,
    files: Mapping[str, Sequence[InputFile]],
) -> "TokenQuestion | None":
    """None where no tokens are asked for. Raises ConfigError, DataError."""
    if study is None and tokenizer is None:
        return None
    from megatron_codemix.cli.study_options import read_study
    from megatron_codemix.report.corpus_statistics.epochs import token_question
    from megatron_codemix.study.tree import expand, identify

    tree = None
    if study is not None:
        tree = identify(expand(read_study(study, data, scale, None)), is_trained=False)
    # Every file is read for its hash, which only a study's shards are compared with.
    hashes = {name: "" if tree is None else hash_files(parts) for name, parts in files.items()}
    return token_question(tree, tokenizer, hashes)


def _print(page: Path, figures: dict[str, Any]) -> None:  # Any: JSON values
    for name, source in figures["sources"].items():
        lengths = source["lengths"]
        median = format_bytes(lengths["percentiles"]["50"]) if lengths else "-"
        print(
            f"{name:16s} {source['documents']:9d} documents  {format_bytes(source['bytes']):>10s}  "
            f"median {median}"
        )
    for name, source in figures["sources"].items():
        if source["documents"] == 0:
            print(f"note: {name}: its files hold no document")
    there = figures["duplicates"]["still_there"]["in_all"]
    error = f" (+-{there['error']})" if there["error"] else ""
    print(f"exact duplicates: {there['documents']}{error}")
    for line in figures["tokens"]["other_shards"] if figures["tokens"] else ():
        print(f"note: {line}")
    study = figures["tokens"] and figures["tokens"]["study"]
    for warning in study["warnings"] if study else ():
        print(f"note: {warning}; beyond 4 epochs repeated data is worth less than new data")
    print(f"page: {page}")
