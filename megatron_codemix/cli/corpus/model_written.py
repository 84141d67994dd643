"""The options of `codemix corpus synthesize` by which a language model writes the problems."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from megatron_codemix.cli.endpoint_options import api_key, is_endpoint_url
from megatron_codemix.corpus.synthesis.model_written.generate import (
    plan_with_model,
    synthesize_with_model,
)
from megatron_codemix.corpus.synthesis.model_written.rounds import Manner
from megatron_codemix.corpus.synthesis.output import Synthesized
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.errors import DataError
from megatron_codemix.obs.progress import progress_bar

Url = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="Have a language model write the problems: base URL of an OpenAI-compatible endpoint "
        "(ends in /v1).",
    ),
]
Model = Annotated[str | None, typer.Option("--model", help="The model's name at the endpoint.")]
SeedDocuments = Annotated[
    Path | None,
    typer.Option("--seed-documents", help="Corpus whose documents suggest the subjects."),
]
Api = Annotated[
    Literal["chat", "completions"], typer.Option("--api", help="Interface of the endpoint.")
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option("--api-key-env", help="Environment variable that holds the endpoint's key."),
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest reply.")]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0, max=2, help="Of the model's sampling.")
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, help="Requests under way at a time.")
]
PerMinute = Annotated[
    float | None,
    typer.Option("--requests-per-minute", min=0.001, help="Send no more than so many."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds for a reply.")]
Retries = Annotated[
    int, typer.Option("--retries", min=0, help="Times a request is sent again (429, 5xx, ...).")
]
RetrySeconds = Annotated[
    float,
    typer.Option("--retry-seconds", min=0, help="Before the first of them; doubles each time."),
]
Replies = Annotated[
    Path | None,
    typer.Option("--replies", help="File that keeps every reply; else one in the corpus folder."),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """As given on the command line."""

    url: str
    model: str | None
    seed_documents: Path | None
    api: Literal["chat", "completions"]
    api_key_env: str | None
    max_tokens: int
    temperature: float
    concurrency: int
    requests_per_minute: float | None
    timeout: float
    retries: int
    retry_seconds: float
    replies: Path | None

    def plan(self, out: Path, *, count: int, seed: int, workers: int) -> dict[str, object]:
        """What is asked for, for --dry-run. Raises DataError as `run` does."""
        endpoint = self._endpoint()
        assert self.seed_documents is not None
        is_complete = plan_with_model(
            out,
            count=count,
            seed=seed,
            seed_corpus=self.seed_documents,
            endpoint=endpoint,
            manner=self._manner(workers),
        )
        return {
            "is_complete": is_complete,
            "endpoint": endpoint.base_url,
            "model": endpoint.model,
            "seed_documents": str(self.seed_documents),
        }

    def _manner(self, workers: int) -> Manner:
        return Manner(
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            temperature=self.temperature,
            trials=workers,
        )

    def _endpoint(self) -> Endpoint:
        """Raises DataError for options that are missing, BadParameter for what is no URL."""
        if not is_endpoint_url(self.url):
            raise typer.BadParameter(
                f"{self.url!r} is no URL such as http://127.0.0.1:8000/v1", param_hint="--endpoint"
            )
        missing = [
            name
            for name, value in (("--model", self.model), ("--seed-documents", self.seed_documents))
            if value is None
        ]
        if missing:
            raise DataError(f"--endpoint also needs {' and '.join(missing)}")
        return Endpoint(
            base_url=self.url,
            model=self.model or "",
            name=self.url,
            api=self.api,
            max_tokens=self.max_tokens,
            key=api_key(self.api_key_env),
            timeout_seconds=self.timeout,
            retries=self.retries,
            retry_seconds=self.retry_seconds,
        )

    def run(self, out: Path, *, count: int, seed: int, workers: int) -> Synthesized:
        endpoint = self._endpoint()
        assert self.seed_documents is not None
        with progress_bar("synthesize", None, "replies") as advance:
            return synthesize_with_model(
                out,
                count=count,
                seed=seed,
                seed_corpus=self.seed_documents,
                endpoint=endpoint,
                manner=self._manner(workers),
                replies_file=self.replies,
                advance=advance,
            )
