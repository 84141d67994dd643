"""`codemix plan`: whether a run fits, how fast it is, what it costs, before a GPU is asked for."""

import json as json_module
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from megatron_codemix.cli.plan_command_options import (
    CalibrateOption,
    ConfigArgument,
    DryRunOption,
    ExactOption,
    GpusOption,
    JsonOption,
    OutOption,
    OverridesArgument,
    RejectedOption,
    SearchOption,
    TokensOption,
    TopOption,
    ValidateOption,
    WriteOption,
)
from megatron_codemix.cli.plan_options import (
    GPUS_PER_NODE,
    ConstantsOption,
    GpuOption,
    GpusPerNodeOption,
    NetworkOption,
    PowerPriceOption,
    PriceOption,
    WattsOption,
    read_site,
)
from megatron_codemix.cli.plan_tables import (
    print_answer,
    print_calibration,
    print_validation,
)
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.config.checks import check_all_but_layout, raise_if
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.tree import parse_override
from megatron_codemix.errors import ConfigError
from megatron_codemix.files import write_text
from megatron_codemix.planner.answer import Answer, Question, answer, answer_by_search
from megatron_codemix.planner.assumptions import PlannedConfig, load_for_plan
from megatron_codemix.planner.calibration import ClusterChoice
from megatron_codemix.planner.calibration import calibrate as calibrate_on
from megatron_codemix.planner.hardware import gpus as known_gpus
from megatron_codemix.planner.layout_file import (
    layout_file,
    layout_settings,
    require_new_file,
    settings_text,
)
from megatron_codemix.planner.validation import validate as predict_published
from megatron_codemix.units import format_bytes, parse_count

TOP = 10
_OF_CLUSTER = ("gpu", "gpus_per_node", "network")
_OF_SEARCH = ("top", "rejected", "write")
_OF_PLAN = (
    *_OF_SEARCH, "gpus", "search", "exact", "tokens", "price", "power_price", "watts", "constants",
)  # fmt: skip


def command(
    context: typer.Context,
    config: ConfigArgument = None,
    overrides: OverridesArgument = None,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    gpus_per_node: GpusPerNodeOption = GPUS_PER_NODE,
    network: NetworkOption = None,
    search: SearchOption = False,
    top: TopOption = None,
    rejected: RejectedOption = False,
    write: WriteOption = None,
    exact: ExactOption = False,
    tokens: TokensOption = None,
    price: PriceOption = None,
    power_price: PowerPriceOption = None,
    watts: WattsOption = None,
    constants: ConstantsOption = None,
    validate: ValidateOption = False,
    calibrate: CalibrateOption = False,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Memory by part, time of a step by part, and cost of a run on GPUs elsewhere."""
    if validate:
        _refuse_for_validate(context, config)
        _validate(json)
        return
    if config is None:
        raise ConfigError(["CONFIG: missing: give a configuration, or --validate"])
    if calibrate:
        refuse_unused(context, _OF_PLAN, "--calibrate reads runs that were made")
        refuse_unused(context, [] if out else ["dry_run"], "it goes with --out")
        choice = ClusterChoice(gpu=gpu, gpus_per_node=gpus_per_node, network=network)
        _calibrate([config, *map(Path, overrides or [])], choice, out, dry_run, json)
        return
    refuse_unused(context, ["out"], "it goes with --calibrate")
    refuse_unused(context, [] if search else _OF_SEARCH, "it goes with --search")
    refuse_unused(context, [] if write else ["dry_run"], "it goes with --write")
    kind, count = _require_options(gpu, gpus)
    if write is not None:
        require_new_file(write, "--write")
    planned = load_for_plan(config, overrides or [])
    raise_if(check_all_but_layout(planned.config))
    site = read_site(
        gpu=kind,
        world_size=count,
        gpus_per_node=gpus_per_node,
        network=network,
        constants=constants,
        price=price,
        power_price=power_price,
        watts=watts,
    )
    question = Question(
        world_size=count,
        site=site,
        tokens=planned.train_tokens if tokens is None else _parse_tokens(tokens),
        is_exact=exact,
    )
    if search:
        found = answer_by_search(planned.config, question, _fixed(overrides or []))
    else:
        found = answer(planned.config, question)
    text = None if write is None else _layout_text(config, write, overrides or [], found)
    file = None if write is None or text is None else _NewFile(write, text, is_written=not dry_run)
    if file is not None and file.is_written:
        write_text(file.path, file.text)
    if json:
        _print_json(config, planned, found, file, top=top or TOP, with_rejected=rejected)
        return
    _print_head(config, planned, found)
    print_answer(found, top=top or TOP, lists_rejected=rejected)
    if search:
        settings = settings_text(layout_settings(config, found.config.layout))
        print(f"settings   {settings or 'none: it is the default layout'}")
    if file is not None:
        print(f"file       {file.path}{'' if file.is_written else ', with --dry-run not written:'}")
        print("" if file.is_written else file.text, end="")


@dataclass(frozen=True)
class _NewFile:
    """What --write makes."""

    path: Path
    text: str
    is_written: bool
    """False: it is shown instead."""


def _print_json(
    config: Path,
    planned: PlannedConfig,
    found: Answer,
    file: _NewFile | None,
    *,
    top: int,
    with_rejected: bool,
) -> None:
    content = {
        "config": str(config),
        "assumptions": [assumption.as_dict() for assumption in planned.assumptions],
        **found.as_dict(top=top, with_rejected=with_rejected),
        "settings": layout_settings(config, found.config.layout),
        "written": str(file.path) if file is not None and file.is_written else None,
    }
    print(json_module.dumps(content, indent=1, ensure_ascii=False))


def _refuse_for_validate(context: typer.Context, config: Path | None) -> None:
    if config is not None:
        raise ConfigError([f"{config}: --validate predicts what others published; leave it out"])
    names = (*_OF_PLAN, *_OF_CLUSTER, "calibrate", "out", "dry_run")
    refuse_unused(context, names, "--validate predicts what others published")


def _validate(as_json: bool) -> None:
    validation = predict_published()
    if as_json:
        print(json_module.dumps(validation.as_dict(), indent=1, ensure_ascii=False))
    else:
        print_validation(validation)


def _calibrate(
    runs: Sequence[Path], choice: ClusterChoice, out: Path | None, dry_run: bool, as_json: bool
) -> None:
    if out is not None:
        require_new_file(out, "--out")
    calibration = calibrate_on(runs, choice)
    if out is not None and not dry_run:
        write_text(out, calibration.text())
    if as_json:
        print(json_module.dumps(calibration.as_dict(), indent=1, ensure_ascii=False))
        return
    print_calibration(calibration)
    if out is not None and not dry_run:
        print(f"constants written: {out}")
    else:
        print(calibration.text(), end="")


def _require_options(gpu: str | None, gpus: int | None) -> tuple[str, int]:
    """Kind and number of GPUs. Raises ConfigError with what a plan lacks."""
    problems = []
    if gpu is None:
        problems.append(f"--gpu: say which kind: {', '.join(known_gpus())}")
    if gpus is None:
        problems.append("--gpus: say how many")
    if gpu is None or gpus is None:
        raise ConfigError(problems)
    return gpu, gpus


def _parse_tokens(text: str) -> int:
    try:
        tokens = parse_count(text)
    except ValueError as error:
        raise ConfigError([f"--tokens: {error}"]) from error
    if tokens < 1:
        raise ConfigError([f"--tokens: must be at least 1, got {text}"])
    return tokens


def _fixed(overrides: Sequence[str]) -> frozenset[str]:
    """Fields of the layout that the command line sets."""
    names: set[str] = set()
    for text in overrides:
        setting = parse_override(text, [])
        if setting is None:
            continue
        key, value = setting
        if key == "layout" and isinstance(value, dict):
            names |= {str(name) for name in value}
        elif key.startswith("layout."):
            names.add(key.removeprefix("layout."))
    return frozenset(names)


def _layout_text(base: Path, target: Path, overrides: Sequence[str], found: Answer) -> str:
    memory, time = found.chosen.memory, found.chosen.time
    cluster = found.question.site.cluster
    comment = [
        f"The fastest layout for {found.question.world_size} {cluster.gpu.title}, found by "
        "'codemix plan --search'.",
        f"Predicted: {time.tokens_per_second:,.0f} tokens/s, {format_bytes(memory.peak_bytes)} of "
        f"{format_bytes(memory.limit_bytes)}.",
    ]
    return layout_file(base, target, overrides, found.config, comment)


def _print_head(path: Path, planned: PlannedConfig, found: Answer) -> None:
    cluster, config = found.question.site.cluster, found.config
    print(
        f"model      {path}: {count_parameters(config.model):,} parameters, vocabulary padded; "
        f"{config.train.global_batch_sequences} sequences of {config.data.sequence_length} a step, "
        f"{config.precision.kind}"
    )
    print(
        f"hardware   {found.question.world_size} x {cluster.gpu.title}, {cluster.gpus_per_node} a "
        f"node, {cluster.network.title}"
    )
    for assumption in planned.assumptions:
        print(f"assumed    {assumption.field} {assumption.value}: {assumption.reason}")
