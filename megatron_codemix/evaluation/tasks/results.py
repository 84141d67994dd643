"""Where the results of tasks lie: a file with a line for each item, and a summary."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from megatron_codemix.files import Json, atomic_path, read_json, write_json
from megatron_codemix.runs import result_stem


class ResultFolder:
    """The results of one run's tasks; with a limit those of the first items alone."""

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path = path
        self.limit = limit

    def items(self, task: str) -> Path:
        """A line per item."""
        return self._file(task, "jsonl")

    def summary(self, task: str) -> Path:
        """The task's scores."""
        return self._file(task, "summary.json")

    def answers(self, task: str) -> Path:
        """What the model has said while the task is not finished."""
        return self._file(task, "answers.jsonl")

    def _file(self, task: str, suffix: str) -> Path:
        return self.path / f"{result_stem(task, self.limit)}.{suffix}"

    def finished(self, task: str, settings: Mapping[str, Json]) -> dict[str, Json] | None:
        """The summary of an evaluation with these settings that came to its end."""
        path = self.summary(task)
        if not path.exists():
            return None
        try:
            summary = read_json(path)
        except ValueError:  # damaged: it is made again
            return None
        is_same = isinstance(summary, dict) and summary.get("settings") == settings
        return summary if is_same and self.items(task).exists() else None

    def write(
        self, task: str, items: Sequence[Mapping[str, Json]], summary: Mapping[str, Json]
    ) -> None:
        """The items, then the summary, by which a task is finished."""
        with (
            atomic_path(self.items(task)) as temporary,
            open(temporary, "w", encoding="utf-8") as handle,
        ):
            for item in items:
                handle.write(json.dumps(item, ensure_ascii=False, default=str) + "\n")
        write_json(self.summary(task), summary)
