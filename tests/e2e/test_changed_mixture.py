"""A run that is stopped, given a change of its mixture, and gone on with."""

import signal
from pathlib import Path

from megatron_codemix.errors import PreemptedError
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.tiny import SEQUENCE, write_run

STEPS = 120
LINEAR = "data.mixture={kind: linear, start: {code: 1}, end: {code: 0.5, text: 0.5}}"


def test_a_change_after_a_stop_gives_the_run_that_had_it_from_the_start(tmp_path: Path) -> None:
    config = write_run(
        tmp_path,
        train={"train_tokens": STEPS * 8 * SEQUENCE},
        checkpoint={"save_every_tokens": 10 * 8 * SEQUENCE},
    )
    at_tokens = (STEPS - 2) * 8 * SEQUENCE
    change = f"data.changes=[{{at_tokens: {at_tokens}, mixture: {{weights: {{text: 1}}}}}}]"
    whole, stopped = (RunDirectory(tmp_path / name) for name in ("whole", "stopped"))
    result = codemix("train", config, LINEAR, change, "--run-dir", whole.path)
    assert result.returncode == 0, result.stderr
    code = codemix_stopped(
        ["train", config, LINEAR, "--run-dir", stopped.path],
        metrics=stopped.metrics,
        after_lines=5,
        by=signal.SIGTERM,
    )
    assert code == PreemptedError.exit_code, "a run that does not stop must not pass as stopped"
    result = codemix("train", config, LINEAR, change, "--run-dir", stopped.path)
    assert result.returncode == 0, result.stderr
    statuses = [run.read_status() for run in (whole, stopped)]
    assert statuses[0] is not None
    assert statuses[1] is not None
    assert statuses[0].identity == statuses[1].identity
    assert read_jsonl(whole.ledger) == read_jsonl(stopped.ledger)
    assert read_jsonl(whole.ledger)[-1]["method"] == "earliest-deadline"
