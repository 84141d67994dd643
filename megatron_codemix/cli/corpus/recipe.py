"""`codemix corpus recipe`."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.corpus.stage_command import (
    DryRun,
    JsonOption,
    KeepDropped,
    Out,
    Sources,
    Task,
    Workers,
    outcome_json,
    print_json,
    print_outcome,
)
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.recipes.inputs import recipe_inputs
from megatron_codemix.corpus.recipes.schema import RecipeSpec, load_recipe
from megatron_codemix.corpus.recipes.stage import RecipeStage
from megatron_codemix.corpus.stages.parts import ALL, Part, dealt, parts_of
from megatron_codemix.corpus.stages.run import CorpusResult, plan_parts, run_parts
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.resources import find_example
from megatron_codemix.units import format_bytes, format_count

app = typer.Typer()

_GUESSED_COMPRESSION = 4


def root_of(text: str) -> tuple[str, str]:
    """`stack=/scratch/the-stack`: the root's name, and where it lies."""
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise typer.BadParameter(f"{text!r}: expected NAME=ADDRESS, such as stack=/scratch/stack")
    return name, place


@app.command()
def recipe(
    recipe: Annotated[Path, typer.Argument(help="Recipe, such as examples/corpora/dolma.yaml.")],
    out: Out,
    root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ADDRESS",
            help="Folder or address of a root of the recipe, in place of its own. May be repeated.",
        ),
    ] = None,
    source: Sources = None,
    workers: Workers = 1,
    task: Task = None,
    keep_dropped: KeepDropped = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Make one corpus of the data sets that a recipe names.

    They lie here, or at an address.
    """
    spec = load_recipe(_found(recipe), dict(map(root_of, root or [])))
    parts = parts_of(recipe_inputs(spec, source))
    stage = RecipeStage(spec, source)
    share = task or ALL
    own = dealt(parts, share)
    if dry_run:
        todo = plan_parts(stage, own, out, sources=source, keep_dropped=keep_dropped)
        print_plan(_plan(spec, own, out) | {"parts_to_do": todo}, as_json=json)
        return
    guess = _GUESSED_COMPRESSION * sum(part.num_bytes for part in own)
    with progress_bar("recipe", guess, "bytes") as advance:
        result = run_parts(
            stage,
            parts,
            out,
            sources=source,
            workers=workers,
            share=share,
            keep_dropped=keep_dropped,
            advance=advance,
        )
    if json:
        print_json(outcome_json(result) | {"expected": _expected(spec)})
        return
    print_outcome(result)
    _print_beside_expected(spec, result)


def _found(path: Path) -> Path:
    """An installed package has its examples elsewhere."""
    if path.is_file() or path.parts[:1] != ("examples",):
        return path
    return find_example("/".join(path.parts[1:])) or path


def _plan(spec: RecipeSpec, parts: list[Part], out: Path) -> dict[str, JsonValue]:
    sizes: dict[str, int] = {}
    for part in parts:
        sizes[part.source] = sizes.get(part.source, 0) + part.num_bytes
    return {
        "out": str(out),
        "title": spec.title,
        "licence": {name: spec.sources[name].licence for name in sizes},
        "files": {name: sum(len(p.files) for p in parts if p.source == name) for name in sizes},
        "file_bytes": sizes,
        "parts": len(parts),
    }


def _expected(spec: RecipeSpec) -> dict[str, JsonValue]:
    return {name: one.expected.model_dump(mode="json") for name, one in spec.sources.items()}


def _print_beside_expected(spec: RecipeSpec, result: CorpusResult) -> None:
    """What the recipe says there would be, beside what there is."""
    if result.record is None:
        return
    tallies = result.record.stages[-1].tallies
    for name, entry in result.record.sources.items():
        expected = spec.sources[name].expected
        said = [format_count(expected.tokens) + " tokens"] if expected.tokens else []
        said += [format_bytes(expected.file_bytes) + " of files"] if expected.file_bytes else []
        if said:
            note = f" ({expected.note})" if expected.note else ""
            print(f"{name}: the whole is said to have {', '.join(said)}{note}")
        counts = tallies.get(name, {}).get("language", {})
        if counts or expected.language_percent:
            _print_languages(name, entry.num_documents, counts, expected.language_percent)


def _print_languages(
    source: str, num_documents: int, counts: dict[str, int], expected: dict[str, float]
) -> None:
    """counts: documents by language, of those whose language is known."""
    unknown = num_documents - sum(counts.values())
    shown = dict(sorted(counts.items(), key=lambda item: -item[1]))
    shown |= {language: 0 for language in expected if language not in counts}
    shown |= {"(not known)": unknown} if unknown else {}
    print(f"{source}: documents by language")
    for language, count in shown.items():
        wanted = expected.get(language)
        beside = "" if wanted is None else f"  expected {wanted:6.2f}%"
        percent = 100 * count / max(1, num_documents)
        print(f"    {language:20s} {count:9d}  {percent:6.2f}%{beside}")
