"""Log records: rank 0 on stderr, each rank in its file."""

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.obs.log import setup_logging

log = logging.getLogger("megatron_codemix.somewhere")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, project = logging.getLogger(), logging.getLogger("megatron_codemix")
    before = root.level, project.level
    yield
    setup_logging(1, None)
    root.setLevel(before[0])
    project.setLevel(before[1])
    logging.captureWarnings(False)


def test_rank_0_is_short_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(0, None)
    log.info("loaded %d shards", 3)
    log.warning("slow")
    log.debug("detail")
    logging.getLogger("other.library").info("chatter")
    logging.getLogger("other.library").warning("trouble")
    captured = capsys.readouterr()
    lines = re.sub(r"\d\d:\d\d:\d\d", "TIME", captured.err).splitlines()
    assert lines == ["TIME loaded 3 shards", "TIME warning: slow", "TIME warning: trouble"]
    assert captured.out == ""


def test_other_ranks_write_to_their_file_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(3, tmp_path / "attempt" / "rank3.log")
    log.info("here")
    text = (tmp_path / "attempt" / "rank3.log").read_text()
    assert re.search(r"rank 3 INFO megatron_codemix\.somewhere: here\n$", text)
    assert capsys.readouterr().err == ""


def test_a_second_call_replaces_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(0, tmp_path / "a.log")
    setup_logging(0, tmp_path / "b.log", logging.DEBUG)
    log.debug("once")
    assert (tmp_path / "a.log").read_text() == ""
    assert (tmp_path / "b.log").read_text().count("once") == 1
    assert capsys.readouterr().err.count("once") == 1


def test_handlers_of_others_are_left_alone() -> None:
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        setup_logging(0, None)
        assert handler in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.filterwarnings("default")
def test_python_warnings_go_to_the_file_and_not_between_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging(0, tmp_path / "rank0.log")
    with warnings.catch_warnings():
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("a library says", UserWarning, stacklevel=1)
    assert "UserWarning: a library says" in (tmp_path / "rank0.log").read_text()
    assert "a library says" not in capsys.readouterr().err


def test_stderr_is_looked_up_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    setup_logging(0, None)
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stderr", replaced)
    log.info("above the bar")
    assert "above the bar" in replaced.getvalue()


def test_a_traceback_is_part_of_the_record(tmp_path: Path) -> None:
    setup_logging(1, tmp_path / "rank1.log")
    try:
        raise ValueError("deep down")
    except ValueError:
        log.exception("rank 1 failed")
    text = (tmp_path / "rank1.log").read_text()
    assert "rank 1 failed" in text
    assert "ValueError: deep down" in text
