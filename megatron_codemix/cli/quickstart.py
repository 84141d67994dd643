"""`codemix quickstart`: a whole tiny study on this machine, by the code of all other commands."""

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.study import run_and_report
from megatron_codemix.corpus.local import SOURCES, build_local_corpus
from megatron_codemix.data.prepare import prepare_corpus
from megatron_codemix.data.tokenizer import train_tokenizer
from megatron_codemix.errors import EXIT_DONE, UnavailableError
from megatron_codemix.files import read_json, require_free_bytes, write_json
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.resources import find_example
from megatron_codemix.study.spec import load_study
from megatron_codemix.study.tree import StudyTree, expand, identify
from megatron_codemix.units import format_bytes

VOCABULARY_SIZE = 8192
STUDY_FILE = "quickstart/study.yaml"
NEEDED_BYTES = 500_000_000
"""Corpus, shards, and two checkpoints of each phase; measured: 300 MB."""

Patterns = Annotated[
    list[str] | None,
    typer.Option(help="Own files in place of this machine's. May be repeated."),
]


def command(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "runs/quickstart"
    ),
    scale: Annotated[
        str, typer.Option(help="Multiply all token budgets; 0.1 is a tenth of the study.")
    ] = "1",
    text: Patterns = None,
    code: Patterns = None,
    markup: Patterns = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32 or bf16; default: the faster one on this machine, by measurement."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Corpus, tokenizer, token shards, five variants, evaluation, report; nothing is downloaded.

    After Ctrl-C or a kill the same command goes on from where it was.
    """
    factor = _parse_scale(scale)
    if precision not in (None, "fp32", "bf16"):
        raise typer.BadParameter(f"expected fp32 or bf16, got {precision!r}")
    if dry_run:
        _print_plan(out, factor)
        return
    require_free_bytes(out, NEEDED_BYTES, "the quickstart")
    patterns = {
        name: given for name, given in zip(SOURCES, (code, markup, text), strict=True) if given
    }
    vocabulary_size = _make_data(out, patterns)
    kind = _choose_precision(out, precision)
    overrides = [f"precision.kind={kind}", f"model.vocabulary_size={vocabulary_size}"]
    tree = identify(_tree(out, factor, overrides))
    exit_code = run_and_report(tree, out, as_json=json)
    if exit_code != EXIT_DONE:
        raise typer.Exit(exit_code)


def _parse_scale(scale: str) -> Decimal:
    try:
        factor = Decimal(scale)
    except InvalidOperation as error:
        raise typer.BadParameter(f"expected a number such as 0.1, got {scale!r}") from error
    if not (factor.is_finite() and factor > 0):
        raise typer.BadParameter(f"--scale must be above 0, got {scale}")
    return factor


def _make_data(out: Path, patterns: dict[str, list[str]]) -> int:
    """Corpus, tokenizer and shards below `out`, or what an earlier start has left of them; the
    tokenizer's entries."""
    folder, corpus = out / "data", out / "corpus"
    tokenizer = folder / "tokenizer.json"
    with progress_bar("1/4 corpus", None, "bytes") as advance:
        built = build_local_corpus(corpus, patterns, advance=advance)
    for name, source in built.sources.items():
        _say(
            f"      {name:8s} {source.num_documents:6d} documents  {format_bytes(source.num_bytes)}"
        )
    total = sum(source.num_bytes for source in built.sources.values())
    with progress_bar("2/4 tokenizer", 2 * total, "bytes") as advance:
        trained = train_tokenizer(corpus, VOCABULARY_SIZE, tokenizer, advance=advance)
    _say(f"      {trained.vocabulary_size} entries, hash {trained.hash[:8]}")
    with progress_bar("3/4 token shards", total, "bytes") as advance:
        prepared = prepare_corpus(corpus, tokenizer, folder, advance=advance)
    for name, splits in prepared.shards.items():
        train, held_out = splits["train"].num_tokens, splits["validation"].num_tokens
        _say(f"      {name:8s} {train:8d} tokens to train on, {held_out} held out")
    return trained.vocabulary_size


def _choose_precision(out: Path, wanted: str | None) -> str:
    """What was asked for, or what an earlier start has measured, or a measurement, kept for later
    starts: the precision is part of what a run is."""
    path = out / "precision.json"
    if wanted is not None:
        return wanted
    if not path.exists():

        def measure(context: RankContext) -> int:
            from megatron_codemix.backend.precision import measure_matmul

            times = measure_matmul()
            milliseconds = {"fp32": 1e3 * times.fp32, "bf16": 1e3 * times.bf16}
            write_json(path, {"choice": times.choice, "matmul_milliseconds": milliseconds})
            return EXIT_DONE

        # In a process of its own, so that this one, which waits for the study, stays small.
        if run_ranks(measure, 1) != EXIT_DONE:
            raise UnavailableError("torch cannot multiply two matrices here; run 'codemix doctor'")
    measured = read_json(path)
    times = measured["matmul_milliseconds"]
    _say(
        f"4/4 study in {measured['choice']}: a small matrix product takes {times['fp32']:.1f} ms "
        f"in fp32, {times['bf16']:.1f} ms in bf16"
    )
    return str(measured["choice"])


def _tree(out: Path, factor: Decimal, overrides: list[str]) -> StudyTree:
    study = find_example(STUDY_FILE)
    assert study is not None, f"{STUDY_FILE} is part of the package"
    return expand(load_study(study, data_root=out / "data", scale=factor, overrides=overrides))


def _print_plan(out: Path, factor: Decimal) -> None:
    tree = _tree(out, factor, [])
    print(f"1. corpus         {out / 'corpus'}: code, markup and text of this machine")
    print(f"2. tokenizer      {out / 'data' / 'tokenizer.json'}: {VOCABULARY_SIZE} entries")
    print(f"3. token shards   {out / 'data'}")
    print(f"4. study          {out}: {len(tree.nodes)} phases, {len(tree.spec.variants)} variants")
    print(f"   report         {out / 'report.html'}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
