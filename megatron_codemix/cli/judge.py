"""`codemix judge`: which of two models answers better, by the word of a third one."""

import json as json_module
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megatron_codemix.cli.endpoint_options import api_key, is_endpoint_url
from megatron_codemix.cli.paths import PATTERN
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.judge.comparison import SUMMARY, compare
from megatron_codemix.evaluation.judge.own_runs import (
    Place,
    answer_file,
    chat_template_of,
    is_run,
    run_version,
    served,
)
from megatron_codemix.evaluation.judge.pairs import Answers, Pair, read_answers, read_instructions
from megatron_codemix.evaluation.prompts import Prompt
from megatron_codemix.files import rewrite_jsonl
from megatron_codemix.locks import exclusive
from megatron_codemix.obs.log import setup_logging

LOCAL = "local"


def command(
    a: Annotated[Path, typer.Argument(help="Run directory, or answers as JSON lines.")],
    b: Annotated[Path, typer.Argument(help="What A is compared with; the same.")],
    prompts: Annotated[
        Path, typer.Option(help="JSON lines with `instruction` and maybe `context`, or `prompt`.")
    ],
    judge: Annotated[
        str,
        typer.Option(help="Base URL of an OpenAI-compatible endpoint (ends in /v1), or `local`."),
    ],
    model: Annotated[
        str,
        typer.Option(help="The judge's name at that URL; for `local` its run directory."),
        PATTERN,
    ],
    out: Annotated[Path, typer.Option(help="Folder for what was asked, answered and found.")],
    api: Annotated[
        Literal["chat", "completions"], typer.Option(help="Interface of the endpoint.")
    ] = "chat",
    api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable that holds the endpoint's key."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first prompts.")] = None,
    max_judge_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer of the judge.")
    ] = 512,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 4,
    requests_per_minute: Annotated[
        float | None, typer.Option(min=0.001, help="Send no more than so many.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds to wait for an answer.")
    ] = 120.0,
    retries: Annotated[
        int, typer.Option(min=0, help="Times a request is sent again (429, 5xx, no answer).")
    ] = 6,
    retry_seconds: Annotated[
        float, typer.Option(min=0, help="Wait before the first of them; doubles up to a minute.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer of A and B where they are runs.")
    ] = 256,
    nproc: Annotated[
        int, typer.Option(min=1, help="Processes for each run that generates here.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Have a judge compare two models' answers, each pair in both orders.

    A wins an item if the judge prefers it in both orders. Every answer of the judge is kept in the
    folder: the same command goes on after any stop, and asks nothing twice.
    """
    key = api_key(api_key_env)
    asked = read_instructions(prompts, limit)
    judge_version = _version(judge, model)
    setup_logging(0, None)
    with exclusive(out / ".judge.lock", "codemix judge"):
        answers_a, answers_b = (
            _answers(side, asked, out, is_cut=limit is not None, tokens=max_new_tokens, nproc=nproc)
            for side in (a, b)
        )
        with (
            served(Path(model), out / "judge.log", nproc=nproc)
            if judge == LOCAL
            else nullcontext(Place(judge, model, key))
        ) as place:
            endpoint = Endpoint(
                base_url=place.url,
                model=place.model,
                name=judge_version,
                api=api,
                max_tokens=max_judge_tokens,
                key=place.key,
                timeout_seconds=timeout,
                retries=retries,
                retry_seconds=retry_seconds,
            )
            summary = compare(
                [
                    Pair(prompt.instruction or prompt.text, prompt.context, *answers)
                    for prompt, *answers in zip(
                        asked, answers_a.texts, answers_b.texts, strict=True
                    )
                ],
                endpoint,
                out,
                concurrency=concurrency,
                requests_per_minute=requests_per_minute,
                about={
                    "a": str(a),
                    "b": str(b),
                    "prompts": str(prompts),
                    "cut_prompts": {"a": answers_a.num_cut, "b": answers_b.num_cut},
                    "chat_templates": {"a": _template_record(a), "b": _template_record(b)},
                },
            )
    if json:
        print(json_module.dumps(summary, indent=1))
    else:
        _print_summary(summary)
        print(f"{out / SUMMARY}, and beside it a line for each item")


def _version(judge: str, model: str) -> str:
    """Who judges: the address, or the weights of a run. Raises where it is neither."""
    if judge == LOCAL:
        return f"{LOCAL}:{run_version(Path(model))}"
    if not is_endpoint_url(judge):
        raise typer.BadParameter(
            f"{judge!r} is neither `{LOCAL}` nor a URL such as http://127.0.0.1:8000/v1",
            param_hint="--judge",
        )
    return judge


def _answers(
    side: Path, asked: list[Prompt], out: Path, *, is_cut: bool, tokens: int, nproc: int
) -> Answers:
    """Of A or B, to each prompt."""
    if not is_run(side):
        if not side.is_file():
            raise DataError(f"{side}: neither a run directory nor a file of answers")
        return read_answers(side, asked, is_limited=is_cut)
    is_chat = chat_template_of(side) is not None
    prompts = out / ("prompts.chat.jsonl" if is_chat else "prompts.jsonl")
    texts = [prompt.said if is_chat else prompt.text for prompt in asked]
    rewrite_jsonl(prompts, [{"prompt": text} for text in texts])
    made = answer_file(side, prompts, out, max_new_tokens=tokens, nproc=nproc)
    return read_answers(made, asked, is_limited=False)


def _template_record(side: Path) -> dict[str, str] | None:
    """By which template a run was asked; None of a base model, or of a file of answers."""
    template = chat_template_of(side) if is_run(side) else None
    return None if template is None else {"name": template.name, "sha256": template.hash}


def _print_summary(summary: dict[str, Any]) -> None:
    counts = summary["judgements"]
    left_out = f", {summary['not_judged']} left out" if summary["not_judged"] else ""
    print(f"A = {summary['a']}\nB = {summary['b']}")
    print(
        f"{summary['judged']} items judged in both orders by {summary['judge']['model']}{left_out}"
    )
    if summary["not_judged"]:
        print(f"  ({counts['unreadable']} judgements unreadable, {counts['refused']} refused)")
    for side, num_cut in summary["cut_prompts"].items():
        if num_cut:
            print(f"  ({side.upper()} did not see the beginning of {num_cut} prompts: too long)")
    for label, name in (("A wins", "win"), ("ties", "tie"), ("B wins", "loss")):
        print(f"  {label:22s} {_percent(summary[name])}")
    print(f"  {'A wins - B wins':22s} {_percent(summary['win_minus_loss'])}")
    print(f"  {'A wins + ties / 2':22s} {_percent(summary['win_with_half_of_ties'])}")
    print(f"  {'both orders agree':22s} {_percent(summary['agreement'])}")
    print(f"  {'bias for first place':22s} {_percent(summary['position_bias'])}")


def _percent(estimate: dict[str, float]) -> str:
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return f"{value:6.1f}%   [{low:.1f}, {high:.1f}]"
