"""Steps from a CUDA graph beside the same steps without one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig, MuonConfig
from tests.helpers.gpu_ranks import run_on_one_gpu
from tests.helpers.training import MODEL, Job

# megatron-core warns of its own defaults, in this process here.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

TOLERANCE = {"fp32": 1e-4, "bf16": 0.02, "fp8": 0.03}
"""On the loss, nats, over ten steps: backward kernels of attention add up in any order, as two runs
without a graph do; of the first steps the run itself asks 1e-5 (mcore/microbatch_graph.py)."""

LAYOUT = LayoutConfig(microbatch_sequences=2)
CASES = {
    "fp32": Job(layout=LAYOUT),
    "bf16": Job(layout=LAYOUT, precision="bf16"),
    "z-loss, parallel block": Job(
        layout=LAYOUT, model=MODEL.model_copy(update={"block": "parallel", "z_loss": 1e-3})
    ),
    "recomputed": Job(layout=LAYOUT.model_copy(update={"recompute": "full"})),
    "muon": Job(
        layout=LAYOUT.model_copy(update={"distributed_optimizer": False}),
        optimizer=MuonConfig(weight_decay=0.1),
    ),
    "fp8": Job(layout=LAYOUT, precision=Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_from_a_graph_are_those_without(name: str, alone: Any) -> None:
    import torch

    from megatron_codemix.mcore.groups import destroy_model_parallel
    from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
    from tests.helpers.training import build_with_optimizer, train_on_rank, train_steps

    if name == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("FP8 needs compute capability 8.9")
    job = replace(CASES[name], device="cuda")
    without = train_on_rank(None, job)
    destroy_model_parallel()
    with alone.recordable():
        model, optimizer, parallel, backend = build_with_optimizer(replace(job, is_recorded=True))
        passes = MicrobatchGraph(model, num_sources=2, parallel=parallel, backend=backend)
        found = train_steps(job, model, optimizer, parallel, backend, job.steps, passes=passes)
    assert passes.is_recorded
    tolerance = TOLERANCE.get(name) or TOLERANCE["fp32"]
    assert found.loss == pytest.approx(without.loss, abs=tolerance, rel=0)


def test_a_ramp_up_and_documents_go_through_one_graph(alone: Any) -> None:
    """Numbers of microbatches that change; memory of the host that is written anew each step."""
    import numpy as np

    from megatron_codemix.data.batches import allocate_batch
    from megatron_codemix.mcore.groups import destroy_model_parallel
    from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
    from megatron_codemix.mcore.optimizer import set_step_sizes
    from megatron_codemix.mcore.step import train_step
    from tests.helpers.training import SEQUENCE, build_with_optimizer, markov_batch

    job = Job(layout=LAYOUT, device="cuda")
    buffers = [
        allocate_batch(2, SEQUENCE, with_documents=True, allocate=alone.allocate_host)
        for _ in range(3)
    ]

    def losses(*, recorded: bool) -> list[float]:
        asked = replace(job, is_recorded=recorded)
        model, optimizer, parallel, backend = build_with_optimizer(asked)
        passes = (
            MicrobatchGraph(model, num_sources=2, parallel=parallel, backend=backend)
            if recorded
            else None
        )
        found = []
        for step in range(10):
            for number, buffer in enumerate(buffers):
                batch = markov_batch([6 * step + 2 * number, 6 * step + 2 * number + 1])
                buffer.tokens[:], buffer.labels[:] = batch.tokens, batch.labels
                buffer.source_id[:] = batch.source_id
                buffer.document_ids[:] = np.arange(SEQUENCE) // (8 + step)
            set_step_sizes(optimizer, lr=1e-3, weight_decay=0.1)
            result = train_step(
                model,
                optimizer,
                buffers[: 1 + step % 3],
                num_sources=2,
                parallel=parallel,
                backend=backend,
                passes=passes,
            )
            found.append(result.loss_nats)
        destroy_model_parallel()
        assert passes is None or passes.is_recorded
        return found

    without = losses(recorded=False)
    with alone.recordable():
        found = losses(recorded=True)
    assert found == pytest.approx(without, abs=TOLERANCE["fp32"], rel=0)


def test_the_numbers_are_those_at_hand_and_not_those_that_were_recorded(gpu: Any) -> None:
    import torch

    with gpu.recordable():
        given, total = (torch.zeros(4, device=gpu.device) for _ in range(2))
        replay = gpu.record(lambda: total.add_(2 * given))
        assert total.tolist() == [0.0] * 4  # recording does nothing
        for number in (1.0, 3.0):
            given.fill_(number)
            replay()
        assert total.tolist() == [8.0] * 4


def test_memory_that_replays_fill_counts_as_used(gpu: Any) -> None:
    """Of which PyTorch's own counts have nothing: they begin anew once the graph is there."""
    import torch

    size = 2**28
    with gpu.recordable():
        total = torch.zeros((), device=gpu.device)

        def work() -> None:
            total.add_(torch.ones(size, dtype=torch.uint8, device=gpu.device).sum())

        work()
        replay = gpu.record(work)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu.device)
        replay()
        gpu.wait()
        assert torch.cuda.max_memory_allocated(gpu.device) < gpu.peak_memory_bytes() - size // 2
        assert size <= gpu.peak_memory_bytes() <= torch.cuda.memory_reserved(gpu.device)
        before = gpu.peak_memory_bytes()
        del replay
        assert gpu.peak_memory_bytes() < before - size // 2


def try_to_record_what_waits(context: None) -> tuple[str, list[float]]:
    """What is said of it, and numbers on the GPU afterwards."""
    import torch

    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.errors import UnavailableError

    gpu, said = select_backend("cuda"), ""
    with gpu.recordable():
        given = torch.ones(4, device=gpu.device)
        try:
            gpu.record(lambda: given.mul_(given.sum().item()))
        except UnavailableError as error:
            said = str(error)
        return said, given.tolist()


def test_what_waits_for_the_gpu_cannot_be_recorded_and_says_so(tmp_path: Path) -> None:
    """In a process of its own: torch without pytorch/pytorch#180395 takes its allocator to be
    recording from there on."""
    [(said, numbers)] = run_on_one_gpu(try_to_record_what_waits, 1, tmp_path)
    assert said.startswith("backend.cuda_graphs: a step cannot be recorded")
    assert numbers == [1.0] * 4  # the GPU can be used as before
