"""`codemix data ledger`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.data.options import JsonOption, print_json
from megatron_codemix.data.audit import AuditedRun, audit_ledger
from megatron_codemix.errors import RunError

app = typer.Typer()


@app.command()
def ledger(
    run: Annotated[Path, typer.Argument(help="Directory of a run.")],
    json: JsonOption = False,
) -> None:
    """Planned and consumed tokens of each source, at each checkpoint of a run and its parents.

    All counts are worked out again from the recorded plan; exit code 2 where they differ.
    """
    audited = audit_ledger(run)
    problems = [problem for one in audited for problem in one.problems]
    if json:
        print_json({"ok": not problems, "runs": [asdict(one) for one in audited]})
        if problems:
            raise typer.Exit(RunError.exit_code)
        return
    for one in audited:
        _print_run(one)
    if problems:
        raise RunError("\n".join(problems))
    num_lines = sum(len(one.lines) for one in audited)
    print(f"{num_lines} lines of {len(audited)} runs agree with the recorded plans")


def _print_run(audited: AuditedRun) -> None:
    print(audited.path)
    print(
        f"  {'step':>8s} {'source':16s} {'planned':>14s} {'consumed':>14s} "
        f"{'error':>8s} {'epochs':>8s} {'chain planned':>14s} {'consumed':>14s}"
    )
    for line in audited.lines:
        for name, source in line["sources"].items():
            error = source["consumed_samples"] - source["planned_samples"]
            print(
                f"  {line['step']:8d} {name:16s} {source['planned_tokens']:14,.0f} "
                f"{source['consumed_tokens']:14,d} {error:+8.3f} {source['epochs']:8.3f} "
                f"{source['chain_planned_tokens']:14,.0f} {source['chain_tokens']:14,d}"
            )
