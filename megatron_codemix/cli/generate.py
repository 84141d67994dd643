"""`codemix generate`: texts from a run, once or as a server."""

import json as json_module
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.cli.model_ranks import (
    MaxBatchTokens,
    ModelRanks,
    Nproc,
    Pipeline,
    RunArgument,
    Step,
    Tensor,
)
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.corpus.instructions.template import PLAIN, ChatTemplate, load_template
from megatron_codemix.endpoint.loopback import is_loopback
from megatron_codemix.errors import DataError, UnavailableError
from megatron_codemix.evaluation.completing import Completion, complete
from megatron_codemix.evaluation.prompts import read_lines, read_prompts
from megatron_codemix.evaluation.sampling import Sampling
from megatron_codemix.evaluation.serving.serve import serve as serve_model
from megatron_codemix.evaluation.serving.server import KEY_VARIABLE, ApiServer
from megatron_codemix.files import rewrite_jsonl, without_lone_surrogates
from megatron_codemix.launch.local import StopRequest
from megatron_codemix.obs.progress import progress_bar

if TYPE_CHECKING:
    from megatron_codemix.evaluation.engine.requests import LanguageModel

DEFAULT_MAX_NEW_TOKENS = 128
_OF_TEXTS = (
    "prompt",
    "prompts",
    "chat",
    "out",
    "max_new_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "num_samples",
)
_OF_SERVER = ("host", "port", "api_key_file", "max_waiting")


def command(
    context: typer.Context,
    run: RunArgument,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text to go on with; may be given several times.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A prompt on each line; of .jsonl its `prompt`, or `instruction` and `context`."
        ),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option(
            "--chat",
            help="Prompts are what a user says: asked by the run's chat template (of a base model: "
            "plain), and the answer is written without what the template puts around it.",
        ),
    ] = False,
    max_new_tokens: Annotated[
        int, typer.Option(help="Longest continuation, in tokens.")
    ] = DEFAULT_MAX_NEW_TOKENS,
    temperature: Annotated[
        float, typer.Option(help="0: always the most probable token; 1: as likely as they are.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest tokens that are so probable together.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="Text that ends a continuation; several times for more."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    num_samples: Annotated[int, typer.Option(min=1, help="Continuations of each prompt.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="JSON lines to write, in the order of the prompts.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer OpenAI's completions interface instead.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one, told.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the key that clients send; absent: {KEY_VARIABLE}, if set."),
    ] = None,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Texts that may wait while others are written; then 429.")
    ] = 256,
    step: Step = None,
    nproc: Nproc = 1,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    max_batch_tokens: MaxBatchTokens = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each text, or for the server.")
    ] = False,
) -> None:
    """Go on with texts, greedily or by sampling; or serve the run to OpenAI's clients."""
    ranks = ModelRanks.of(run, nproc, tensor, pipeline, max_batch_tokens, step)
    if serve:
        refuse_unused(context, _OF_TEXTS, "with --serve the clients say it in their requests")
        _serve(ranks, host, port, _api_key(api_key_file), max_waiting, as_json=json)
        return
    refuse_unused(context, _OF_SERVER, "it goes with --serve")
    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        stop=tuple(stop or ()),
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    for name, problem in sampling.problems(ranks.config.data.sequence_length):
        raise typer.BadParameter(problem, param_hint=f"--{name.replace('_', '-')}")
    texts = _texts(prompt or [], prompts, is_chat=chat)
    if out is not None:
        _require_writable(out)

    def body(model: "LanguageModel") -> None:
        template = _template(ranks) if chat else None
        _write(model, texts, sampling, num_samples, out, template, as_json=json)

    ranks.run(body)


def _texts(given: list[str], file: Path | None, *, is_chat: bool) -> list[str]:
    if "" in given:
        raise typer.BadParameter("a prompt is empty; give some text", param_hint="--prompt")
    texts = [without_lone_surrogates(text) for text in given]
    read = read_prompts(file) if file else []
    texts += [prompt.said if is_chat else prompt.text for prompt in read]
    if not texts:
        raise typer.BadParameter("give --prompt, --prompts or --serve", param_hint="--prompt")
    return texts


def _require_writable(out: Path) -> None:
    """Raises before anything is generated that could not be written then."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise UnavailableError(f"{out}: cannot be written; give the path of a file as --out")


def _write(
    model: "LanguageModel",
    texts: list[str],
    sampling: Sampling,
    num_samples: int,
    out: Path | None,
    template: ChatTemplate | None,
    *,
    as_json: bool,
) -> None:
    """On rank 0: prints each completion as it comes, writes the file at the end."""
    total = len(texts) * num_samples
    with progress_bar("generate", total if out else None, "texts") as advance:

        def tell(one: Completion) -> None:
            if as_json:
                print(json_module.dumps(asdict(one), ensure_ascii=False), flush=True)
            elif out is None:
                which = f", sample {one.sample} of {num_samples}" if num_samples > 1 else ""
                print(
                    f"prompt {one.number} of {len(texts)}{which}: {one.tokens} tokens, then "
                    f"{one.finish_reason}\n{one.prompt}{one.completion}\n",
                    flush=True,
                )
            if out is not None:
                advance()

        completions = complete(model, texts, sampling, num_samples, tell, template)
    if out is not None:
        rewrite_jsonl(out, [asdict(one) for one in completions])
    num_cut = sum(one.cut_prompt_tokens > 0 for one in completions[::num_samples])
    if num_cut:
        print(
            f"{num_cut} of {len(texts)} prompts were cut from the left: the model sees "
            f"{model.max_length} tokens, {sampling.max_new_tokens} of them for the new ones",
            file=sys.stderr,
        )


def _serve(
    ranks: ModelRanks, host: str, port: int, key: str | None, max_waiting: int, *, as_json: bool
) -> None:
    if key is None and not is_loopback(host):
        raise typer.BadParameter(
            f"{host!r} is reached from other machines: give a key with --api-key-file or in "
            f"{KEY_VARIABLE}, or serve on 127.0.0.1",
            param_hint="--host",
        )
    # Here, and not in the rank: a port that is taken is told at once.
    server = ApiServer(host, port, key=key) if ranks.is_first else None
    name = ranks.directory.path.resolve().name
    template = _template(ranks)

    def body(model: "LanguageModel") -> None:
        assert server is not None

        def tell() -> None:
            place = {"url": server.url, "model": name, "max_length": model.max_length}
            text = f"{name} is served on {server.url} (Ctrl-C ends it)"
            print(json_module.dumps(place) if as_json else text, flush=True)

        with StopRequest().listen() as stop:
            serve_model(
                server,
                model,
                name=name,
                template=template,
                max_waiting=max_waiting,
                should_stop=lambda: stop.count > 0,
                on_ready=tell,
            )

    ranks.run(body, is_server=True)


def _template(ranks: ModelRanks) -> ChatTemplate:
    """Of the run's conversations; the plain one where it has learned none."""
    tuned = ranks.directory.chat_template
    return load_template(tuned) if tuned.exists() else PLAIN


def _api_key(file: Path | None) -> str | None:
    """Of the file, else of the environment. Raises DataError for a file without one."""
    if file is None:
        key, place = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
    else:
        key, place = read_lines(file)[0][1].strip(), str(file)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
        raise DataError(f"{place}: holds no key; a line of ASCII without spaces is wanted")
    return key
