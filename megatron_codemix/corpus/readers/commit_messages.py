"""Messages of commits, without who is named in them."""

import re

_PERSON = re.compile(r"\s*(?:[A-Za-z-]+-by|cc|author|from|co-author|committer)\s*:", re.IGNORECASE)
_TRAILER = re.compile(r"\s*[\w-]+:\s")
# The look behind keeps it from trying each end of a long word.
_MAIL = re.compile(r"(?:<|(?<![\w.+-]))[\w.+-]+@[\w-]+(?:\.[\w-]+)+>?")


def without_people(message: str) -> str:
    """The message of a commit without lines that name people; addresses elsewhere are masked."""
    lines = [line for line in message.split("\n") if not _is_of_person(line)]
    return _MAIL.sub("<EMAIL>", "\n".join(lines)).strip()


def _is_of_person(line: str) -> bool:
    """`Signed-off-by: ...`, or any trailer that ends in `<name@place>`."""
    if _PERSON.match(line):
        return True
    begin = _TRAILER.match(line)
    # Not by an expression, which takes the square of a long line's length.
    last = line[begin.end() :].split()[-1:] if begin else []
    return bool(last) and last[0].endswith(">") and "@" in last[0].partition("<")[2][1:-2]
