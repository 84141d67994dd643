"""`codemix data inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.cli.data.options import JsonOption, counted, print_json
from megatron_codemix.data.order.best_fit import PackingReport
from megatron_codemix.data.shards.summary import ShardSummary, summarise_shard
from megatron_codemix.data.shards.verify import find_shards
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.units import format_bytes

app = typer.Typer()


@app.command("inspect")
def inspect_shard(
    place: Annotated[Path, typer.Argument(help="Prefix of a shard, or a folder of shards.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Its tokenizer.json, to decode samples.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Documents to show.")] = 3,
    sample_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each to show.")] = 64,
    sequence_length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Show whole training windows of so many tokens, and what packing would do."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Counts, lengths of documents and a few decoded samples; of a folder, a line for each
    shard."""
    loaded = Tokenizer.load(tokenizer) if tokenizer is not None else None
    summaries = [
        summarise_shard(
            prefix,
            loaded,
            num_samples=samples,
            sample_tokens=sample_tokens,
            sequence_length=sequence_length,
        )
        for prefix in (find_shards(place) if place.is_dir() else [place])
    ]
    if json:
        records = [_record(summary) for summary in summaries]
        print_json({"shards": records} if place.is_dir() else records[0])
    elif place.is_dir():
        _print_table(summaries)
    else:
        _print_summary(summaries[0])


def _record(summary: ShardSummary) -> dict[str, Any]:  # Any: JSON values
    return asdict(summary) | {"manifest": summary.manifest.model_dump(mode="json")}


def _print_summary(summary: ShardSummary) -> None:
    manifest = summary.manifest
    print(f"{summary.prefix}: source {manifest.source}, {manifest.split}, {manifest.dtype}")
    print(
        f"{counted(manifest.num_documents, 'document')}, "
        f"{counted(manifest.num_tokens, 'token')}, "
        f"{format_bytes(manifest.num_bytes)} of text; "
        f"{summary.bytes_per_token:.2f} bytes a token"
    )
    print(f"licences: {', '.join(f'{name} {n}' for name, n in manifest.licences.items())}")
    if manifest.answers is not None:
        answers = manifest.answers
        print(
            f"conversations by the chat template {answers.template} "
            f"({answers.template_sha256[:8]}): {counted(answers.num_learned, 'token')} of answers, "
            f"{answers.num_learned / max(1, manifest.num_tokens):.1%}"
        )
    percentiles = ", ".join(
        f"{share}%: {value:.0f}" for share, value in summary.length_percentiles.items()
    )
    print(
        f"tokens a document: {summary.shortest} to {summary.longest}, mean "
        f"{summary.mean_length:.1f}; {percentiles}"
    )
    highest = max(summary.length_histogram.values(), default=0)
    for name, count in summary.length_histogram.items():
        bar = "#" * round(40 * count / highest) if highest else ""
        print(f"  {name:>16s} {count:8d} {bar}")
    if summary.packing is not None:
        print(_packing_line(summary.packing))
    if summary.num_cut_conversations is not None:
        print(
            f"where answers alone are learned: conversations cut at the end of a sample: "
            f"{summary.num_cut_conversations}, of these left out, without an answer before the "
            f"cut: {summary.num_unanswered_conversations}"
        )
    for sample in summary.samples:
        print("---")
        print(sample)


def _packing_line(packing: PackingReport) -> str:
    total = max(1, packing.num_documents)
    return (
        f"packed by best fit: {counted(packing.num_rows, 'sample')}, "
        f"{packing.padding_share:.3%} padding; documents cut: {packing.num_cut / total:.1%}, in "
        f"windows of the stream {packing.num_cut_if_concatenated / total:.1%}"
    )


def _print_table(summaries: list[ShardSummary]) -> None:
    print(
        f"{'source':16s} {'split':10s} {'documents':>12s} {'tokens':>15s} {'text':>10s} "
        f"{'bytes/token':>11s} {'mean':>8s} {'median':>8s} {'95%':>8s}  licences"
    )
    for summary in summaries:
        manifest = summary.manifest
        print(
            f"{manifest.source:16s} {manifest.split:10s} {manifest.num_documents:12,d} "
            f"{manifest.num_tokens:15,d} {format_bytes(manifest.num_bytes):>10s} "
            f"{summary.bytes_per_token:11.2f} {summary.mean_length:8.1f} "
            f"{summary.length_percentiles['50']:8.0f} {summary.length_percentiles['95']:8.0f}  "
            f"{_most_common(manifest.licences)}"
        )


def _most_common(licences: dict[str, int]) -> str:
    names = sorted(licences, key=lambda name: -licences[name])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
