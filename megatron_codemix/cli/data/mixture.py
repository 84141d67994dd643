"""`codemix data mixture`: what a run will read, segment by segment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.cli.data.options import JsonOption, print_json
from megatron_codemix.config.checks import check_config, raise_if
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.mixture.describe import (
    SegmentReading,
    describe_mixtures,
    readings,
    repetitions,
    shares_at,
)
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.units import format_count

app = typer.Typer()


@app.command()
def mixture(
    config: Annotated[Path, typer.Argument(help="Configuration of a run (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Segments of a run's mixture: weights, method, what is read of each source, epochs."""
    run_config = load_run_config(config, overrides or [])
    raise_if(check_config(run_config))
    data = resolve_data(run_config)
    data.dataset()  # refuses a sequence longer than a shard
    segments = readings(run_config, data.mixture, data.states)
    warnings = repetitions({name: s.epochs for name, s in segments[-1].sources.items()})
    if json:
        print_json(
            {
                "mixture": describe_mixtures(run_config),
                "plan": data.mixture.as_dict(),
                "segments": [_record(segment) for segment in segments],
                "largest_error_samples": max(
                    (s.error_bound for s in segments if s.error_bound is not None), default=None
                ),
                "warnings": warnings,
            }
        )
        return
    print(f"mixture: {describe_mixtures(run_config)}")
    for segment in segments:
        _print_segment(segment, run_config.data.sequence_length)
    for warning in warnings:
        print(f"note: {warning}")


def _record(reading: SegmentReading) -> dict[str, Any]:  # Any: JSON values
    return {
        "first_sample": reading.segment.first_sample,
        "stop": reading.stop,
        "method": reading.segment.method,
        "error_bound_samples": reading.error_bound,
        "sources": {
            name: {"samples": s.samples, "tokens": s.tokens, "epochs": s.epochs}
            for name, s in reading.sources.items()
        },
    }


def _print_segment(reading: SegmentReading, sequence_length: int) -> None:
    segment = reading.segment
    first, stop = (format_count(n * sequence_length) for n in (segment.first_sample, reading.stop))
    bound = (
        "as far off as Megatron's blend strays"
        if reading.error_bound is None
        else f"never more than {reading.error_bound:.2f} samples off"
    )
    print(
        f"{first} to {stop} tokens (samples {segment.first_sample} to {reading.stop}): "
        f"{segment.method}, {bound}"
    )
    begin, end = (shares_at(segment, n) for n in (0, reading.stop - segment.first_sample))
    for name, source in reading.sources.items():
        share = f"{begin.get(name, 0):.4%}"
        if len(segment.knots) > 1:
            share += f" -> {end.get(name, 0):.4%}"
        print(
            f"  {name:16s} {share:22s} by then {format_count(source.tokens)} tokens, "
            f"{source.epochs:.3f} epochs"
        )
