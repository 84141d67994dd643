"""A model on loopback that writes exercises: what it answers is known, in as many manners as models
have."""

import json
import re

from tests.helpers.endpoint_server import Question, Reply

# name, statement, solution, another solution, inputs
EXERCISES = [
    (
        "count_above",
        "Write `count_above(values: list[int], border: int) -> int`. It returns how many of the "
        "values are greater than the border.",
        "def count_above(values: list[int], border: int) -> int:\n    count = 0\n"
        "    for value in values:\n        if value > border:\n            count += 1\n"
        "    return count\n",
        "def count_above(values, border):\n    return sum(v > border for v in values)\n",
        ["[], 3", "[5], 5", "[6], 5", "[1, 9, 4], 3", "[7, 7], 2", "[-1, 0, 8, 3], 0"],
    ),
    (
        "longest_word",
        "`longest_word(text: str) -> str` finds the longest word of a text, words being what white "
        "space separates; the first of several equally long ones, the empty text without any.",
        "def longest_word(text: str) -> str:\n    best = ''\n    for word in text.split():\n"
        "        if len(word) > len(best):\n            best = word\n    return best\n",
        "def longest_word(text):\n    words = text.split()\n"
        "    return max(words, key=len) if words else ''\n",
        ["''", "'a'", "'one three two'", "'ab cd'", "'  x  yyy zz '", "'aaa bb aaaa'"],
    ),
    (
        "running_totals",
        "Given a list of integers, `running_totals(amounts: list[int]) -> list[int]` gives after "
        "each of them the sum of all up to there, never letting it fall below zero.",
        "def running_totals(amounts: list[int]) -> list[int]:\n    totals = []\n    total = 0\n"
        "    for amount in amounts:\n        total = max(0, total + amount)\n"
        "        totals.append(total)\n    return totals\n",
        "def running_totals(amounts):\n    out = []\n    for one in amounts:\n"
        "        last = out[-1] if out else 0\n        now = last + one\n"
        "        out.append(now if now > 0 else 0)\n    return out\n",
        ["[]", "[1]", "[-1]", "[3, -5, 2]", "[1, 2, 3]", "[5, -1, -1, -9, 4]"],
    ),
    (
        "tally",
        "Implement `tally(letters: str) -> dict[str, int]`, a dictionary that says how often each "
        "lower-case letter occurs; capitals count as their lower-case form, others not at all.",
        "def tally(letters: str) -> dict[str, int]:\n    counts: dict[str, int] = {}\n"
        "    for letter in letters.lower():\n        if letter.isalpha():\n"
        "            counts[letter] = counts.get(letter, 0) + 1\n    return counts\n",
        "from collections import Counter\n\ndef tally(letters):\n"
        "    return dict(Counter(c for c in letters.lower() if c.isalpha()))\n",
        ["''", "'a'", "'aA'", "'b a b!'", "'12'", "'Hello'"],
    ),
    (
        "first_gap",
        "Numbers of seats from 1 on are taken: `first_gap(taken: set[int]) -> int` is the smallest "
        "positive number that is free.",
        "def first_gap(taken: set[int]) -> int:\n    seat = 1\n    while seat in taken:\n"
        "        seat += 1\n    return seat\n",
        "def first_gap(taken):\n    return min(set(range(1, len(taken) + 2)) - taken)\n",
        ["set()", "{1}", "{2}", "{1, 2, 4}", "{3, 1}", "{5, 6}"],
    ),
    (
        "merge_spans",
        "`merge_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]`: closed intervals "
        "that touch or overlap become one; the result is sorted by where they begin.",
        "def merge_spans(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:\n"
        "    merged: list[tuple[int, int]] = []\n    for low, high in sorted(spans):\n"
        "        if merged and low <= merged[-1][1]:\n"
        "            merged[-1] = (merged[-1][0], max(merged[-1][1], high))\n        else:\n"
        "            merged.append((low, high))\n    return merged\n",
        "def merge_spans(spans):\n    out = []\n    for a, b in sorted(spans):\n"
        "        if not out or a > out[-1][1]:\n            out.append((a, b))\n"
        "        elif b > out[-1][1]:\n            out[-1] = (out[-1][0], b)\n    return out\n",
        ["[]", "[(1, 2)]", "[(1, 2), (2, 3)]", "[(4, 5), (1, 2)]", "[(1, 9), (2, 3)]",
         "[(0, 1), (3, 4), (1, 3)]"],
    ),
]  # fmt: skip

_TOPIC = re.compile(r"Topic (\d+)\.")
_NAME = re.compile(r"defines `(\w+)`")


def is_first_request(question: Question) -> bool:
    return "The document:" in question.text


def topic_of(question: Question) -> int:
    """The number in the document that was shown."""
    found = _TOPIC.search(question.text)
    assert found is not None, question.text
    return int(found[1])


def answer(question: Question) -> Reply:
    """An exercise for a document's topic; another solution for a statement."""
    if is_first_request(question):
        name, statement, solution, _, inputs = EXERCISES[topic_of(question) % len(EXERCISES)]
        record = {"name": name, "statement": statement, "solution": solution, "inputs": inputs}
        return Reply(json.dumps(record))
    named = _NAME.search(question.text)
    assert named is not None, question.text
    [second] = [one[3] for one in EXERCISES if one[0] == named[1]]
    return Reply(json.dumps({"solution": second}))


def document_text(topic: int) -> str:
    return f"Topic {topic}. " + "What is said about it is long enough to be shown. " * 6
