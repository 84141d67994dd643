"""Readers of the tasks' data, by the name that a task file gives."""

from megatron_codemix.evaluation.suites.readers import (
    answers,
    choices,
    deduction,
    perplexity,
    programs,
    texts,
)
from megatron_codemix.evaluation.suites.readers.formats import Reader

READERS: dict[str, Reader] = {
    **choices.READERS,
    **answers.READERS,
    **deduction.READERS,
    **perplexity.READERS,
    **programs.READERS,
    **texts.READERS,
}
