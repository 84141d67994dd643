"""The parts of `codemix bench chaos --study`: which faults come, the disk that fills up, the bit
that flips."""

import errno
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from megatron_codemix.bench.chaos.study import suite
from megatron_codemix.bench.chaos.study.asked import StudyChaos
from megatron_codemix.bench.chaos.study.damage import flipped_bit, repair
from megatron_codemix.bench.chaos.study.disk import (
    DISK_BYTES,
    FileSizeLimit,
    SmallDisk,
    keep_content,
    stays_mounted,
    unmount,
)
from megatron_codemix.bench.chaos.study.plan import (
    ENDS_STUDY,
    FLIP,
    KILL_AT_START,
    KILL_EVALUATION,
    KINDS,
    plan_study_faults,
)
from megatron_codemix.bench.chaos.study.suite import run_study_chaos
from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, RunError, UnavailableError
from megatron_codemix.files import write_json


def test_faults_are_of_all_kinds_and_spread_over_the_study() -> None:
    plans = plan_study_faults(56, 1200, seed=4)
    assert plans == plan_study_faults(56, 1200, seed=4)
    assert [plan.kind for plan in plans] != [
        plan.kind for plan in plan_study_faults(56, 1200, seed=5)
    ]
    counted = {kind: sum(plan.kind == kind for plan in plans) for kind in KINDS}
    assert set(counted.values()) == {4}
    assert [plan.number for plan in plans] == list(range(56))
    steps = [plan.at_step for plan in plans]
    assert steps == sorted(steps)
    assert steps[0] < 60
    assert 850 < steps[-1] < 1000
    waiting = [plan for plan in plans if plan.kind not in (KILL_AT_START, FLIP)]
    assert len({plan.at_step for plan in waiting}) > 30


def test_what_is_struck_is_another_with_every_seed() -> None:
    """Which rank, shard, byte and bit: also of two studies whose faults are of one kind."""
    ones, others = (plan_study_faults(8, 1200, seed, kinds=(FLIP,)) for seed in (4, 5))
    drawn = {plan.chances(attempt).random() for plan in (*ones, *others) for attempt in range(6)}
    assert len(drawn) == 2 * 8 * 6
    again = plan_study_faults(8, 1200, 4, kinds=(FLIP,))[3]
    assert ones[3].chances(2).random() == again.chances(2).random()


def test_a_byte_flips_where_the_study_has_ended_anyway() -> None:
    kinds = [plan.kind for plan in plan_study_faults(56, 1200, seed=4)]
    assert {kinds[place - 1] for place, kind in enumerate(kinds) if kind == FLIP} <= set(ENDS_STUDY)
    assert [plan.kind for plan in plan_study_faults(3, 200, seed=1, kinds=(FLIP,))] == [FLIP] * 3


@pytest.mark.parametrize("seed", range(5))
def test_evaluations_are_not_left_to_the_end(seed: int) -> None:
    kinds = [plan.kind for plan in plan_study_faults(56, 1200, seed)]
    assert kinds.count(KILL_EVALUATION) == 4
    assert KILL_EVALUATION not in kinds[42:]
    alone = plan_study_faults(2, 200, seed, kinds=(KILL_EVALUATION,))
    assert [plan.kind for plan in alone] == [KILL_EVALUATION] * 2


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    try:
        disk = SmallDisk.mount(folder)
    except UnavailableError as error:
        pytest.skip(str(error))
    try:
        yield disk
    finally:
        unmount(folder)


def test_a_small_disk_is_full_until_it_is_freed(mounted: SmallDisk) -> None:
    (mounted.folder / "study").mkdir()
    (mounted.folder / "study" / "before").write_bytes(b"x" * 10_000)
    assert mounted.fill([])
    with pytest.raises(OSError) as caught:
        (mounted.folder / "after").write_bytes(b"x" * 5000)
    assert caught.value.errno == errno.ENOSPC
    (mounted.folder / "study" / "before").unlink()
    assert mounted.fill([]), "what was given back is taken too"
    mounted.free()
    assert shutil.disk_usage(mounted.folder).free > DISK_BYTES - 100_000
    assert SmallDisk.mount(mounted.folder) == mounted, "one that is there is taken"


def test_what_was_on_the_small_disk_stays(mounted: SmallDisk) -> None:
    (mounted.folder / "study").mkdir()
    (mounted.folder / "study" / "report.json").write_text("{}")
    words = stays_mounted(mounted.folder)
    assert words is not None
    assert f"`umount {mounted.folder}`" in words
    keep_content(mounted.folder)
    assert stays_mounted(mounted.folder) is None
    assert (mounted.folder / "study" / "report.json").read_text() == "{}"
    keep_content(mounted.folder)  # nothing is mounted any more


APPENDING = """
import sys
path = sys.argv[1]
open(path, "w").write("x" * 5000)
print("ready", flush=True)
sys.stdin.readline()
try:
    open(path, "ab", buffering=0).write(b"more")
except OSError as error:
    print(error.errno)
"""


def test_a_limit_on_files_stands_in_for_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPENDING, str(tmp_path / "file")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        disk = FileSizeLimit("no root")
        assert disk.fill([psutil.Process(process.pid)])
        output, _ = process.communicate("go\n", timeout=60)
    assert output == f"{errno.EFBIG}\n"
    assert "no root" in disk.describes


def test_one_bit_is_wrong_and_then_right_again(tmp_path: Path) -> None:
    path, notes = tmp_path / "shard.bin", tmp_path / "notes"
    content = random.Random(1).randbytes(200_000)
    path.write_bytes(content)
    with flipped_bit(path, random.Random(2), notes) as damage:
        wrong = path.read_bytes()
        places = [n for n, (a, b) in enumerate(zip(content, wrong, strict=True)) if a != b]
        assert places == [damage.offset]
        assert content[damage.offset] ^ wrong[damage.offset] == 1 << damage.bit
        assert damage.block == damage.offset // 65536
    assert path.read_bytes() == content
    assert not list(notes.iterdir())


def test_a_bit_that_a_killed_process_has_left_wrong_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "shard.bin"
    path.write_bytes(bytes(1000))
    flipping = flipped_bit(path, random.Random(2), tmp_path)
    flipping.__enter__()  # and never left, as where the process is killed
    assert path.read_bytes() != bytes(1000)
    repair(tmp_path)
    assert path.read_bytes() == bytes(1000)
    repair(tmp_path)  # nothing is noted any more


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("x")
    asked = StudyChaos(num_faults=1, seed=1)
    with pytest.raises(RunError, match="holds something else"):
        run_study_chaos(tmp_path / "work", asked, print)
    (tmp_path / "old").mkdir()
    write_json(tmp_path / "old" / "chaos.json", {})
    (tmp_path / "old" / "finished").touch()
    with pytest.raises(RunError, match="two studies that were not alike"):
        run_study_chaos(tmp_path / "old", asked, print)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, lambda: signal.raise_signal(signal.SIGTERM)])
def test_what_stays_mounted_is_told_however_the_command_ends(
    ending: Callable[[], BaseException | None],
    mounted: SmallDisk,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By Ctrl-C or SIGTERM while the study is struck."""
    work = mounted.folder.parent / "work"
    (work / "alone").mkdir(parents=True)
    (work / "alone.json").write_text('{"seconds": 1.0}')

    def interrupted(*_: object) -> None:
        SmallDisk.mount(work / "disk")
        if (error := ending()) is not None:
            raise error

    monkeypatch.setattr(suite, "prepare_place", lambda *_: None)
    monkeypatch.setattr(suite, "_disturbed", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    try:
        code = main(["bench", "chaos", "--study", "--work", str(work)])
    finally:
        unmount(work / "disk")
    assert code == (130 if ending is KeyboardInterrupt else 143)
    assert f"`umount {work / 'disk'}` and delete {work}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_help_has_all_faults_and_each_folder_names_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "4000")
    assert main(["bench", "chaos", "--help"]) == EXIT_DONE
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in KINDS)
    assert main(["bench", "chaos", "--study", "--folder", "x"]) == EXIT_INPUT
    assert "the folder to work in is --work" in capsys.readouterr().err
    assert main(["bench", "chaos", "--work", "x"]) == EXIT_INPUT
    assert "the folder to work in is --folder" in capsys.readouterr().err
