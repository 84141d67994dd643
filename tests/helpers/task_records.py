"""A few records of each task, of our own, in the form in which the task is published."""

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]

STORY = {f"input_sentence_{number}": f"Sentence {number}." for number in range(1, 5)}
HUB: dict[str, list[Record]] = {
    "boolq": [
        {"passage": "Tea -- Tea is a drink.", "question": "is tea a drink", "label": 1},
        {"passage": "Tea -- Tea grows.", "question": "does tea sing", "label": 0},
    ],
    "piqa": [
        {"goal": "Open a jar.", "sol1": "Turn its lid.", "sol2": "Sing to it.", "label": 0},
        {"goal": "Dry a plate", "sol1": "drown it", "sol2": "wipe it", "label": 1},
    ],
    "sciq": [
        {
            "question": "What do plants take in?",
            "distractor1": "gold",
            "distractor2": "sand",
            "distractor3": "tea",
            "correct_answer": "water",
            "support": "\nPlants take in water.",
        }
    ],
    "social_iqa": [
        {
            "context": "Kim lent Lee a pen.",
            "question": "What will Lee do next?",
            "answerA": "write",
            "answerB": "fly away",
            "answerC": "sing",
            "label": "1",
        },
        {
            "context": "Kim fell.",
            "question": "How does Kim feel?",
            "answerA": "rich",
            "answerB": "wooden",
            "answerC": "hurt",
            "label": "3",
        },
    ],
    "cb": [
        {"premise": "I know it rains.", "hypothesis": "it rains", "label": 0},
        {"premise": "I doubt it rains.", "hypothesis": "it rains", "label": 2},
        {"premise": "It is not dry.", "hypothesis": "it is dry", "label": 1},
    ],
    "copa": [
        {
            "premise": "The cup broke.",
            "question": "cause",
            "choice1": "It fell.",
            "choice2": "It was blue.",
            "label": 0,
        },
        {
            "premise": "It rained. ",
            "question": "effect",
            "choice1": "We flew.",
            "choice2": "We got wet.",
            "label": 1,
        },
    ],
    "storycloze_2016": [
        {**STORY, "sentence_quiz1": "It ended.", "sentence_quiz2": "No.", "answer_right_ending": 1},
        {**STORY, "sentence_quiz1": "No.", "sentence_quiz2": "Well.", "answer_right_ending": 2},
    ],
    "hellaswag": [
        {
            "activity_label": "Baking",
            "ctx_a": "[header] How to bake [title] Mix  it.",
            "ctx_b": "then THE oven",
            "endings": ["is [step] hot.", "sings.", "flies.", "sleeps."],
            "label": "0",
        },
        {
            "activity_label": "Running",
            "ctx_a": "A man runs.",
            "ctx_b": "",
            "endings": ["He stops.", "He is a cup.", "He melts.", "He is tea."],
            "label": "3",
        },
    ],
    "winogrande": [
        {
            "sentence": "The cup did not fit the bag as _ was too big.",
            "option1": "the cup",
            "option2": "the bag",
            "answer": "1",
        },
        {"sentence": "Ann paid Sue, so _ was rich.", "option1": "Ann", "option2": "Sue",
         "answer": "2"},
    ],
    "arc_easy": [
        {
            "question": "What is wet?",
            "choices": {"text": ["sand", "water", "gold"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        },
        {
            "question": "What is hot?",
            "choices": {"text": ["ice", "fire", "snow", "rain"], "label": ["1", "2", "3", "4"]},
            "answerKey": "2",
        },
    ],
}  # fmt: skip


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def write_all(folder: Path, names: list[str]) -> Path:
    """A data folder with the records of some tasks."""
    for name in names:
        write_lines(folder / f"{name}.jsonl", HUB[name])
    return folder
