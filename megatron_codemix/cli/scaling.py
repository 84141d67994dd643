"""`codemix scaling`: ladders of small runs, laws fitted to them, what these say of large runs."""

from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.cli.scaling_input import (
    read_count,
    read_counted,
    read_numbers,
    read_pairs,
    read_point,
    read_shares,
)
from megatron_codemix.cli.scaling_ladder import command as ladder
from megatron_codemix.cli.scaling_options import (
    BootstrapsOption,
    ByOption,
    CountedOption,
    DryRunOption,
    FitArgument,
    InputOption,
    JsonOption,
    KeepDivergedOption,
    LawOption,
    RunsArgument,
    SeedOption,
    ShareOption,
    TargetModel,
    TargetOption,
    TargetParameters,
    TargetTokens,
    WhereOption,
)
from megatron_codemix.cli.scaling_regmix import command as regmix
from megatron_codemix.errors import ConfigError

app = typer.Typer(
    help="Ladders of small runs, laws fitted to them, predictions for large ones.",
    no_args_is_help=True,
    add_completion=False,
)

app.command("ladder")(ladder)
app.command("regmix")(regmix)


@app.command()
def fit(
    runs: RunsArgument,
    law: LawOption = None,
    target: TargetOption = None,
    parameters: CountedOption = None,
    loss: Annotated[
        str | None, typer.Option(help="For laws of a loss: the column it is in.")
    ] = None,
    own: Annotated[
        str | None,
        typer.Option(help="Source that the losses are of, where columns are not named after it."),
    ] = None,
    where: WhereOption = None,
    by: ByOption = None,
    keep_diverged: KeepDivergedOption = False,
    bootstraps: BootstrapsOption = 200,
    seed: SeedOption = 0,
    at_parameters: Annotated[
        str | None, typer.Option(help="Size that the next run is to tell of; with --at-tokens.")
    ] = None,
    at_tokens: Annotated[str | None, typer.Option(help="Tokens of that target.")] = None,
    share: ShareOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for fit.json and the figures.")] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Fit a law to runs: parameters with intervals, what the runs do not determine, the error of
    predicting the largest from the others, and the next run that would tell most."""
    from megatron_codemix.cli.scaling_output import fit_lines, print_json
    from megatron_codemix.scaling.conditions import read_conditions
    from megatron_codemix.scaling.fit_file import FIT_FILE
    from megatron_codemix.scaling.fit_folder import require_own_folder, write_fit
    from megatron_codemix.scaling.fits import FitRequest, fit_runs
    from megatron_codemix.scaling.mixture_optimum import share_paths
    from megatron_codemix.scaling.readers.detect import read_runs
    from megatron_codemix.scaling.target import Point

    if (at_parameters is None) != (at_tokens is None):
        raise ConfigError(["--at-parameters and --at-tokens go together"])
    if share and at_parameters is None:
        raise ConfigError(["--share is of a target: give --at-parameters and --at-tokens too"])
    at = None
    if at_parameters is not None and at_tokens is not None:
        at = Point(
            parameters=read_count("--at-parameters", at_parameters),
            tokens=read_count("--at-tokens", at_tokens),
            shares=read_shares("--share", share),
        )
    request = FitRequest(
        law=law,
        targets=tuple(target or ()),
        parameters_column=read_counted(parameters),
        loss_column=loss,
        own=own,
        where=read_conditions("--where", where),
        by=tuple(by or ()),
        bootstraps=bootstraps,
        seed=seed,
        at=at,
    )
    if out is not None:
        require_own_folder(out)
    found = fit_runs(read_runs(runs, keep_diverged=keep_diverged), request)
    paths = share_paths(found.fits, _WEIGHTS)
    record = {**found.as_dict(), "best_share_against_compute": [path.as_dict() for path in paths]}
    files: list[Path] = []
    if out is not None and not dry_run:
        files = write_fit(out, record, found.fits, paths)
    if json:
        print_json({**record, "files": [str(file) for file in files]})
        return
    fit_lines(found, paths)
    for file in files:
        print(file)
    if out is not None and dry_run:
        print_plan({"file": str(out / FIT_FILE), "figures": str(out)}, as_json=False)


_WEIGHTS = (0.25, 0.5, 0.75)
"""Of the loss on code beside that on text, whose best mixtures are shown."""


@app.command()
def predict(
    fit: FitArgument,
    parameters: TargetParameters = None,
    model: TargetModel = None,
    tokens: TargetTokens = None,
    share: ShareOption = None,
    input_: InputOption = None,
    json: JsonOption = False,
) -> None:
    """What the fitted laws say of a target, with intervals and warnings where it is far away."""
    from megatron_codemix.cli.scaling_output import prediction_lines, print_json
    from megatron_codemix.scaling.fit_file import predictions, read_fits

    stored = read_fits(fit)
    at = read_point(
        parameters, model, tokens, share, input_, {one.parameters_column for one in stored}
    )
    found = predictions(stored, at)
    if json:
        print_json({"predictions": [one.as_dict() for one in found]})
    else:
        prediction_lines(found)


@app.command("best-mixture")
def best_mixture(
    fit: FitArgument,
    parameters: TargetParameters = None,
    model: TargetModel = None,
    tokens: TargetTokens = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            help="TARGET=WEIGHT of its loss, 0 for targets that are not named; default: all alike.",
        ),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option("--at-most", help="SOURCE=PART: a cap, such as what four epochs give."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """The shares with the lowest loss at a target, from laws of mixture and scale, with intervals
    and warnings where it is far away."""
    from megatron_codemix.cli.scaling_output import mixture_lines, print_json
    from megatron_codemix.scaling.fit_file import read_fits
    from megatron_codemix.scaling.mixture_answer import mixture_at

    stored = read_fits(fit)
    at = read_point(
        parameters, model, tokens, None, None, {one.parameters_column for one in stored}
    )
    found = mixture_at(
        stored, at, read_numbers("--weight", weight), read_shares("--at-most", at_most)
    )
    if json:
        print_json(found.as_dict())
    else:
        mixture_lines(found)


@app.command()
def decide(
    runs: RunsArgument,
    parameters: TargetParameters = None,
    model: TargetModel = None,
    tokens: TargetTokens = None,
    law: Annotated[
        str,
        typer.Option("--law", help="Law of each mixture, or of all of them (mixture-and-scale)."),
    ] = "chinchilla",
    target: TargetOption = None,
    noise_nats: Annotated[
        float | None,
        typer.Option(help="Deviation between seeds; default: of the runs with several seeds."),
    ] = None,
    keep_diverged: KeepDivergedOption = False,
    bootstraps: BootstrapsOption = 200,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Which mixture wins at the target, with the chance of being wrong, and how often small runs
    rank mixtures as the largest do."""
    from megatron_codemix.cli.scaling_output import decision_lines, print_json
    from megatron_codemix.scaling.choices import decide_mixtures
    from megatron_codemix.scaling.fits import FitRequest
    from megatron_codemix.scaling.readers.detect import read_runs

    table = read_runs(runs, keep_diverged=keep_diverged)
    columns = {c for c in table.frame if c in ("parameters_total", "parameters_without_embedding")}
    at = read_point(parameters, model, tokens, None, None, {min(columns)} if columns else set())
    request = FitRequest(law=law, targets=tuple(target or ()), bootstraps=bootstraps, seed=seed)
    found = decide_mixtures(table, request, at, noise_nats)
    if json:
        print_json(found.as_dict())
    else:
        decision_lines(found)


@app.command()
def laws(json: JsonOption = False) -> None:
    """List the laws: formula, source, what they take."""
    from megatron_codemix.cli.scaling_output import laws_table, print_json
    from megatron_codemix.scaling.registry import LAWS

    found = [make(("code", "text")) for make in LAWS.values()]
    if json:
        print_json(
            [
                {
                    "name": law.name,
                    "title": law.title,
                    "source": law.source,
                    "inputs": list(law.inputs),
                    "target": law.target,
                    "parameters": list(law.parameter_names),
                }
                for law in found
            ]
        )
    else:
        laws_table(found)


@app.command()
def weights(
    file: Annotated[Path, typer.Argument(help="DoReMi's file of domain weights (JSON).")],
    source: Annotated[
        list[str], typer.Option("--source", help="A source of your own; repeat for each.")
    ],
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="DOMAIN=SOURCE where the names differ; may be repeated."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Domain that no source stands for; may be repeated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Domain weights that DoReMi has found, as a mixture of your own sources."""
    from megatron_codemix.cli.scaling_output import print_json, weight_lines
    from megatron_codemix.scaling.readers.doremi import import_mixture, read_domain_weights

    found = import_mixture(
        read_domain_weights(file),
        source,
        source_of=read_pairs("--map", map_),
        leave_out=leave_out or (),
    )
    if json:
        print_json(found.as_dict())
    else:
        weight_lines(found)
