"""Faults of the whole study: its command ends, and is given again."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil

from megatron_codemix.bench.chaos.study.damage import flipped_bit
from megatron_codemix.bench.chaos.study.moments import fault_of, on_training
from megatron_codemix.bench.chaos.study.patience import PATIENCE_SECONDS
from megatron_codemix.bench.chaos.study.plan import StudyFault, StudyPlan
from megatron_codemix.bench.chaos.study.processes import wait_until_gone
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, EXIT_RETRY

_FILL_EVERY_SECONDS = 0.02
_STOPPED_SECONDS = 1.5
_END_SECONDS = 30.0
"""In which a killed process must be gone."""


def kill_study(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    if on_training(scene, plan, rng) is None:
        return None
    scene.remember_processes()
    scene.running.kill()
    code = scene.end({-signal.SIGKILL, EXIT_DONE}, plan.kind)
    return fault_of(scene, plan, "the command ended with signal 9") if code < 0 else None


def end_study(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    if on_training(scene, plan, rng) is None:
        return None
    scene.remember_processes()
    offset = scene.said_bytes
    scene.running.terminate()
    code = scene.end({EXIT_RETRY, EXIT_DONE}, plan.kind)
    if code != EXIT_RETRY or "what was reached is saved" not in scene.said(offset):
        return None
    return fault_of(scene, plan, f"the command saved and ended with exit code {code}")


def stop_study(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """As by Ctrl-Z, and on again: what it has started goes on without it, and may end."""
    if on_training(scene, plan, rng) is None:
        return None
    study, before = psutil.Process(scene.running.pid), scene.job.steps_made()
    study.suspend()
    try:
        time.sleep(_STOPPED_SECONDS)
        is_stopped = study.status() == psutil.STATUS_STOPPED
    finally:
        study.resume()
    made = scene.job.steps_made() - before
    if not is_stopped or made <= 0:
        return None
    evidence = f"stood still for {_STOPPED_SECONDS:g} s, in which its phases made {made} steps"
    return fault_of(scene, plan, evidence)


def kill_node(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """Every process of the study within a millisecond, parents first, so that none can act."""
    if on_training(scene, plan, rng) is None:
        return None
    placed, processes = scene.placed(), scene.remember_processes()
    groups = [one.launcher.pid for one in placed]
    scene.running.kill()
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    code = scene.end({-signal.SIGKILL, EXIT_DONE}, plan.kind)
    left = wait_until_gone(processes, _END_SECONDS)
    if left:
        scene.problems.append(f"{plan.kind}: processes that outlive it: {left}")
    if code == EXIT_DONE or not placed:
        return None
    names = ", ".join(one.phase for one in placed)
    return fault_of(scene, plan, f"{len(processes)} processes at once, of {names}")


def fill_disk(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """Full until the study has ended: a training that goes on meanwhile may leave out a save."""
    if on_training(scene, plan, rng) is None:
        return None
    disk = scene.disk
    assert disk is not None, "nothing can fill up here"
    processes, offset = scene.remember_processes(), scene.said_bytes
    try:
        is_full = disk.fill(processes)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while scene.is_running and time.monotonic() < give_up_at:
            disk.fill([])  # what a checkpoint that is removed has left
            time.sleep(_FILL_EVERY_SECONDS)
        code = scene.end({EXIT_INPUT, EXIT_DONE}, plan.kind)
    finally:
        try:
            scene.quieten()
        finally:
            disk.free()
    told = disk.said in scene.said(offset) or any(
        disk.said in (status.last_error or "")
        for run in scene.job.runs()
        if (status := run.read_status()) is not None
    )
    if code != EXIT_INPUT or not is_full or not told:
        return None
    return fault_of(scene, plan, f"the command ended with exit code {code}: {disk.said}")


def flip_byte(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """While nobody reads the shard: a block that a process has checked is not checked again. The
    next start must refuse it, by the shard's name and the block's."""
    if scene.is_running:
        scene.remember_processes()
        scene.running.terminate()
        if scene.end({EXIT_RETRY, EXIT_DONE}, f"a stop before {plan.kind}") == EXIT_DONE:
            return None
    scene.quieten()
    offset = scene.said_bytes
    with flipped_bit(rng.choice(scene.job.shards), rng, scene.output.parent) as damage:
        scene.start()
        code = scene.end({EXIT_INPUT, EXIT_DONE}, plan.kind)
        scene.quieten()
    if code != EXIT_INPUT:
        return None
    refusal = f"{damage.path}: block {damage.block} ("
    if refusal not in scene.said(offset):
        scene.problems.append(f"{plan.kind}: '{refusal}' was not told:\n{scene.tail()}")
        return None
    return fault_of(
        scene, plan, f"refused with exit code {code}: {Path(damage.path).name}, {damage}"
    )
