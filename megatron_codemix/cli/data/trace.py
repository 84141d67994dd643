"""`codemix data trace`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import JsonOption, counted, print_json
from megatron_codemix.data.trace import Reading, TracedSample, TracedSpan, trace_chain, trace_step
from megatron_codemix.errors import RunError

app = typer.Typer()


@app.command()
def trace(
    run: Annotated[Path, typer.Argument(help="Directory of a run.")],
    step: Annotated[
        int | None, typer.Option(help="Show what this step read (from 1, as in the metrics).")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Only this sample of the step, from 0.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Decode the tokens.")] = False,
    source: Annotated[str | None, typer.Option(help="Source of the document.")] = None,
    document: Annotated[
        str | None, typer.Option(help="Show the steps that read this document: number or id.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """The documents that a step read (--step), or the steps that read a document (--source,
    --document), in the run and the runs that it started from."""
    if step is not None and source is None and document is None:
        samples = trace_step(run, step, sample, with_text=text)
        _print_step(samples, as_json=json)
    elif step is None and sample is None and source is not None and document is not None:
        _print_readings(trace_chain(run, source, document), as_json=json)
    else:
        raise RunError("give either --step (with --sample), or --source and --document")


def _print_step(samples: list[TracedSample], *, as_json: bool) -> None:
    if as_json:
        print_json({"samples": [asdict(sample) for sample in samples]})
        return
    for sample in samples:
        print(f"sample {sample.row} ({sample.sample} of the run): {sample.source}, "
              f"epoch {sample.epoch}")  # fmt: skip
        for span in sample.spans:
            record = span.record
            about = "  ".join(
                str(record[key]) for key in ("id", "path", "licence") if record.get(key)
            )
            print(f"  document {span.document}, tokens {span.first_token} to {span.last_token}"
                  f"{_learned(span)}  {about}")  # fmt: skip
            for piece, is_learned in span.pieces or ([(span.text, False)] if span.text else []):
                mark = "  + " if is_learned else "    "
                print("".join(f"{mark}{line}\n" for line in piece.splitlines()), end="")


def _learned(span: TracedSpan) -> str:
    """`, learned 5 to 17, 30 to 42`; nothing where all tokens are."""
    if span.learned is None:
        return ""
    return ", learned " + (", ".join(f"{a} to {b}" for a, b in span.learned) or "none")


def _print_readings(readings: list[Reading], *, as_json: bool) -> None:
    if as_json:
        print_json({"readings": [asdict(reading) for reading in readings]})
        return
    for one in readings:
        print(
            f"{one.run}  step {one.step}, sample {one.row}, epoch {one.epoch}: "
            f"tokens {one.first_token} to {one.last_token}"
        )
    steps = {(one.run, one.step) for one in readings}
    print(f"{counted(len(readings), 'sample')} in {counted(len(steps), 'step')}")
