"""Python's search for garbage, where it cannot find any."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """For a block that makes hundreds of thousands of objects and no cycles that anybody lets go
    of, as imports do: each search costs a look at all objects of the process."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
