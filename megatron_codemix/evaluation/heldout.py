"""Bits per byte on the held-out documents of each source, data-parallel.

bits per byte = (sum of the token losses in nats) / ln 2 / (UTF-8 bytes of the scored tokens).
Unlike the loss per token it can be compared between tokenizers.
"""

import logging
import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.held_out import MAX_DOCUMENT_WINDOWS, HeldOutSource, held_out_sources
from megatron_codemix.data.held_out_windows import Window, batches_of, cut_document
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.evaluation.loading import load_model, start_rank
from megatron_codemix.files import rewrite_jsonl, write_json
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import Model
from megatron_codemix.mcore.step import token_losses
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.runs import RunDirectory, final_checkpoint

log = logging.getLogger(__name__)

BATCH_TOKENS = 4096


def evaluate_rank(run: RunDirectory, max_bytes_per_source: int, context: RankContext) -> None:
    """One rank's part: scores every n-th window, then rank 0 writes `heldout.jsonl` and
    `heldout.summary.json`."""
    run.evaluation.mkdir(parents=True, exist_ok=True)
    setup_logging(context.rank, run.evaluation / f"rank{context.rank}.log")
    started = time.monotonic()
    config = load_run_config(run.config)
    sources = held_out_sources(config, max_bytes_per_source)
    folder = final_checkpoint(run)
    backend = start_rank(config, context)
    model, parallel = load_model(config, folder, EvaluationLayout(), backend)
    byte_lengths = Tokenizer.load(config.tokenizer.path).token_byte_lengths
    lines = [
        line
        for source in sources
        for line in _score_source(model, source, config, byte_lengths, parallel, backend)
    ]
    if context.rank == 0:
        rewrite_jsonl(run.evaluation / "heldout.jsonl", lines)
        scores = {source.name: summarize(lines, source.name) for source in sources}
        summary = {
            "step": run.complete_steps()[-1],
            "layout": {"tensor": 1, "pipeline": 1, "data": parallel.data_size},
            "max_bytes_per_source": max_bytes_per_source,
            "seconds": time.monotonic() - started,
            "sources": scores,
        }
        write_json(run.evaluation / "heldout.summary.json", summary)
        for name, values in scores.items():
            log.info("%s: %.4f bits per byte", name, values["bits_per_byte"])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def summarize(lines: Iterable[dict[str, Any]], source: str) -> dict[str, Any]:
    """Totals and bits per byte over the lines of one source."""
    rows = [line for line in lines if line["source"] == source]
    nats, size = sum(row["nats"] for row in rows), sum(row["bytes"] for row in rows)
    return {
        "documents": len(rows),
        "bytes": size,
        "tokens": sum(row["tokens"] for row in rows),
        "nats": nats,
        "bits_per_byte": nats / math.log(2) / size,
    }


def _score_source(
    model: Model,
    source: HeldOutSource,
    config: RunConfig,
    byte_lengths: np.ndarray,
    parallel: ModelParallel,
    backend: Backend,
) -> list[dict[str, Any]]:
    """A line for each document, on every rank."""
    length = config.data.sequence_length
    windows = [
        window
        for document in range(source.num_documents)
        for window in cut_document(source.shard, document, length, MAX_DOCUMENT_WINDOWS * length)
    ]
    mine = windows[parallel.data_rank :: parallel.data_size]
    totals = torch.zeros(source.num_documents, 3, dtype=torch.float64)
    for taken, batch in batches_of(mine, BATCH_TOKENS):
        losses = (
            token_losses(model, batch, parallel, backend).double().cpu().numpy() * batch.loss_mask
        )
        for window, nats in zip(taken, losses.sum(axis=1), strict=True):
            totals[window.document] += torch.tensor(_counts(window, nats, byte_lengths))
    totals = totals.to(backend.device)
    torch.distributed.all_reduce(totals, group=parallel.groups.dp)
    return [
        {
            "source": source.name,
            "document": number,
            "id": source.ids[number],
            "bytes": int(size),
            "tokens": int(tokens),
            "nats": nats,
        }
        for number, (nats, tokens, size) in enumerate(totals.tolist())
    ]


def _counts(window: Window, nats: float, byte_lengths: np.ndarray) -> tuple[float, float, float]:
    return nats, float(len(window.labels)), float(byte_lengths[window.labels].sum())
