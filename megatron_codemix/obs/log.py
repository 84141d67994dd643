"""Where log records go: rank 0 to stderr in short, every rank to a file of its own in full."""

import logging
import sys
from pathlib import Path
from typing import TextIO

_PROJECT = "megatron_codemix"


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now: a progress bar replaces it to keep log lines above it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Ignored: the base class wants to keep what it was given."""


class _ShortFormatter(logging.Formatter):
    """`12:30:05 message`; the level only where it matters, from WARNING on."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        stamp = self.formatTime(record, "%H:%M:%S")
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{stamp} {level}{text}"


def setup_logging(rank: int, path: Path | None, level: int = logging.INFO) -> None:
    """Sends this project's records from `level`, and others' from WARNING, to stderr and a file.

    stderr is for rank 0. `path` is for any rank; its lines carry the rank. Warnings of the
    `warnings` module go to the file, to stderr only where there is none: libraries write dozens at
    import. May be called again, for example in a forked rank: it replaces what it set up before.
    """
    root = logging.getLogger()
    _remove_own_handlers(root)
    handlers: list[logging.Handler] = []
    if rank == 0:
        handler: logging.Handler = _StderrHandler()
        handler.setFormatter(_ShortFormatter("%(message)s"))
        if path is not None:
            handler.addFilter(_is_not_python_warning)
        handlers.append(handler)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
        form = f"%(asctime)s rank {rank} %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(form))
        handlers.append(handler)
    for handler in handlers or [logging.NullHandler()]:
        handler.set_name(_PROJECT)
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_PROJECT).setLevel(level)
    logging.captureWarnings(True)


def _is_not_python_warning(record: logging.LogRecord) -> bool:
    return record.name != "py.warnings"


def _remove_own_handlers(root: logging.Logger) -> None:
    for handler in list(root.handlers):
        if handler.get_name() == _PROJECT:
            root.removeHandler(handler)
            handler.close()
