"""Readers of the tasks' data, by the name that a task file gives."""

from megatron_codemix.evaluation.suites.readers import choices
from megatron_codemix.evaluation.suites.readers.formats import Reader

READERS: dict[str, Reader] = {**choices.READERS}
