"""`codemix quickstart`: a whole tiny study on this machine, by the code of all other commands."""

import json as json_module
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.cli.paths import PATTERN
from megatron_codemix.cli.study import run_and_report
from megatron_codemix.cli.study_options import parse_scale
from megatron_codemix.corpus.local.build import build_local_corpus, plan_local_corpus
from megatron_codemix.corpus.local.own_files import SOURCES
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import EXIT_DONE
from megatron_codemix.files import require_free_bytes
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.resources import find_example
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.tree import StudyTree, expand, identify
from megatron_codemix.units import format_bytes, format_count

VOCABULARY_SIZE = 8192
STUDY_FILE = "quickstart/study.yaml"
NEEDED_BYTES = 500_000_000
"""Corpus, shards, and two checkpoints of each phase; measured: 300 MB."""

Patterns = Annotated[
    list[str] | None,
    typer.Option(help="Own files in place of this machine's. May be repeated."),
    PATTERN,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Corpus, tokenizer, token shards, five variants, evaluation, report; nothing is downloaded.

    After Ctrl-C or a kill the same command goes on from where it was.
    """
    factor = parse_scale(scale)
    patterns = {
        name: given for name, given in zip(SOURCES, (code, markup, text), strict=True) if given
    }
    if dry_run:
        _print_plan(_plan(out, factor, patterns), as_json=json)
        return
    require_free_bytes(out, NEEDED_BYTES, "the quickstart")
    vocabulary_size = _make_data(out, patterns)
    tree = identify(_tree(out, factor, [f"model.vocabulary_size={vocabulary_size}"]))
    _say(f"4/4 study: {len(tree.nodes)} phases, {len(tree.spec.variants)} variants")
    exit_code = run_and_report(tree, out, as_json=json)
    if exit_code != EXIT_DONE:
        raise typer.Exit(exit_code)


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
    with progress_bar("2/4 tokenizer, two passes", 2 * total, "bytes") as advance:
        trained = train_tokenizer(corpus, VOCABULARY_SIZE, tokenizer, advance=advance)
    _say(f"      {trained.vocabulary_size} entries, hash {trained.hash[:8]}")
    with progress_bar("3/4 token shards", total, "bytes") as advance:
        prepared = prepare_corpus(corpus, tokenizer, folder, advance=advance)
    for name, splits in prepared.shards.items():
        train, held_out = splits["train"].num_tokens, splits["validation"].num_tokens
        _say(f"      {name:8s} {train:8d} tokens to train on, {held_out} held out")
    return trained.vocabulary_size


def _tree(out: Path, factor: Decimal, overrides: list[str]) -> StudyTree:
    study = find_example(STUDY_FILE)
    assert study is not None, f"{STUDY_FILE} is part of the package"
    return expand(load_study(study, data_root=out / "data", scale=factor, overrides=overrides))


def _plan(out: Path, factor: Decimal, patterns: dict[str, list[str]]) -> dict[str, Any]:
    """What would be done, as JSON values. Raises what the real start would raise of wrong input."""
    corpus = plan_local_corpus(out / "corpus", patterns)
    tree = _tree(out, factor, [])
    return {
        "corpus": {
            "folder": str(out / "corpus"),
            "is_complete": corpus.is_complete,
            "own_files": corpus.own_files,
            "from_this_machine": corpus.from_this_machine,
        },
        "tokenizer": {
            "path": str(out / "data" / "tokenizer.json"),
            "vocabulary_size": VOCABULARY_SIZE,
        },
        "token_shards": str(out / "data"),
        "study": {
            "phases": len(tree.nodes),
            "variants": list(tree.spec.variants),
            "tokens": sum(tree.plan(node).train_tokens for node in tree.nodes.values()),
        },
        "report": str(out / "report.html"),
    }


def _print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json_module.dumps(plan, indent=1))
        return
    corpus, study = plan["corpus"], plan["study"]
    own = [f"{name} from {count} files of yours" for name, count in corpus["own_files"].items()]
    local = [f"{name} of this machine" for name in corpus["from_this_machine"]]
    print(f"1. corpus         {corpus['folder']}: {', '.join(own + local)}")
    tokenizer = plan["tokenizer"]
    print(f"2. tokenizer      {tokenizer['path']}: {tokenizer['vocabulary_size']} entries")
    print(f"3. token shards   {plan['token_shards']}")
    print(
        f"4. study          {study['phases']} phases, {len(study['variants'])} variants, "
        f"{format_count(study['tokens'])} tokens"
    )
    print(f"   report         {plan['report']}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
