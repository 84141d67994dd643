"""A few records of each task, of our own, in the form in which the task is published."""

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]

STORY = {f"input_sentence_{number}": f"Sentence {number}." for number in range(1, 5)}
HUB: dict[str, list[Any]] = {
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
    "triviaqa": [
        {"question": "What is wet?", "answer": {"aliases": ["Water", "The sea"], "value": "Water"}},
        {"question": "Who sang", "answer": {"aliases": ["A bird"], "value": "A bird"}},
    ],
    "nq_open": [
        {"question": "when did it rain", "answer": ["May 5", "the 5th of May"]},
        {"question": "who fell", "answer": ["Kim"]},
    ],
    "gsm8k": [
        {
            "question": "Two cups and 1,000 more?",
            "answer": "2+1000=<<2+1000=1002>>1,002\n#### 1,002",
        },
        {"question": "One less?", "answer": "It is 1.\n#### 1"},
    ],
    "humaneval": [
        {
            "task_id": "Ours/0",
            "prompt": 'def one_more(x: int) -> int:\n    """The next number."""\n',
            "entry_point": "one_more",
            "canonical_solution": "    return x + 1\n",
            "test": "def check(candidate):\n    assert candidate(1) == 2\n",
        },
        {
            "task_id": "Ours/1",
            "prompt": 'def as_text(x: int) -> str:\n    """{{ Its digits }}"""\n',
            "entry_point": "as_text",
            "canonical_solution": "    return str(x)\n",
            "test": "def check(candidate):\n    assert candidate(12) == '12'\n",
        },
    ],
    "mbpp": [
        {
            "task_id": 11,
            "text": "Write a function that adds one.",
            "code": "def add(x):\r\n    return x + 1",
            "test_setup_code": "",
            "test_list": ["assert add(1) == 2", "assert add(2) == 3", "assert add(-1) == 0"],
            "challenge_test_list": [],
        },
        {
            "task_id": 12,
            "text": "Write a function that doubles.",
            "code": "def twice(x):\n    return 2 * x",
            "test_setup_code": "",
            "test_list": ["assert twice(1) == 2", "assert twice(2) == 4", "assert twice(0) == 0"],
            "challenge_test_list": [],
        },
    ],
    "ceval_logic": [
        {"question": "p?", "A": "a", "B": "b", "C": "c", "D": "d", "answer": "C"},
    ],
    "jec_qa_kd": [
        {"question": "q?", "options": ["(A)a", "(B)b", "(C)c", "(D)d"], "label": ["B"]},
        {"question": "r?", "options": ["(A)a", "(B)b", "(C)c", "(D)d"], "label": ["A", "B"]},
    ],
    "scienceqa": [
        {
            "question": "What is wet?",
            "choices": ["water", "sand"],
            "answer": 0,
            "lecture": "Things are wet or dry.",
            "solution": "Water is wet.",
        },
        {"question": "?", "choices": ["a", "b"], "answer": 1, "lecture": "", "solution": "s"},
    ],
    "ekar": [
        {
            "question": "cup:tea",
            "choices": {"label": ["A", "B"], "text": ["bowl:soup", "tea:cup"]},
            "answerKey": "A",
            "explanation": ["a cup holds tea", "a bowl holds soup", "tea holds no cup"],
        }
    ],
    "cosqa": [
        {"doc": "python add one", "code": "def f(x): return x + 1", "label": 1},
        {"doc": "python add two", "code": "def f(x): return x + 1", "label": 0},
    ],
    "c3": [
        [["Ann: I fell.", "Sue: Again?"], [{"question": "Who fell?", "choice": ["Sue", "Ann"],
                                            "answer": "Ann"}], "d-1"],
    ],
    "ocnli": [
        {"sentence1": "It rains", "sentence2": "it is wet", "label": "entailment"},
        {"sentence1": "It rains", "sentence2": "it is May", "label": "neutral"},
        {"sentence1": "It rains", "sentence2": "it is dry", "label": "contradiction"},
        {"sentence1": "It rains", "sentence2": "well", "label": "-"},
    ],
    "logical_deduction_three_objects": [
        {
            "input": "A is left of B, B of C. What is leftmost?",
            "target_scores": {"A is.": 1, "B is.": 0, "C is.": 0},
        },
        {
            "input": "C is left of B, B of A. What is leftmost?",
            "target_scores": {"A is.": 0, "B is.": 0, "C is.": 1},
        },
    ],
    "quac": [
        {
            "data": [
                {
                    "title": "Tea",
                    "section_title": "Origin",
                    "paragraphs": [
                        {
                            "context": "Tea is from China. It came to Japan. CANNOTANSWER",
                            "qas": [
                                {
                                    "question": "Where is it from?",
                                    "answers": [{"text": "from China"}, {"text": "China."}],
                                    "orig_answer": {"text": "from China"},
                                },
                                {
                                    "question": "Who sold it?",
                                    "answers": [{"text": "CANNOTANSWER"}, {"text": "It came"}],
                                    "orig_answer": {"text": "CANNOTANSWER"},
                                },
                                {
                                    "question": "Is this disputed?",
                                    "answers": [{"text": "Japan"}, {"text": "China"}],
                                    "orig_answer": {"text": "Japan"},
                                },
                            ],
                        }
                    ],
                }
            ]
        }
    ],
    "dureader": [
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": " Tea is green. ",
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "Which colour?",
                                    "answers": [{"text": "green"}],
                                }
                            ],
                        }
                    ]
                }
            ]
        }
    ],
    "code_bpb": [{"text": "def f(x):\n    return x\n"}, {"text": "x = 1\n"}],
    "text_bpb": [{"text": "Tea is a drink."}, {"text": "\u00dcber Tee."}],
}  # fmt: skip
HUB["cmnli"] = HUB["ocnli"]
HUB["jec_qa_ca"] = HUB["jec_qa_kd"]
for _name, _count in (("five", 5), ("seven", 7)):
    _scores = {f"Object {number}.": int(number == 3) for number in range(_count)}
    HUB[f"logical_deduction_{_name}_objects"] = [{"input": "Which?", "target_scores": _scores}]
SAME_DATA = {
    "ekar_cot": "ekar",
    "scienceqa_cot": "scienceqa",
    "humaneval_bpb": "humaneval",
    "mbpp_bpb": "mbpp",
    "mbpp_bleu": "mbpp",
}


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def write_all(folder: Path, names: list[str]) -> Path:
    """A data folder with the records of some tasks."""
    for name in {SAME_DATA.get(name, name) for name in names}:
        write_lines(folder / f"{name}.jsonl", HUB[name])
    return folder
