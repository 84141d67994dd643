"""`codemix generate`: texts from a run, once or as a server."""

import json as json_module
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.backend.environment import prepare_environment
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import EXIT_DONE, DataError, RunError, UnavailableError
from megatron_codemix.evaluation.completing import Completion, complete
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.evaluation.loopback import is_loopback
from megatron_codemix.evaluation.prompts import read_lines, read_prompts, without_lone_surrogates
from megatron_codemix.evaluation.sampling import Sampling
from megatron_codemix.evaluation.serving.serve import serve as serve_model
from megatron_codemix.evaluation.serving.server import KEY_VARIABLE, ApiServer
from megatron_codemix.files import rewrite_jsonl
from megatron_codemix.launch.local import StopRequest
from megatron_codemix.launch.placement import RankContext, rank_context_from_environment
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.runs import RunDirectory, final_checkpoint

if TYPE_CHECKING:
    from megatron_codemix.evaluation.engine.requests import LanguageModel

DEFAULT_MAX_NEW_TOKENS = 128


def command(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished run.")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text to go on with; may be given several times.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A prompt on each line; of .jsonl its `prompt`, or `instruction` and `context`."
        ),
    ] = None,
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
    nproc: Annotated[
        int, typer.Option(min=1, help="Processes; ignored under torchrun and srun.")
    ] = 1,
    tensor: Annotated[int, typer.Option(min=1, help="Processes that a layer is cut over.")] = 1,
    pipeline: Annotated[
        int, typer.Option(min=1, help="Processes that the layers are dealt over.")
    ] = 1,
    max_batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one forward pass; default: by device.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each text, or for the server.")
    ] = False,
) -> None:
    """Go on with texts, greedily or by sampling; or serve the run to OpenAI's clients."""
    directory = RunDirectory(run)
    if not directory.config.exists():
        raise RunError(f"{run}: no run here (config.yaml is missing); give a run directory")
    final_checkpoint(directory)
    config = load_run_config(directory.config)
    ranks = _Ranks(
        directory, EvaluationLayout(tensor=tensor, pipeline=pipeline), nproc, max_batch_tokens
    )
    ranks.check(config)
    prepare_environment(config.backend.device)
    if serve:
        if prompt or prompts or out:
            raise typer.BadParameter(
                "goes without --prompt, --prompts and --out", param_hint="--serve"
            )
        _serve(ranks, host, port, _api_key(api_key_file), max_waiting, as_json=json)
        return
    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        stop=tuple(stop or ()),
        temperature=temperature,
        top_p=top_p,
        seed=seed,
    )
    for name, problem in sampling.problems(config.data.sequence_length):
        raise typer.BadParameter(problem, param_hint=f"--{name.replace('_', '-')}")
    texts = _texts(prompt or [], prompts)
    if out is not None:
        _require_writable(out)

    def body(model: "LanguageModel") -> None:
        _write(model, texts, sampling, num_samples, out, as_json=json)

    ranks.run(body)


@dataclass(frozen=True)
class _Ranks:
    """The processes that hold the model."""

    directory: RunDirectory
    layout: EvaluationLayout
    num_processes: int
    max_batch_tokens: int | None
    context: RankContext | None = field(default_factory=rank_context_from_environment)
    """Of this process, where torchrun or srun has made it a rank."""

    @property
    def is_first(self) -> bool:
        """Whether this process is rank 0, or will start it."""
        return self.context is None or self.context.rank == 0

    def check(self, config: RunConfig) -> None:
        """Raises ConfigError for a layout that the model or the processes cannot have."""
        size = self.num_processes if self.context is None else self.context.world_size
        self.layout.check(config, size)

    def run(self, body: "Callable[[LanguageModel], None]", *, is_server: bool = False) -> None:
        """Loads the model over all ranks and has rank 0 carry out `body`.

        is_server: SIGTERM is for `body`, which ends the other ranks once it is done.
        """

        def rank_main(rank: RankContext) -> int:
            from megatron_codemix.evaluation.engine.model import run_with_model

            # A file, so that the warnings of libraries go there and not to the screen.
            setup_logging(rank.rank, Path(os.devnull))
            if is_server and rank.rank > 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            run_with_model(
                self.directory, self.layout, rank, body, max_batch_tokens=self.max_batch_tokens
            )
            return EXIT_DONE

        if self.context is not None:
            rank_main(self.context)
            return
        code = run_ranks(rank_main, self.num_processes, prepare=_import_engine)
        if code != EXIT_DONE:
            raise typer.Exit(code)


def _import_engine() -> None:
    import megatron_codemix.evaluation.engine.model  # noqa: F401  # for its imports


def _texts(given: list[str], file: Path | None) -> list[str]:
    if "" in given:
        raise typer.BadParameter("a prompt is empty; give some text", param_hint="--prompt")
    texts = [without_lone_surrogates(text) for text in given]
    texts += [prompt.text for prompt in (read_prompts(file) if file else [])]
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

        completions = complete(model, texts, sampling, num_samples, tell)
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
    ranks: _Ranks, host: str, port: int, key: str | None, max_waiting: int, *, as_json: bool
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
                max_waiting=max_waiting,
                should_stop=lambda: stop.count > 0,
                on_ready=tell,
            )

    ranks.run(body, is_server=True)


def _api_key(file: Path | None) -> str | None:
    """Of the file, else of the environment. Raises DataError for a file without one."""
    if file is None:
        key, place = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
    else:
        key, place = read_lines(file)[0][1].strip(), str(file)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key and key):
        raise DataError(f"{place}: holds no key; a line of ASCII without spaces is wanted")
    return key
