"""A few rows of `codemix bench train --gpu`; the whole table is a command of its own."""

import json
from collections.abc import Iterator

from tools.gpu_check.place import CommandError, Place
from tools.gpu_check.results import Check

NAME = "470M, sequences of 2048 and 4096"
_INPUT_ERROR = 2
"""codemix's exit code for what this machine cannot do."""
_ASKED = ("--models", "470m", "--sequences", "2048,4096", "--precisions", "bf16,torch_scaled_mm",
          "--steps", "10", "--json")  # fmt: skip


def section(place: Place) -> Iterator[Check]:
    """A line for each row. Without a GPU the command refuses by name."""
    try:
        said = place.codemix("bench", "train", "--gpu", *_ASKED, log="benchmark")
    except CommandError as error:
        status = "skipped" if error.exit_code == _INPUT_ERROR else "failed"
        yield Check(NAME, status, str(error))
        return
    for row in json.loads(said)["rows"]:
        if row["status"] == "measured":
            yield Check(row["name"], "passed", rows=(row,))
        else:
            yield Check(row["name"], "skipped", row["reason"])
