"""Every reply of an endpoint, kept on disk as it comes: a request is paid for once."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, full_disk, hash_json, read_jsonl


def request_key(endpoint: Endpoint, body: dict[str, Json]) -> str:
    """What a reply is kept under: who answers, the interface and all that is sent."""
    # "judge" since judgements of earlier versions are kept under it.
    return hash_json({"judge": endpoint.name, "api": endpoint.api, "body": body})


class KeptReplies:
    """Replies by the key of their request; a file of JSON lines, each on the disk before it counts.

    May be used by several threads. A line that a kill has cut short is removed at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        _drop_cut_line(path)
        try:
            self._known = {line["key"]: line for line in read_jsonl(path)}
        except (KeyError, TypeError) as error:
            raise RunError(f"{path}: a line has no key; move the file away") from error
        self._handle = open(path, "ab")  # noqa: SIM115 - closed by `opened`

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["KeptReplies"]:
        """Makes the file and its folder where they are missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replies = cls(path)
        try:
            yield replies
        finally:
            replies._handle.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> dict[str, Json] | None:
        return self._known.get(key)

    def add(self, key: str, reply: dict[str, Json]) -> None:
        """Keeps a reply. Raises UnavailableError where the disk is full."""
        line = {"key": key, **reply}
        with self._lock:
            try:
                self._handle.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                self._handle.flush()
                os.fsync(self._handle.fileno())
            except OSError as error:
                raise full_disk(error, self._path) from error
            self._known[key] = line


def _drop_cut_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "r+b") as handle:
        content = handle.read()
        handle.truncate(content.rfind(b"\n") + 1)
