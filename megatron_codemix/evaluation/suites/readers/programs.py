"""Data of the tasks that are answered by a program."""

from dataclasses import replace

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


def _mbpp_sanitized(record: Fields) -> Document:
    """All of its 427 problems, whatever their split."""
    return {
        "task_id": int(record["task_id"]),
        "text": text(record, "prompt"),
        "code": text(record, "code"),
        "test_setup_code": "\n".join(texts(record["test_imports"], "test_imports", at_least=0)),
        "test_list": texts(record["test_list"], "test_list"),
    }


_MBPP_FORMAT = Format("the hub's or its authors'", ("task_id", "text", "test_list"), _mbpp)
MBPP = Reader([_MBPP_FORMAT])
MBPP_SANITIZED = Reader(
    [
        Format("sanitized", ("task_id", "prompt", "test_imports", "test_list"), _mbpp_sanitized),
        replace(_MBPP_FORMAT, note="the 500 problems of the test split, not the paper's 427"),
    ]
)

READERS = {"humaneval": HUMAN_EVAL, "mbpp": MBPP, "mbpp_sanitized": MBPP_SANITIZED}
