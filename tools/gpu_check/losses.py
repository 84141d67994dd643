"""The same run on the CPU and on the GPU, and in FP8 beside BF16."""

from collections.abc import Iterator
from functools import partial
from statistics import fmean

from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from megatron_codemix.config.precision_checks import check_cuda, check_machine
from megatron_codemix.config.schema import Fp8Config
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check
from tools.gpu_check.runs import (
    checked,
    judged,
    largest_difference,
    losses,
    require_said,
    train,
)

BOUNDS = {"fp32": 1e-4, "bf16": 0.01}
"""Nats, at each of 20 steps. BF16 keeps 8 bits, and two devices add in another order: that does to
a run what cutting its batch otherwise does, which is measured beside it (docs/gpu_results.md)."""

FP8_STEPS = 200
FP8_LAST = 50
FP8_BOUND = 0.03
"""Nats, of the mean of the last 50 steps; docs/gpu_results.md has what rounding alone does."""

_BF16 = "precision.kind=bf16"
_CUT, _BOTH = "{}: CPU, microbatches of 2 beside 4", "{}: GPU beside CPU"
_GRAPHS = "bf16: GPU with CUDA graphs beside without"
_RECIPES = {
    "emulated, tensorwise, beside BF16": Fp8Config(recipe="emulated", rule="tensorwise"),
    "torch_scaled_mm, tensorwise, beside BF16": Fp8Config(
        recipe="torch_scaled_mm", rule="tensorwise"
    ),
    "torch_scaled_mm, delayed, beside BF16": Fp8Config(recipe="torch_scaled_mm", rule="delayed"),
    "Transformer Engine, tensorwise, beside BF16": Fp8Config(recipe="tensorwise"),
    "Transformer Engine, delayed, beside BF16": Fp8Config(recipe="delayed"),
    "Transformer Engine, blockwise, beside BF16": Fp8Config(recipe="blockwise"),
    "Transformer Engine, mxfp8, beside BF16": Fp8Config(recipe="mxfp8"),
}


def loss_names() -> list[str]:
    """Of the checks of `cpu_and_gpu`."""
    names = [name for kind in BOUNDS for name in (_CUT.format(kind), _BOTH.format(kind))]
    return [*names, _GRAPHS]


def cpu_and_gpu(place: Place) -> Iterator[Check]:
    """Each precision on the CPU with its batch cut in two ways, then on the GPU."""
    for kind in BOUNDS:
        cut, both = _CUT.format(kind), _BOTH.format(kind)
        yield checked(cut, partial(_cut_otherwise, place, kind, cut))
        if place.has_gpu:
            yield checked(both, partial(_on_both, place, kind, both))
        else:
            yield Check(both, "skipped", place.why_no_gpu)
    if place.has_gpu:
        yield checked(_GRAPHS, partial(_with_graphs, place))
    else:
        yield Check(_GRAPHS, "skipped", place.why_no_gpu)


def _with_graphs(place: Place) -> Check:
    """Fails too where the run has gone on without them, by itself."""
    without = train(place, "bf16_cuda", _BF16, device="cuda")
    found = train(place, "bf16_graphs", _BF16, "backend.cuda_graphs=microbatch", device="cuda")
    require_said(found, "backend.cuda_graphs: recorded", "its steps are not from a graph")
    return _compared(_GRAPHS, "bf16", losses(without), losses(found))


def _cut_otherwise(place: Place, kind: str, name: str) -> Check:
    change = f"precision.kind={kind}"
    one = losses(train(place, f"{kind}_cpu", change, device="cpu"))
    other = losses(train(place, f"{kind}_cpu_2", change, device="cpu", microbatch=2))
    return _compared(name, kind, one, other)


def _on_both(place: Place, kind: str, name: str) -> Check:
    change = f"precision.kind={kind}"
    one, other = (
        losses(train(place, f"{kind}_{device}", change, device=device))
        for device in ("cpu", "cuda")
    )
    return _compared(name, kind, one, other)


def _compared(name: str, kind: str, one: list[float], other: list[float]) -> Check:
    return judged(
        name,
        largest_difference(one, other),
        BOUNDS[kind],
        f"largest difference of {len(one)} steps' losses, nats; the last is {one[-1]:.4f}",
    )


def fp8_names() -> list[str]:
    """Of the checks of `fp8`."""
    return list(_RECIPES)


def fp8(place: Place) -> Iterator[Check]:
    """Emulated on this device; on a GPU by PyTorch's own products and by Transformer Engine too."""
    for name, recipe in _RECIPES.items():
        reason = why_not(recipe, place.gpu)
        if place.gpu is None and recipe.recipe != "emulated":
            reason = place.why_no_gpu
        if reason is None:
            yield checked(name, partial(_beside_bf16, place, name, recipe))
        else:
            yield Check(name, "skipped", reason)


def why_not(recipe: Fp8Config, gpu: Gpu | None) -> str | None:
    """What this GPU and the packages beside it lack for the recipe; None where nothing is lacking,
    and what then fails is a failure."""
    if gpu is None:
        return None
    problems = check_machine(recipe, gpu.capability, gpu.engine)
    return "; ".join(problems or check_cuda(recipe, gpu.built_with)) or None


def _beside_bf16(place: Place, name: str, recipe: Fp8Config) -> Check:
    device = "cuda" if place.has_gpu else "cpu"
    plain = losses(train(place, "fp8_none", _BF16, device=device, steps=FP8_STEPS))
    rule = f", rule: {recipe.rule}" if recipe.rule else ""
    folder = f"fp8_{recipe.recipe}" + (f"_{recipe.rule}" if recipe.rule else "")
    change = f"precision={{kind: fp8, recipe: {recipe.recipe}{rule}}}"
    found = losses(train(place, folder, change, device=device, steps=FP8_STEPS))
    means = [fmean(one[-FP8_LAST:]) for one in (plain, found)]
    detail = (
        f"difference of the mean losses of the last {FP8_LAST} of {FP8_STEPS} steps, nats: "
        f"{means[1]:.4f} and {means[0]:.4f} in BF16"
    )
    return judged(name, largest_difference(means[1:], means[:1]), FP8_BOUND, detail)
