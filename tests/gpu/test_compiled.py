"""What torch.compile makes of our functions on the GPU: each beside itself as it is written, a
training beside one on the CPU, and how often it compiles."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig, PrecisionConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, train_on_rank

# megatron-core warns of its own defaults, in this process here.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

TOLERANCE = {"fp32": 1e-4, "bf16": 0.02}
"""On the loss, nats, as of a step that is not compiled (test_step.py)."""
LAYOUT = LayoutConfig(microbatch_sequences=4)


@pytest.fixture
def as_written() -> Iterator[None]:
    """Whatever the test compiles is not compiled in the next one."""
    from megatron_codemix.mcore.compiled import FP8_TRIALS, MODEL_TRIALS

    yield
    for trial in MODEL_TRIALS + FP8_TRIALS:
        trial.function.leave_as_written()


def test_every_function_compiles_to_what_it_is(gpu: Any, as_written: None) -> None:
    """Codes of FP8 bit for bit, where the card has FP8."""
    from megatron_codemix.backend.compiling import try_to_compile
    from megatron_codemix.backend.devices import compute_capability
    from megatron_codemix.mcore.compiled import FP8_TRIALS, MODEL_TRIALS

    has_fp8 = (compute_capability(gpu.device) or (0, 0)) >= (8, 9)
    trials = MODEL_TRIALS + (FP8_TRIALS if has_fp8 else ())
    assert try_to_compile(trials, gpu.device) == {}


@pytest.mark.parametrize("z_loss", [None, 1e-4])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_compiled_steps_are_those_of_the_cpu(
    precision: Any, z_loss: float | None, alone: Any, as_written: None
) -> None:
    from megatron_codemix.mcore.compiled import compile_functions
    from megatron_codemix.mcore.language_model import losses_are_compiled

    model = MODEL.model_copy(update={"z_loss": z_loss})
    job = Job(layout=LAYOUT, model=model, precision=precision, num_steps=5)
    [expected] = run_distributed(train_on_rank, 1, job)
    compile_functions(alone, PrecisionConfig(kind=precision))
    found = train_on_rank(None, replace(job, device="cuda"))
    assert losses_are_compiled()
    assert found.loss == pytest.approx(expected.loss, abs=TOLERANCE[precision], rel=0)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_later_microbatches_and_steps_compile_nothing(
    precision: str, alone: Any, as_written: None
) -> None:
    from torch._dynamo.utils import counters

    from megatron_codemix.backend.devices import compute_capability
    from megatron_codemix.mcore.compiled import compile_functions
    from tests.helpers.training import build_with_optimizer, train_steps

    if precision == "fp8" and (compute_capability(alone.device) or (0, 0)) < (8, 9):
        pytest.skip("FP8 products need compute capability 8.9")
    asked = (
        PrecisionConfig(kind="bf16")
        if precision == "bf16"
        else Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")
    )
    job = Job(layout=LayoutConfig(microbatch_sequences=2), precision=asked, device="cuda")
    compile_functions(alone, asked)
    built = build_with_optimizer(job)
    train_steps(job, *built, range(1))
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    train_steps(job, *built, range(1, 4))
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_compiled_loss_keeps_nothing_of_the_logits_size(gpu: Any, as_written: None) -> None:
    """Beside the logits themselves, forward and backward; twice that in fp32 without."""
    import torch
    from torch.distributed import group

    from megatron_codemix.backend.compiling import try_to_compile
    from megatron_codemix.mcore.compiled import MODEL_TRIALS
    from megatron_codemix.mcore.language_model import entropies_and_squares, losses_are_compiled

    assert try_to_compile(MODEL_TRIALS, gpu.device) == {}
    assert losses_are_compiled()
    logits = torch.randn(512, 2, 32768, device=gpu.device, dtype=torch.bfloat16)
    labels = torch.randint(0, 32768, (512, 2), device=gpu.device)

    def pass_both_ways() -> int:
        leaf = logits.clone().requires_grad_()
        own = leaf.view_as(leaf)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        entropy, _ = entropies_and_squares(own, labels, group.WORLD)
        torch.autograd.grad(entropy.sum(), own)
        return torch.cuda.max_memory_allocated() - before

    pass_both_ways()  # compiles
    assert pass_both_ways() < 0.1 * logits.nbytes
