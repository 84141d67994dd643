"""A process that hangs ends by itself, and says where."""

import subprocess
import sys
import textwrap
import time

from megatron_codemix.train.watchdog import Watchdog


def run(body: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(
        """
        import time
        from megatron_codemix.train.watchdog import Watchdog
        def watchdog(floor):
            return Watchdog(factor=3, floor_seconds=floor, start_seconds=30,
                            on_hang=lambda text: print("told:", text, flush=True))
        """
    )
    return subprocess.run(
        [sys.executable, "-c", program + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_hang_ends_with_75_and_the_stacks_of_all_threads() -> None:
    ended = run(
        """
        def stuck_here():
            while True:
                time.sleep(1)
        with watchdog(0.5) as dog:
            dog.beat("step 1")
            dog.beat("step 2")
            stuck_here()
        """
    )
    assert ended.returncode == 75
    assert "told: hangs: step 2 has taken" in ended.stdout
    assert "stuck_here" in ended.stderr


def test_a_run_in_time_goes_on() -> None:
    ended = run(
        """
        with watchdog(2.0) as dog:
            for step in range(4):
                dog.beat(f"step {step}")
                time.sleep(0.4)
        print("done")
        """
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n")


def test_the_limit_is_learned_from_the_longest_step() -> None:
    dog = Watchdog(factor=3, floor_seconds=0.0, start_seconds=99.0, on_hang=print)
    assert dog.limit_seconds == 99.0
    dog.beat("step 1")
    assert dog.limit_seconds == 99.0  # how long a step takes is not known yet
    dog._beaten -= 10.0
    dog.beat("step 2")
    dog._beaten -= 4.0
    dog.beat("step 3")
    assert 30.0 < dog.limit_seconds < 31.0


def test_each_part_of_the_start_has_its_own_time_and_is_no_step() -> None:
    dog = Watchdog(factor=3, floor_seconds=0.0, start_seconds=99.0, on_hang=print)
    for part in ("building the model", "the start from a checkpoint"):
        dog._beaten -= 98.0
        dog.prepare(part)
        assert time.monotonic() - dog._beaten < 50.0
    dog._beaten -= 98.0
    dog.beat("step 1")
    assert dog.limit_seconds == 99.0
    dog._beaten -= 10.0
    dog.beat("step 2")
    assert 30.0 < dog.limit_seconds < 31.0


def test_a_hang_ends_with_75_where_nobody_can_say_why() -> None:
    ended = run(
        """
        def diagnose():
            raise KeyError("no answer")
        with Watchdog(factor=3, floor_seconds=0.1, start_seconds=0.1, diagnose=diagnose,
                      on_hang=lambda text: print("told:", text, flush=True)):
            time.sleep(60)
        """
    )
    assert ended.returncode == 75
    assert "the limit of 0 s; why is not known (KeyError: 'no answer'); the log" in ended.stdout
