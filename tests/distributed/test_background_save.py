"""Checkpoints that are written while training goes on, by real processes that are killed, spoiled
and resharded."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.checkpoints import changed_files, files_of, read_marker
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.megatron_core import save_as_megatron_does
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Job, build_with_optimizer, train_on_rank, train_steps

LAYOUTS = {
    "dp2": (2, LayoutConfig(microbatch_sequences=2)),
    "dp2-plain-optimizer": (2, LayoutConfig(microbatch_sequences=2, distributed_optimizer=False)),
    "tp2-pp2": (4, LayoutConfig(tensor=2, pipeline=2, microbatch_sequences=2)),
    "tp2-dp2": (4, LayoutConfig(tensor=2, microbatch_sequences=2)),
    "dp4-buckets": (
        4,
        LayoutConfig(overlap_grad_reduce=True, overlap_param_gather=True, bucket_parameters=20_000),
    ),
    "cp2-vpp2": (4, LayoutConfig(context=2, pipeline=2, virtual_pipeline=2)),
}


def save_all_as_megatron_does(model, optimizer, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Its own gathering, planning and writing."""
    import torch.distributed

    from megatron_codemix.mcore.checkpoint import sharded_weights
    from megatron_codemix.mcore.model import finish_update

    finish_update(model)
    folder.mkdir(parents=True, exist_ok=True)
    torch.distributed.barrier()
    state = sharded_weights(model)
    content = {"distrib_optim_sharding_type": "fully_reshardable"}
    state["optimizer"] = optimizer.sharded_state_dict(state, metadata=content)
    save_as_megatron_does(state, folder, content)


def save_and_go_on(context: RankContext, job: Job, folder: Path) -> None:
    """Three saves of the same state: megatron-core's, one that is waited for, one during three more
    steps."""
    from megatron_codemix.mcore.checkpoint import begin_save, save_checkpoint
    from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess

    process = CheckpointProcess()
    model, optimizer, parallel, backend = build_with_optimizer(job)
    train_steps(job, model, optimizer, parallel, backend, range(2))
    save_all_as_megatron_does(model, optimizer, folder / "megatron")
    save_checkpoint(folder / "waited", model, optimizer, {"step": 2}, parallel)
    save = begin_save(folder / "during", model, optimizer, {"step": 2}, parallel, process)
    train_steps(job, model, optimizer, parallel, backend, range(2, 5))
    assert not (folder / "during" / "complete.json").exists()
    save.finish()
    assert save.progress > 0
    process.close()


# bf16 keeps weights of its own in the optimizer: where that is shared between ranks and where not.
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "fp32") for name in LAYOUTS),
        *((name, "bf16") for name in ("dp2-plain-optimizer", "tp2-dp2", "dp4-buckets")),
    ],
)
def test_the_state_is_that_of_the_moment_and_loads_in_one_process(
    name: str, precision: str, tmp_path: Path
) -> None:
    num_ranks, layout = LAYOUTS[name]
    run_distributed(save_and_go_on, num_ranks, Job(layout=layout, precision=precision), tmp_path)
    if layout.bucket_parameters is None:  # megatron-core's own is wrong there (test_traps.py)
        assert differing_tensors(tmp_path / "megatron", tmp_path / "during") == []
    assert differing_tensors(tmp_path / "waited", tmp_path / "during") == []
    record = read_marker(tmp_path / "during")
    assert changed_files(tmp_path / "during", files_of(record)) == []
    shards = [name for name in record["files"] if name.endswith(".distcp")]
    assert len(shards) == num_ranks, "every rank writes its part"
    # And again as a whole, in one process, with the optimizer's state.
    one = LayoutConfig(distributed_optimizer=layout.distributed_optimizer)
    again = Job(
        layout=one,
        precision=precision,
        num_steps=0,
        load=tmp_path / "during",
        save=tmp_path / "one",
    )
    run_distributed(train_on_rank, 1, again)
    assert differing_tensors(tmp_path / "during", tmp_path / "one") == []


def spoil_a_save(context: RankContext, folder: Path, spoil: str) -> list[str]:
    """What goes wrong with a save whose second rank's writer is spoiled, and how the next goes."""
    from megatron_codemix.errors import RetryableError
    from megatron_codemix.mcore.checkpoint import begin_save, save_checkpoint
    from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess

    job = Job(layout=LayoutConfig(microbatch_sequences=2))
    model, optimizer, parallel, backend = build_with_optimizer(job)
    train_steps(job, model, optimizer, parallel, backend, range(1))
    if context.rank == 1:
        SPOILERS[spoil]()
    process = CheckpointProcess()
    save = begin_save(folder, model, optimizer, {"step": 1}, parallel, process)
    try:
        save.finish()
    except RetryableError as error:
        said = str(error)
    else:
        raise AssertionError("a spoiled save was taken for whole")
    assert not folder.exists()
    os.fsync = FSYNC
    save_checkpoint(folder, model, optimizer, {"step": 1}, parallel)
    return [said]


FSYNC = os.fsync


def kill_itself() -> None:
    """In the middle of a save, as the kernel does when memory is short."""
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)


def flip_a_bit() -> None:
    """On the way to the disk."""

    def fsync(descriptor: int) -> None:
        place = os.fstat(descriptor).st_size // 2
        writable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
        byte = os.pread(writable, 1, place)
        os.pwrite(writable, bytes([byte[0] ^ 1]), place)
        os.close(writable)
        FSYNC(descriptor)

    os.fsync = fsync


def cut() -> None:
    """The end of the file is lost."""
    os.fsync = lambda descriptor: os.truncate(
        f"/proc/self/fd/{descriptor}", os.fstat(descriptor).st_size - 100
    )


SPOILERS: dict[str, Callable[[], None]] = {
    "killed": kill_itself,
    "flipped": flip_a_bit,
    "cut": cut,
}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("killed", "rank 1: the process that writes checkpoints ended with exit code -9"),
        ("flipped", "reads back different from what was written"),
        ("cut", "reads back different from what was written"),
    ],
)
def test_a_spoiled_save_is_told_on_every_rank_and_the_next_one_works(
    spoil: str, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    for errors in run_distributed(spoil_a_save, 2, folder, spoil):
        assert said in errors[0]
    assert changed_files(folder, files_of(read_marker(folder))) == []
