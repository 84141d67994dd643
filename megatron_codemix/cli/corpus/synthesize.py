"""`codemix corpus synthesize` and `codemix corpus verify`: problems with solutions that are
right."""

import json as json_module
from dataclasses import asdict
from typing import Annotated, Any

import typer

from megatron_codemix.cli.corpus.model_written import (
    Api,
    ApiKeyEnv,
    Concurrency,
    MaxTokens,
    Model,
    ModelOptions,
    PerMinute,
    Replies,
    Retries,
    RetrySeconds,
    SeedDocuments,
    Temperature,
    Timeout,
    Url,
)
from megatron_codemix.cli.corpus.stage_command import Corpus, DryRun, JsonOption, Out, Workers
from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.corpus.synthesis.blocks import chosen_families
from megatron_codemix.corpus.synthesis.output import Synthesized
from megatron_codemix.corpus.synthesis.synthesize import plan_synthesis
from megatron_codemix.corpus.synthesis.synthesize import synthesize as run_synthesis
from megatron_codemix.corpus.synthesis.verify import verify_corpus
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.units import format_duration

app = typer.Typer()


@app.command()
def synthesize(
    out: Out,
    count: Annotated[int, typer.Option("--count", min=1, help="Distinct verified problems.")],
    seed: Annotated[int, typer.Option("--seed", help="Decides all of them.")],
    families: Annotated[
        list[str] | None,
        typer.Option("--family", help="Only problems of this family. May be repeated."),
    ] = None,
    translate: Annotated[
        list[str] | None,
        typer.Option(
            "--translate", help="Each problem in this language too, where it can be: javascript."
        ),
    ] = None,
    endpoint: Url = None,
    model: Model = None,
    seed_documents: SeedDocuments = None,
    api: Api = "chat",
    api_key_env: ApiKeyEnv = None,
    max_tokens: MaxTokens = 2048,
    temperature: Temperature = 0.7,
    concurrency: Concurrency = 4,
    requests_per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    retries: Retries = 6,
    retry_seconds: RetrySeconds = 1.0,
    replies: Replies = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    json: JsonOption = False,
) -> None:
    """Make exercises whose solutions and tests are verified.

    They are drawn from a grammar. Each solution has run in the sandbox against an independent
    oracle, and its tests notice small errors put into it. The same seed gives the same corpus,
    whatever the number of workers.

    With --endpoint a language model writes them, seeded by documents; two solutions that it gives
    independently have to agree. Every reply is kept, so that nothing is asked twice.
    """
    written = _model_options(
        url=endpoint,
        model=model,
        seed_documents=seed_documents,
        api=api,
        api_key_env=api_key_env,
        max_tokens=max_tokens,
        temperature=temperature,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        timeout=timeout,
        retries=retries,
        retry_seconds=retry_seconds,
        replies=replies,
    )
    if written is not None and (families or translate):
        raise DataError(
            "--family and --translate are for problems drawn from the grammar, and --endpoint has "
            "a model write them: run the command once for each, into two folders; a mixture takes "
            "sources of both"
        )
    chosen = [one.name for one in chosen_families(families or [])]
    languages = list(dict.fromkeys(translate or []))
    if dry_run:
        if written is not None:
            asked = written.plan(out, count=count, seed=seed, workers=workers)
        else:
            is_complete = plan_synthesis(
                out, count=count, seed=seed, families=chosen, languages=languages
            )
            asked = {"is_complete": is_complete, "families": chosen, "translations": languages}
        print_plan({"out": str(out), "count": count, "seed": seed} | asked, as_json=json)
        return
    if written is not None:
        result = written.run(out, count=count, seed=seed, workers=workers)
    else:
        with progress_bar("synthesize", count / 0.85, "candidates") as advance:
            result = run_synthesis(
                out,
                count=count,
                seed=seed,
                families=chosen,
                languages=languages,
                workers=workers,
                advance=advance,
            )
    if json:
        print(json_module.dumps({**asdict(result), "folder": str(out)}, indent=1))
        return
    _print(result)


def _model_options(*, url: str | None, **options: Any) -> ModelOptions | None:  # Any: as declared
    """None where problems are drawn. DataError: options of the model without its endpoint."""
    if url is not None:
        return ModelOptions(url=url, **options)
    if named := [name for name in ("model", "seed_documents", "replies") if options[name]]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise DataError(f"{flags}: only with --endpoint, which says where the model is")
    return None


@app.command()
def verify(
    corpus: Corpus,
    json: JsonOption = False,
) -> None:
    """Run a synthetic corpus again, to see that all of it holds.

    Every solution, test and text, from its files alone. Exit code 2 where one fails.
    """
    with progress_bar("verify", None, "documents") as advance:
        found = verify_corpus(corpus, advance)
    if json:
        print(json_module.dumps(asdict(found), indent=1))
    else:
        print(
            f"{found.documents} documents with {found.tests} tests: {found.failed} failed; "
            f"{100 * found.distinct_statements:.1f}% of the statements distinct, mean mutation "
            f"score {found.mutation_score:.3f}; in {format_duration(found.seconds)}"
        )
    if found.failed:
        raise DataError(
            f"{corpus}: {found.failed} of {found.documents} documents fail", *found.first_failures
        )


def _print(result: Synthesized) -> None:
    families = ", ".join(f"{name} {number}" for name, number in result.families.items())
    print(f"{result.count} problems: {families}")
    for source, number in result.sources.items():
        print(f"  {source}: {number} documents")
    print(
        f"{100 * result.distinct_statements:.1f}% of the statements distinct, mean mutation score "
        f"{result.mutation_score:.3f}, mean difficulty {result.difficulty:.2f}"
    )
    rejected = ", ".join(f"{reason} {number}" for reason, number in sorted(result.rejected.items()))
    print(f"of {result.candidates} candidates left out: {rejected or 'nothing'}")
    print(f"content {result.sha256}")
    print("complete already" if result.is_old else f"in {format_duration(result.seconds)}")
