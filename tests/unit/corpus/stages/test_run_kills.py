"""A stage over a corpus that is killed goes on, and changes no byte."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.commands import codemix, start_codemix
from tests.helpers.kills import contents, killed_again_and_again
from tests.helpers.staged_corpus import (
    FRACTION,
    records,
    run,
    write_corpus,
)

SPLIT = """
from pathlib import Path
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage

def run(corpus, out, fraction):
    run_stage(SplitStage("train", float(fraction)), Path(corpus), Path(out), part_bytes=1,
              keep_dropped=True)
"""


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, seed: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "undisturbed", keep_dropped=True)
    points = random.Random(seed).choices(range(1, 80), k=8)
    assert killed_again_and_again(SPLIT, (corpus, out, FRACTION), out, points) >= 2
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_kill_at_the_very_end_changes_no_byte(tmp_path: Path):
    """Each of the last steps: records of parts, strays, corpus.json."""
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "undisturbed", keep_dropped=True)
    for point in range(8, 40, 2):
        run(corpus, out, keep_dropped=True)
        (out / "corpus.json").unlink()
        (out / ".parts" / "text" / "00002.json").unlink()
        killed_again_and_again(SPLIT, (corpus, out, FRACTION), out, [point])
        assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_command_with_workers_goes_on_whatever_ends_it(tmp_path: Path):
    corpus = tmp_path / "corpus"
    for source in range(40):  # a part each; far more than end while a signal is on its way
        lines = [json.dumps(one) + "\n" for one in records(f"s{source}", 0, count=1500)]
        (corpus / f"s{source}").mkdir(parents=True)
        (corpus / f"s{source}" / "a.jsonl").write_text("".join(lines))

    def command(out: str) -> list[str]:
        asked = ["corpus", "split", str(corpus), "--out", str(tmp_path / out)]
        return [*asked, "--validation-fraction", str(FRACTION), "--workers", "2"]

    undisturbed = codemix(*command("undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    out = tmp_path / "out" / "train"
    for num_finished, by in ((1, signal.SIGKILL), (4, signal.SIGINT), (9, signal.SIGTERM)):
        process = start_codemix(command("out"))
        deadline = time.monotonic() + 120
        while len(list((out / ".parts").glob("*/*.json"))) < num_finished:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(by)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == (130 if by == signal.SIGINT else -by), told
        assert "Traceback" not in told
    assert not (out / "corpus.json").exists()
    finished = codemix(*command("out"))
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
