"""Data of the tasks that are answered by a program."""

from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    text,
    texts,
)

_MBPP_TEST_SPLIT = range(11, 511)


def _human_eval(record: Fields) -> Document:
    names = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
    return {name: text(record, name) for name in names}


HUMAN_EVAL = Reader([Format("the hub's or its authors'", ("prompt", "entry_point"), _human_eval)])


def _mbpp(record: Fields) -> Document | None:
    """Of the test split: prompts need three tests, and all of its problems have them."""
    number = int(record["task_id"])
    if number not in _MBPP_TEST_SPLIT:
        return None
    return {
        "task_id": number,
        "text": text(record, "text"),
        "code": text(record, "code"),
        "test_setup_code": text(record, "test_setup_code"),
        "test_list": texts(record["test_list"], "test_list", at_least=3),
    }


MBPP = Reader([Format("the hub's or its authors'", ("task_id", "text", "test_list"), _mbpp)])

READERS = {"humaneval": HUMAN_EVAL, "mbpp": MBPP}
