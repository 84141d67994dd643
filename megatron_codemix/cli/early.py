"""What happens before a command is imported, which may take seconds."""

import contextlib
from collections.abc import Sequence

from megatron_codemix.stops import remembering_stops


def remembering_stops_of(words: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """During the block `codemix train` remembers requests to stop. All other commands have nothing
    to save, and end by a signal like any program."""
    command = next((word for word in words if not word.startswith("-")), None)
    return remembering_stops() if command == "train" else contextlib.nullcontext()
