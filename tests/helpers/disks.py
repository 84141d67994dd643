"""A file system that fills up."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    """Mounts one of `num_bytes` at `folder`, which is made; skips the test without root."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave_free(filler: Path, num_bytes: int) -> None:
    """Writes a file after which its file system has no more than so much free."""
    usage = os.statvfs(filler.parent)
    filler.write_bytes(bytes(max(0, usage.f_bavail * usage.f_frsize - num_bytes)))


@contextlib.contextmanager
def kept_full(filler: Path) -> Iterator[None]:
    """The file system of `filler` is full in the block: what others give back meanwhile, as a file
    that takes another's place does, is taken too."""
    is_over = threading.Event()
    with open(filler, "wb", buffering=0) as handle:

        def fill() -> None:
            with contextlib.suppress(OSError):
                while True:
                    handle.write(bytes(4096))

        def go_on() -> None:
            while not is_over.wait(0.002):
                fill()

        fill()
        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
