"""What a running process does about signals, and what it has loaded, from /proc (proc(5))."""

import re
import signal
from pathlib import Path


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    return is_in_mask(pid, "SigCgt", number)


def is_in_mask(pid: int, mask: str, number: signal.Signals) -> bool:
    """Whether the signal is in one of the masks of /proc/PID/status. Raises FileNotFoundError or
    ProcessLookupError where the process has gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{mask}:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert match is not None, status
    return bool(int(match.group(1), 16) & 1 << (number - 1))


def has_loaded_torch(pid: int) -> bool:
    """Whether its libraries are in the process's memory."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()
