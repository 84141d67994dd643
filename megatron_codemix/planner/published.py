"""Speeds that others have published, as jobs to predict (`tables/published.yaml`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import AnyPrecisionConfig, LayoutConfig, ModelConfig
from megatron_codemix.planner.hardware import Cluster, make_cluster, read_table
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time.constants import Software

Accounting = Literal["causal_attention", "full_attention", "parameters_and_full_attention"]
Values = Mapping[str, Any]  # Any: YAML values

_LAYOUT_COLUMNS = {
    "tensor": "tensor",
    "pipeline": "pipeline",
    "virtual_pipeline": "virtual_pipeline",
    "context": "context",
    "microbatch": "microbatch_sequences",
    "recompute": "recompute",
}
_PRECISION: TypeAdapter[AnyPrecisionConfig] = TypeAdapter(AnyPrecisionConfig)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a published table."""

    name: str
    table: str
    software: Software
    is_fitted: bool
    is_further: bool
    """Whether it is of a size that nothing is fitted to."""
    job: Job
    cluster: Cluster
    flops_per_token: float
    """As the table counts them."""
    tokens_per_second_per_gpu: float
    """Printed, or from the printed FLOP/s and `flops_per_token`."""

    @property
    def step_seconds(self) -> float:
        """Of a step of the global batch."""
        tokens = self.job.global_batch_sequences * self.job.sequence_length
        return tokens / (self.tokens_per_second_per_gpu * self.job.world_size)

    def mfu(self, tokens_per_second_per_gpu: float) -> float:
        """Of the bf16 peak, by the table's own count of operations."""
        return tokens_per_second_per_gpu * self.flops_per_token / self.cluster.gpu.bf16_flops


def published_rows() -> list[Published]:
    """All rows, in printed order; every second of each table is fitted."""
    content = read_table("published.yaml")
    return [row for table in content["tables"] for row in _rows_of(table, content["models"])]


def flops_per_token(model: ModelConfig, sequence_length: int, accounting: Accounting) -> float:
    """Of training, as published: `causal_attention` as we count (Megatron-LM since 2025), with all
    of the square of scores (before), or 6 for each parameter, the position table among them, and
    all scores (llm-foundry)."""
    ours = training_flops_per_token(model, sequence_length)
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    half = 6.0 * model.num_layers * model.num_attention_heads * head * sequence_length
    if accounting == "causal_attention":
        return ours
    if accounting == "full_attention":
        return ours + half
    parameters = count_parameters(model, table_entries=model.vocabulary_size)
    parameters += sequence_length * model.hidden_size
    return 6.0 * parameters + 2 * half


def _rows_of(table: Values, models: Values) -> Iterator[Published]:
    for number, cells in enumerate(table["rows"], start=1):
        cell = dict(zip(table["columns"], cells, strict=True))
        yield _row(table, cell, ModelConfig(**models[cell["model"]]), number=number)


def _row(table: Values, cell: Values, model: ModelConfig, *, number: int) -> Published:
    layout = dict(table.get("layout", {}))
    layout |= {ours: cell[name] for name, ours in _LAYOUT_COLUMNS.items() if name in cell}
    if layout.get("tensor", 1) == 1:
        layout["sequence_parallel"] = False
    fully_sharded = cell.get("fully_sharded", table.get("fully_sharded", False))
    is_further = table.get("is_further", False)
    job = Job(
        model=model,
        sequence_length=cell.get("sequence") or table["sequence"],
        global_batch_sequences=cell["batch"],
        layout=LayoutConfig(**layout),
        precision=_PRECISION.validate_python(table["precision"]),
        world_size=cell["gpus"],
        fully_sharded=fully_sharded,
        tensor_overlap=table.get("tensor_overlap", False),
    )
    cluster = make_cluster("h100")
    flops = flops_per_token(model, job.sequence_length, table["accounting"])
    return Published(
        name=_name(cell, job),
        table=table["name"],
        software=table["software"],
        is_fitted=number % 2 == 0 and not is_further,
        is_further=is_further,
        job=job,
        cluster=cluster,
        flops_per_token=flops,
        tokens_per_second_per_gpu=_speed(cell, flops, cluster),
    )


def _name(cell: Values, job: Job) -> str:
    text = f"{cell['model']}, sequence {job.sequence_length}, {job.world_size} GPUs"
    return f"{text}, container {cell['container']}" if "container" in cell else text


def _speed(cell: Values, flops: float, cluster: Cluster) -> float:
    if "tokens_per_second" in cell:
        return float(cell["tokens_per_second"])
    if "tflops" in cell:
        return float(cell["tflops"]) * 1e12 / flops
    return float(cell["mfu_percent"]) / 100 * cluster.gpu.bf16_flops / flops
