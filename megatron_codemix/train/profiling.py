"""`codemix train --profile`: where the time of a few steps goes."""

import contextlib
import logging
from pathlib import Path

import torch.profiler

log = logging.getLogger(__name__)

WARMUP_STEPS = 3
"""Steps before those that are recorded; the last of them with the profiler on."""
RECORDED_STEPS = 3
_ROWS = 25


class StepProfiler(contextlib.ExitStack):
    """While entered, records a few steps of this rank: a trace for chrome://tracing or Perfetto,
    and a table of the operators that took longest."""

    def __init__(self, folder: Path, rank: int, device: str, *, first: int = 0) -> None:
        """folder: where `rank<k>.trace.json.gz` and `rank<k>.txt` are written.
        first: steps before those of the warm-up."""
        super().__init__()
        self._order = f"self_{device}_time_total"
        self._trace, self._table = folder / f"rank{rank}.trace.json.gz", folder / f"rank{rank}.txt"
        folder.mkdir(parents=True, exist_ok=True)
        self._profile = torch.profiler.profile(
            schedule=torch.profiler.schedule(
                wait=first + WARMUP_STEPS - 1, warmup=1, active=RECORDED_STEPS, repeat=1
            ),
            on_trace_ready=self._write,
            profile_memory=True,
        )
        self.enter_context(self._profile)

    def step(self) -> None:
        """A step of training has ended."""
        self._profile.step()

    def _write(self, profile: torch.profiler.profile) -> None:
        profile.export_chrome_trace(str(self._trace))
        table = profile.key_averages().table(sort_by=self._order, row_limit=_ROWS)
        self._table.write_text(f"{table}\n", encoding="utf-8")
        log.info("profile of %d steps: %s and %s", RECORDED_STEPS, self._trace, self._table)
