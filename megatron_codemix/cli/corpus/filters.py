"""`codemix corpus filter`."""

from typing import Annotated

import typer

from megatron_codemix.cli.corpus.stage_command import (
    Corpus,
    DryRun,
    JsonOption,
    KeepDropped,
    Out,
    Request,
    Sources,
    Task,
    Workers,
    run_request,
)
from megatron_codemix.corpus.filters.policy import load_policy, policy_names
from megatron_codemix.corpus.filters.registry import RULES
from megatron_codemix.corpus.filters.rule import Rule
from megatron_codemix.corpus.filters.stage import FilterStage, choose_policies
from megatron_codemix.corpus.stages.run import wanted_files

app = typer.Typer()


def list_rules(is_wanted: bool) -> None:
    """Prints all rules and policies, and ends."""
    if not is_wanted:
        return
    for rule in sorted(RULES.values(), key=lambda one: (one.kind, one.name)):
        print(f"{rule.name:24s} {rule.kind:8s} {rule.source}")
        for name, field in rule.model_fields.items():
            default = "(required)" if field.is_required() else repr(field.default)
            print(f"    {name} = {default}")
    for name in policy_names():
        rules = ", ".join(map(_with_changes, load_policy(name).rules))
        print(f"policy {name}: {rules or 'no rule'}")
    raise typer.Exit


def _with_changes(rule: Rule) -> str:
    """Its name, and the parameters that are not as they are by default."""
    fields = type(rule).model_fields
    changed = {
        name: value
        for name, value in rule
        if fields[name].is_required() or value != fields[name].get_default()
    }
    words = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    return f"{rule.name} ({words})" if words else rule.name


@app.command(name="filter")
def filter_(
    corpus: Corpus,
    out: Out,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=POLICY",
            help="The policy of a source, by name or as a file. By default that of the recipe, "
            "else what the source's name stands for. May be repeated.",
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE.RULE=VALUE",
            help="A change to a policy: code.contains_0x=off, code.lines.max_longest=2000. May be "
            "repeated.",
        ),
    ] = None,
    source: Sources = None,
    workers: Workers = 1,
    task: Task = None,
    keep_dropped: KeepDropped = False,
    dry_run: DryRun = False,
    json: JsonOption = False,
    list_rules: Annotated[
        bool,
        typer.Option(
            "--list-rules", is_eager=True, callback=list_rules, help="Show rules and policies."
        ),
    ] = False,
) -> None:
    """Keep the documents worth learning from.

    Every source goes through the rules of a policy, each drop with a reason; encodings are
    repaired, private data masked.
    """
    sources = list(wanted_files(corpus, source))
    policies = choose_policies(corpus, sources, _policies(policy or []), _overrides(rule or []))
    request = Request(
        corpus=corpus,
        out=out,
        sources=source,
        workers=workers,
        share=task,
        keep_dropped=keep_dropped,
        dry_run=dry_run,
        as_json=json,
    )
    run_request(FilterStage(policies), request)


def _policies(given: list[str]) -> dict[str, str]:
    chosen = {}
    for text in given:
        source, equals, name = text.partition("=")
        if not (source and equals and name):
            raise typer.BadParameter(
                f"{text!r}: expected SOURCE=POLICY, such as code=code or code=mine.yaml",
                param_hint="--policy",
            )
        chosen[source] = name
    return chosen


def _overrides(given: list[str]) -> dict[str, list[str]]:
    overrides: dict[str, list[str]] = {}
    for text in given:
        source, dot, override = text.partition(".")
        if not (source and dot and "=" in override):
            raise typer.BadParameter(
                f"{text!r}: expected SOURCE.RULE=VALUE or SOURCE.RULE.PARAMETER=VALUE, such as "
                "code.contains_0x=off",
                param_hint="--rule",
            )
        overrides.setdefault(source, []).append(override)
    return overrides
