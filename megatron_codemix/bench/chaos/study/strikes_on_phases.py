"""Faults of a training or an evaluation: the study goes on, and starts that phase again."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil

from megatron_codemix.bench.chaos.study.moments import (
    Strike,
    fault_of,
    on_training,
    strike_placed,
)
from megatron_codemix.bench.chaos.study.plan import StudyFault, StudyPlan
from megatron_codemix.bench.chaos.study.processes import Placed, loaded_process
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory

_START_SECONDS = 0.6
"""An attempt this young has not made a step: it builds its model, or waits for other ranks."""
_START_POLL_SECONDS = 0.02
_SAVE_POLL_SECONDS = 0.001
"""A save lasts tens of milliseconds."""
_LOOK_EVERY_SECONDS = 0.25
"""For processes, which costs milliseconds."""


def signal_rank(number: signal.Signals) -> Strike:
    def deed(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
        placed = on_training(scene, plan, rng)
        if placed is None:
            return None
        victim = rng.choice(placed.ranks)
        return strike_placed(scene, plan, placed, lambda: victim.send_signal(number))

    return deed


def stop_rank(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """The other rank's watchdog must find it."""
    placed = on_training(scene, plan, rng)
    if placed is None:
        return None
    status = placed.run.read_status()
    attempt = placed.run.attempt(0 if status is None else status.attempts)
    victim = rng.choice(placed.ranks)
    fault = strike_placed(scene, plan, placed, victim.suspend)
    if fault is None:
        with contextlib.suppress(psutil.Error):
            victim.resume()
        return None
    found = _line_with(": hangs: ", sorted(attempt.glob("rank*.log")))
    if found is None:
        scene.problems.append(
            f"{plan.kind} in {placed.phase}, step {fault.step}: {fault.evidence}, and no watchdog "
            f"has told of it in {attempt}"
        )
        return fault
    return fault_of(scene, plan, f"{fault.evidence}; {found}", placed, fault.step)


def _line_with(text: str, paths: list[Path]) -> str | None:
    """`rank0.log: ...`, of the first line that holds the text, from there on."""
    for path in paths:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if text in line:
                return f"{path.name}{line[line.index(text) :]}"
    return None


def kill_at_start(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    if not scene.wait_for_steps(plan.at_step):
        return None

    def look() -> Placed | None:
        young = [one for one in scene.placed() if one.is_training]
        return next((one for one in young if one.age_seconds < _START_SECONDS), None)

    placed = scene.wait_for(look, _START_POLL_SECONDS)
    if placed is None:
        return None
    time.sleep(plan.delay_seconds)
    age = placed.age_seconds
    fault = strike_placed(scene, plan, placed, rng.choice(placed.ranks).kill)
    if fault is None:
        return None
    evidence = f"{fault.evidence}, {age:.2f} s after its start"
    return fault_of(scene, plan, evidence, placed, fault.step)


def kill_evaluation(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    if not scene.wait_for_steps(plan.at_step):
        return None
    placed = scene.wait_for(
        lambda: next((one for one in scene.placed() if not one.is_training), None)
    )
    if placed is None:
        return None
    time.sleep(plan.delay_seconds)
    return strike_placed(scene, plan, placed, rng.choice(placed.ranks).kill)


def kill_group(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """Launcher, ranks and their writers in one call, so that nobody can tell another."""
    placed = on_training(scene, plan, rng)
    if placed is None:
        return None
    group = placed.launcher.pid
    return strike_placed(scene, plan, placed, lambda: os.killpg(group, signal.SIGKILL))


def cut_save(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """All processes of a training end while a file of a checkpoint is begun. It has struck where a
    checkpoint without its marker is left behind."""
    if not scene.wait_for_steps(plan.at_step):
        return None
    known = {_key(folder) for run in scene.job.runs() for folder in run.incomplete_checkpoints()}
    placed: dict[Path, Placed] = {}
    looked_at = 0.0

    def look() -> tuple[Placed, Path] | None:
        nonlocal looked_at
        if time.monotonic() > looked_at + _LOOK_EVERY_SECONDS:
            placed.clear()
            placed.update({one.run.path: one for one in scene.placed() if one.is_training})
            looked_at = time.monotonic()
        for path, one in placed.items():
            for folder in RunDirectory(path).incomplete_checkpoints():
                if _key(folder) not in known and _has_begun(folder):
                    return one, folder
        return None

    found = scene.wait_for(look, _SAVE_POLL_SECONDS)
    if found is None:
        return None
    struck, folder = found
    group = struck.launcher.pid
    fault = strike_placed(scene, plan, struck, lambda: os.killpg(group, signal.SIGKILL))
    if fault is None or not folder.exists() or (folder / COMPLETE_MARKER).exists():
        return None  # it was complete a moment before; the next one is tried
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    left = ", ".join(f"{name} with {size} bytes" for name, size in sizes.items())
    return fault_of(
        scene, plan, f"{fault.evidence}; {folder.name} is left with {left}", struck, fault.step
    )


def _key(folder: Path) -> tuple[Path, int]:
    """Of a folder that may be removed and made again."""
    try:
        return folder, folder.stat().st_ino
    except FileNotFoundError:
        return folder, 0


def _has_begun(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any(path.stat().st_size for path in folder.glob("*.distcp"))
    return False


def kill_server(scene: Scene, plan: StudyPlan, rng: random.Random) -> StudyFault | None:
    """The process that trainings are forked from; with it they end."""
    placed = on_training(scene, plan, rng)
    server = loaded_process(scene.running.pid) if scene.is_running else None
    if placed is None or server is None:
        return None
    return strike_placed(scene, plan, placed, server.kill)
