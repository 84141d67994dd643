"""What `codemix plan` prints for people."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.planner.answer import Answer
from megatron_codemix.planner.calibration import Calibration
from megatron_codemix.planner.cost import Cost, Prices
from megatron_codemix.planner.estimate import Estimate, full_layout_text
from megatron_codemix.planner.memory import MemoryEstimate, StageMemory
from megatron_codemix.planner.search import SearchResult
from megatron_codemix.planner.time import TimeEstimate
from megatron_codemix.planner.validation import MEAN_GOAL, WORST_GOAL, Validation
from megatron_codemix.units import format_bytes, format_count, format_duration

GIB = 2**30
_REASONS = 8
"""Lines of reasons that are shown."""

_MEMORY_PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "logits_and_loss": "logits and loss",
    "communication": "collectives' buffers",
    "context": "CUDA context",
    "fragmentation": "fragmentation",
}
_TIME_PARTS = {
    "products": "matrix products",
    "attention": "attention",
    "elementwise": "norms, activations, loss",
    "recompute": "recomputation",
    "tensor": "tensor-parallel collectives",
    "context": "context-parallel collectives",
    "expert": "expert-parallel collectives",
    "pipeline": "messages between stages",
    "bubble": "pipeline bubble",
    "data_parallel": "data-parallel collectives",
    "optimizer": "optimizer",
    "waiting": "waiting for the slowest",
    "host": "data, host",
}


def print_answer(answer: Answer, *, top: int, lists_rejected: bool) -> None:
    """Tables of the search, of memory and of time, then the cost."""
    console = Console()
    if answer.search is not None:
        console.print(_ranking(answer.search, top))
        _say(console, _rejections(answer.search, lists_rejected))
    chosen = answer.chosen
    console.print(_memory_table(chosen))
    console.print(_time_table(chosen))
    _say(console, _verdict(chosen))
    _say(console, _cost_lines(answer))
    _say(console, [f"note       {note}" for note in answer.notes()])


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(title: str, columns: Sequence[str]) -> WholeTable:
    """The first column holds words, the others numbers."""
    table = WholeTable(title=escape(title))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    return table


def _ranking(found: SearchResult, top: int) -> WholeTable:
    shown = found.ranked[:top]
    title = f"the {len(shown)} fastest of {len(found.ranked)} layouts that fit"
    table = _table(title, ("layout", "tokens/s", "MFU", "step", "GiB"))
    for candidate in shown:
        table.add_row(
            full_layout_text(candidate.layout, candidate.job.data_parallel),
            f"{candidate.time.tokens_per_second:,.0f}",
            f"{candidate.time.mfu:.1%}",
            f"{candidate.time.step_seconds:.3f} s",
            f"{candidate.memory.peak_bytes / GIB:.1f}",
        )
    return table


def _rejections(found: SearchResult, lists_all: bool) -> Iterable[str]:
    if lists_all:
        for entry in found.rejected:
            yield f"rejected   {found.text_of(entry)}: {entry.reason}"
        return
    reasons = found.reasons()
    for reason, count, first in reasons[:_REASONS]:
        nearest = f"; the nearest, {found.text_of(first)}, {first.reason}"
        words = reason.partition(";")[0] + (nearest if first.kind == "memory" else "")
        yield f"rejected   {count} x {words}"
    if len(reasons) > _REASONS:
        others = sum(count for _, count, _ in reasons[_REASONS:])
        yield f"rejected   {others} x other reasons; --rejected lists all"


def _memory_table(chosen: Estimate) -> WholeTable:
    memory = chosen.memory
    shown = _stages_to_show(memory)
    names = [f"stage {number + 1} of {len(memory.stages)}" for number in shown]
    table = _table(
        "memory of a GPU, GiB", ("part", *(names if len(memory.stages) > 1 else ["GiB"]))
    )
    for part, words in _MEMORY_PARTS.items():
        values = [getattr(memory.stages[number], part) for number in shown]
        if any(values):
            table.add_row(words, *(f"{value / GIB:.2f}" for value in values))
    totals = [memory.stages[number].total for number in shown]
    table.add_section()
    table.add_row("total", *(f"{value / GIB:.2f}" for value in totals))
    return table


def _stages_to_show(memory: MemoryEstimate) -> list[int]:
    """The first, the fullest and the last."""

    def total(number: int) -> int:
        stage: StageMemory = memory.stages[number]
        return stage.total

    last = len(memory.stages) - 1
    return sorted({0, max(range(last + 1), key=total), last})


def _time_table(chosen: Estimate) -> WholeTable:
    time: TimeEstimate = chosen.time
    table = _table(f"one step, {time.step_seconds:.3f} s", ("part", "seconds", "share"))
    for part, seconds in time.parts.items():
        if seconds:
            share = f"{seconds / time.step_seconds:.1%}"
            table.add_row(_TIME_PARTS.get(part, part), f"{seconds:.4f}", share)
    return table


def _verdict(chosen: Estimate) -> Iterable[str]:
    time, memory = chosen.time, chosen.memory
    yield f"layout     {full_layout_text(chosen.layout, chosen.job.data_parallel)}"
    sizes = f"{format_bytes(memory.peak_bytes)} of {format_bytes(memory.limit_bytes)}"
    excess = memory.peak_bytes - memory.limit_bytes
    if memory.fits:
        fit = f"fits, {format_bytes(-excess)} to spare"
    else:
        fit = f"does NOT fit, {format_bytes(excess)} too much; --search looks for what does"
    counted = ", counted on megatron-core's model" if memory.is_exact else ""
    yield f"memory     {sizes}: {fit}{counted}"
    yield (
        f"speed      {time.tokens_per_second:,.0f} tokens/s, "
        f"{time.tokens_per_second_per_gpu:,.0f} of each GPU; MFU {time.mfu:.1%} "
        f"({time.model_flops_per_gpu / 1e12:.0f} of {time.peak_flops / 1e12:.0f} TFLOP/s, bf16 "
        "without sparsity)"
    )


def _cost_lines(answer: Answer) -> Iterable[str]:
    prices = answer.question.site.prices
    known = [answer.cost] if answer.cost is not None else []
    for number, cost in enumerate([*known, answer.cost_of_billion]):
        yield f"{'' if number else 'cost':<10s} {cost_text(cost, prices)}"
    watts = prices.watts(answer.question.site.cluster.gpu)
    yield f"           at {watts:.0f} W for each GPU, its part of the site included"
    paper, here = answer.paper, answer.cost_like_paper
    if paper is not None and here is not None:
        yield (
            f"paper      {paper.chip_hours:,.0f} {paper.chip} chip-hours for "
            f"{format_count(paper.tokens)} tokens, which take {here.gpu_hours:,.0f} GPU-hours here"
        )


def cost_text(cost: Cost, prices: Prices) -> str:
    """`200B tokens: 1,234 GPU-hours in 19h12m, 950 kWh, 3,702 for the GPUs`."""
    text = (
        f"{_tokens(cost.tokens)} tokens: {number_text(cost.gpu_hours)} GPU-hours in "
        f"{format_duration(cost.seconds)}, {number_text(cost.kwh)} kWh"
    )
    if cost.gpu_money is not None:
        text += f"; the GPUs cost {number_text(cost.gpu_money)}"
    if cost.energy_money is not None:
        text += f"; the energy costs {number_text(cost.energy_money)}"
    return text


def number_text(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _tokens(tokens: int) -> str:
    """In whole steps a number is long: `200B` for 199,999,094,784."""
    return format_count(tokens) if tokens % 10**6 == 0 else f"{tokens / 1e9:.4g}B"


def print_validation(validation: Validation) -> None:
    """Every published row beside its prediction."""
    console = Console()
    columns = ("row", "fitted", "published MFU", "predicted MFU", "error")
    for name in dict.fromkeys(row.table for row in validation.rows):
        table = _table(name, columns)
        for row in validation.rows:
            if row.table == name:
                table.add_row(
                    escape(row.name),
                    "fitted" if row.is_fitted else "",
                    f"{row.published_mfu:.1%}",
                    f"{row.predicted_mfu:.1%}",
                    f"{row.relative_error:+.1%}",
                )
        console.print(table)
    summaries = {
        "fitted": validation.fitted,
        "not fitted": validation.not_fitted,
        "of sizes that nothing was fitted to": validation.further,
    }
    for words, errors in summaries.items():
        line = f"{errors.rows} rows {words}: mean error {errors.mean:.1%}, worst {errors.worst:.1%}"
        _say(console, [f"{line} ({errors.worst_row})"])
    goals = f"mean {MEAN_GOAL:.0%}, worst {WORST_GOAL:.0%} of the rows not fitted"
    _say(console, [f"goals: {goals}: {'met' if validation.meets_goals else 'not met'}"])


def print_calibration(calibration: Calibration) -> None:
    """Every run beside what was predicted before and after the fit."""
    console = Console()
    table = _table("seconds of a step", ("run", "GPUs", "measured", "before", "after"))
    for run in calibration.runs:
        table.add_row(
            escape(f"{run.run}\n{run.layout}"),
            str(run.gpus),
            *(
                f"{seconds:.4f}"
                for seconds in (run.measured_seconds, run.before_seconds, run.after_seconds)
            ),
        )
    console.print(table)
    for name, (before, after) in calibration.changed.items():
        _say(console, [f"{name}: {before:.4g} -> {after:.4g}"])
    before, after = (calibration.mean_error(after=value) for value in (False, True))
    _say(console, [f"mean error of a step's time: {before:.1%} before, {after:.1%} after"])
