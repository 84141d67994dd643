"""The JSON object in answers as models really give them."""

import json

import pytest

from megatron_codemix.corpus.synthesis.model_written.json_in_text import UnreadableError, object_in

VALUE = {"name": "f", "solution": 'def f(x):\n    return {"a": [x, "}"]}  # it\'s\n'}
PLAIN = json.dumps(VALUE)
SPREAD = json.dumps(VALUE, indent=2)

ANSWERS = {
    "plain": PLAIN,
    "spread over lines": SPREAD,
    "fenced": f"```json\n{SPREAD}\n```",
    "fenced without a language": f"Here you are:\n\n```\n{PLAIN}\n```\nGood luck!",
    "words around it": f"Sure! Here it's: {PLAIN}\nI hope that helps {{or not}}.",
    "thoughts before it": f'<think>Maybe {{"name": 1, "solution": 2}}?</think>\n{PLAIN}',
    "trailing commas": SPREAD.replace('"\n}', '",\n}'),
    "comments": SPREAD.replace('"name": "f",', '"name": "f", // the name, "so" to say'),
    "comments with one quote": SPREAD.replace(
        '"name": "f",', '"name": "f", // a 5" pipe, or it\'s {\n  // 1/2"'
    ),
    "thoughts before braces that stay open": f"Well {{ <think>{{hm}}</think>\n{PLAIN}",
    "thoughts between words and it": f"Sure. {{x}} <think>{PLAIN[:20]}</think>\n{PLAIN}",
    "line breaks in strings": PLAIN.replace("\\n", "\n"),
    "in Python's notation": repr(VALUE),
    "with a triple-quoted string": (
        '{"name": "f", "solution": """def f(x):\n    return {"a": [x, "}"]}  # it\'s\n"""}'
    ),
    "an empty object before it": f"{{}} {PLAIN}",
    "another object before it": f'{{"role": "assistant"}}\n{PLAIN}',
    "within a list": f"[{PLAIN}]",
    "twice": f"{PLAIN}\n{PLAIN}",
    "more fields": json.dumps({"thought": "none", **VALUE, "extra": None}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_object_is_found(name: str) -> None:
    value = object_in(ANSWERS[name], "name", "solution")
    assert {field: value[field] for field in VALUE} == VALUE


TAGGED = {
    "name": "f",
    "solution": "def f(x):\n    return x.split('<think>')[0] + \"<thinking>\"  # </think>\n",
}
TAGGED_ANSWERS = {
    "plain": json.dumps(TAGGED),
    "spread": json.dumps(TAGGED, indent=2),
    "fenced": f"It is\n```json\n{json.dumps(TAGGED)}\n```",
    "in Python's notation": repr(TAGGED),
    "behind a thought": f"<think>A tag like {{it}}?</think>{json.dumps(TAGGED)}",
    "before words": f"{json.dumps(TAGGED)}\nI hope it helps.",
}


@pytest.mark.parametrize("name", TAGGED_ANSWERS)
def test_a_tag_in_a_solution_is_no_thought(name: str) -> None:
    assert object_in(TAGGED_ANSWERS[name], "name", "solution") == TAGGED


NOTHING = {
    "nothing": ("", "not JSON"),
    "words": ("I cannot help with that.", "not JSON"),
    "a list": ("[1, 2]", "not JSON"),
    "cut off": (PLAIN[:-5], "cut off"),
    "cut off in a fence": (f"```json\n{SPREAD[:40]}", "cut off"),
    "thoughts without an end": (f"<think>{PLAIN}", "not JSON"),
    "another object": ('{"name": "f"}', "no field solution"),
    "nested without an end": ('{"a": ' * 5000, "cut off"),
    "nested deeply": ('{"a": ' * 5000 + "1" + "}" * 5000, "not JSON"),
    "braces alone": ("{" * 100_000, "cut off"),
    "braces and thoughts": ("{<think>" * 20_000, "cut off"),
    "many thoughts": ("{}<think></think>" * 10_000, "no field"),
    "a hostile expression": ('{"name": __import__("os").system("true")}', "not JSON"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_not_there_is_said(name: str) -> None:
    text, said = NOTHING[name]
    with pytest.raises(UnreadableError, match=said):
        object_in(text, "name", "solution")
