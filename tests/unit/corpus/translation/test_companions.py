"""Problems of the grammar in JavaScript: documents that hold what they say, and are found out where
they do not."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.statistics.count import count_corpus
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.statistics.summary import summarise
from megatron_codemix.corpus.store import source_files
from megatron_codemix.corpus.synthesis import synthesize as module
from megatron_codemix.corpus.synthesis.synthesize import synthesize
from megatron_codemix.corpus.synthesis.translation.companions import Translator
from megatron_codemix.corpus.synthesis.translation.documents import (
    SHAPES,
    Exercise,
    write_document,
)
from megatron_codemix.corpus.synthesis.translation.engine import Engine
from megatron_codemix.corpus.synthesis.translation.javascript import Unlike
from megatron_codemix.corpus.synthesis.translation.recheck import recheck_all
from megatron_codemix.corpus.synthesis.translation.translate import Draft
from megatron_codemix.corpus.synthesis.translation.wording import in_javascript
from megatron_codemix.corpus.synthesis.verification.batch import Verified
from megatron_codemix.corpus.synthesis.verify import verify_corpus

COUNT = 40
SIZES = {"block_candidates": 30, "part_documents": 25}
COUNTED = CountOptions(num_samples=1, seed=1, validation_fraction=0.1, has_pieces=False)


@pytest.fixture(scope="module")
def corpus(isolation: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "out"
    synthesize(out, count=COUNT, seed=5, languages=["javascript"], **SIZES)
    return out


def documents_of(folder: Path, source: str) -> list[Document]:
    return list(read_documents(source_files(folder)[source], source, Skipped()))


def test_each_problem_has_its_translation_beside_it(corpus: Path) -> None:
    python = {one.id: one for one in documents_of(corpus, "synthetic")}
    translated = documents_of(corpus, "synthetic_javascript")
    assert len(python) == COUNT
    assert 0.9 * COUNT <= len(translated) <= COUNT
    for one in translated:
        original = python[one.metadata["translation_of"]["document"]]
        assert one.origin == original.origin
        assert one.metadata["method"] == "translation"
        assert one.metadata["language"] == "javascript"
        assert one.metadata["tests"] == original.metadata["tests"]
        sources = [each["source"] for each in original.metadata["solutions"]]
        assert one.metadata["translation_of"]["source"] in sources


def test_python_is_the_same_with_and_without_translations(corpus: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "out", count=COUNT, seed=5, **SIZES)
    both = (corpus, tmp_path / "out")
    one, other = ([each.to_record() for each in documents_of(place, "synthetic")] for place in both)
    assert one == other


def test_the_same_again_by_more_workers(corpus: Path, tmp_path: Path) -> None:
    again = tmp_path / "out"
    synthesize(again, count=COUNT, seed=5, languages=["javascript"], workers=2, **SIZES)
    for path in sorted(corpus.rglob("*.zst")):
        assert path.read_bytes() == (again / path.relative_to(corpus)).read_bytes()


class Reluctant(Translator):
    """Does not translate every third problem of a block."""

    def companions(
        self, problems: Sequence[tuple[Verified, Document, str]]
    ) -> list[Document | Unlike]:
        found = super().companions(problems)
        return [one if place % 3 else Unlike("fails", "") for place, one in enumerate(found)]


def test_what_is_not_translated_is_left_out_of_the_translations_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Translator", Reluctant)
    out = tmp_path / "out"
    for _ in ("made", "there already"):
        result = synthesize(out, count=COUNT, seed=5, languages=["javascript"], **SIZES)
        num_translated = len(documents_of(out, "synthetic_javascript"))
        assert 0.5 * COUNT < num_translated < 0.8 * COUNT
        assert result.rejected["translation: fails"] == COUNT - num_translated
    (stage,) = summarise(out, count_corpus(out, COUNTED))["stages"]
    python, translations = (
        stage["sources"][name] for name in ("synthetic", "synthetic_javascript")
    )
    assert python["kept"] == translations["read"] == COUNT
    assert translations["kept"] == num_translated
    assert not any(reason.startswith("translation") for reason in python["dropped"])


def test_it_verifies_from_its_files_alone(corpus: Path) -> None:
    found = verify_corpus(corpus)
    assert found.failed == 0, found.first_failures
    assert found.documents > 1.9 * COUNT
    assert "both languages" in found.shapes


SOURCE = """
from dataclasses import dataclass

@dataclass
class Box:
    size: int

def pack(boxes: list[Box], limits: dict[str, int]) -> dict[str, list[int]]:
    return {name: [one.size for one in boxes if one.size < limit] for name, limit in limits.items()}
"""
TESTS: list[Any] = [
    ([[], []], []),
    ([[[4]], [["a", 5], ["b", 1]]], [["a", [4]], ["b", []]]),
]


def exercise() -> Exercise:
    return Exercise(
        title="Pack",
        statement="Write `pack`, which `does it`.",
        python_statement="Write `pack`.",
        python_solution=SOURCE,
        translation=Draft(SOURCE, "pack").finished(),
        tests=TESTS,
    )


def document(shape: str) -> Document:
    """Of that shape."""
    written = exercise()
    text = next(one for one in SHAPES if one.name == shape).write(written, Random(1))
    translation = written.translation
    metadata = {
        "solutions": [{"style": "loop", "source": translation.text}],
        "tests": [
            {"arguments": "[], {}", "expected": "{}"},
            {
                "arguments": '[Box(size=4)], {"a": 5, "b": 1}',
                "expected": '{"a": [4], "b": []}',
            },
        ],
        "interface": {
            "entry": translation.entry,
            "exports": list(translation.exports),
            "parameters": list(translation.parameters),
            "returns": translation.returns,
        },
    }
    return Document("d", "synthetic_javascript", "d", "d", None, text, metadata)


@pytest.mark.parametrize("shape", [one.name for one in SHAPES])
def test_each_shape_holds_what_it_says(shape: str, javascript_engine: Engine) -> None:
    assert recheck_all([document(shape)], javascript_engine) == [None]


TAMPERED = {
    "an operator of the solution": ("module", "solution", "one.size < limit", "one.size <= limit"),
    "an operator of the text": ("module", "text", "one.size < limit", "one.size > limit"),
    "an assertion": ("exercise", "text", '["a", [4]]', '["a", [5]]'),
    "an example in a comment": ("documented", "text", '// new Map([["a"', '// new Map([["c"'),
    "an example in a sentence": (
        "question", "text", 'gives `new Map([["a"', 'gives `new Map([["c"',
    ),
    "the syntax": ("both languages", "text", "function pack(", "function pack(("),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_is_found(name: str, javascript_engine: Engine) -> None:
    shape, where, old, new = TAMPERED[name]
    right = document(shape)
    if where == "text":
        assert old in right.text
        wrong = replace(right, text=right.text.replace(old, new, 1))
    else:
        text = json.dumps(dict(right.metadata))
        source = right.metadata["solutions"][0]["source"]
        harder = source.replace(old, new) + "\n"
        metadata = {**json.loads(text), "solutions": [{"style": "", "source": harder}]}
        metadata["tests"].append({"arguments": '[Box(size=4)], {"a": 4}', "expected": '{"a": []}'})
        wrong = replace(right, metadata=metadata)
    assert recheck_all([right, wrong, right], javascript_engine)[::2] == [None, None]
    assert recheck_all([wrong], javascript_engine) != [None]


def test_printed_lines_are_compared_with_what_is_said(javascript_engine: Engine) -> None:
    source = "def double(n: int) -> int:\n    return 2 * n\n"
    translation = Draft(source, "double").finished()
    written = replace(exercise(), translation=translation, tests=[([3], 6), ([5], 10), ([7], 14)])
    text = next(one for one in SHAPES if one.name == "script").write(written, Random(1))
    assert "console.log(double(3)); // 6" in text
    metadata = {
        "solutions": [{"style": "loop", "source": translation.text}],
        "tests": [{"arguments": "3", "expected": "6"}],
        "interface": {
            "entry": "double", "exports": ["double"], "parameters": ["int"], "returns": "int",
        },
    }  # fmt: skip
    right = Document("d", "s", "d", "d", None, text, metadata)
    wrong = replace(right, text=text.replace("// 10", "// 11"))
    first, second = recheck_all([right, wrong], javascript_engine)
    assert first is None
    assert second is not None
    assert '"10"' in second


def as_written(code: str, shown: str) -> Document:
    """A text around a function that gives nothing which is looked at."""
    source = "function seven() {\n  return 7;\n}\n"
    metadata = {
        "solutions": [{"style": "loop", "source": source}],
        "tests": [{"arguments": "", "expected": "7"}],
        "interface": {"entry": "seven", "exports": ["seven"], "parameters": [], "returns": "int"},
    }
    return Document("d", "s", "d", "d", None, f"{code}\n{shown}\n", metadata)


ZERO = "function times(a, b) {\n  return a * b;\n}"
STRICT = 'const assert = require("node:assert");\n'
OF_ZERO = {
    "strict": (STRICT + "assert.strictEqual(times(0, -3), {0});", ""),
    "deep": (STRICT + "assert.deepStrictEqual([times(0, -3)], [{0}]);", ""),
    "in a record": (STRICT + "assert.deepStrictEqual({{ a: times(0, -3) }}, {{ a: {0} }});", ""),
    "as a value of a map": (
        STRICT + "assert.deepStrictEqual(new Map([[1, times(0, -3)]]), new Map([[1, {0}]]));", "",
    ),
    "as a key of a map": (
        STRICT + "assert.deepStrictEqual(new Map([[times(0, -3), 1]]), new Map([[{0}, 1]]));",
        "any",
    ),
    "as a member of a set": (
        STRICT + "assert.deepStrictEqual(new Set([times(0, -3)]), new Set([{0}]));", "any",
    ),
    "printed": ("console.log(times(0, -3)); // {0}", "printed"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ZERO)
def test_zeros_are_told_apart_as_node_does(
    name: str, javascript_engine: Engine, tmp_path: Path
) -> None:
    """0 * -3 is -0. What is said of it is right or wrong as in Node, where that is installed."""
    form, kind = OF_ZERO[name]
    texts = {value: form.format(value) for value in ("-0", "0")}
    found = recheck_all([as_written(ZERO, one) for one in texts.values()], javascript_engine)
    holds = dict(zip(texts, (one is None for one in found), strict=True))
    assert holds == {"-0": True, "0": kind == "any"}, found
    if (node := shutil.which("node")) is None:
        return
    for value, text in texts.items():
        script = tmp_path / "one.js"
        script.write_text(f"{ZERO}\n{text}\n", encoding="utf-8")
        done = subprocess.run([node, script], capture_output=True, text=True, check=False)
        is_right = done.stdout.strip() == value if kind == "printed" else done.returncode == 0
        assert holds[value] == is_right, done.stderr


def test_all_shapes_come_up() -> None:
    drawn = Counter(write_document(exercise(), Random(seed))[0] for seed in range(200))
    assert set(drawn) == {one.name for one in SHAPES}


def test_results_that_node_cannot_compare_are_not_asserted() -> None:
    source = "def pairs(n: int) -> set[tuple[int, int]]:\n    return {(n, n)}\n"
    written = replace(
        exercise(), translation=Draft(source, "pairs").finished(), tests=[([1], [[1, 1]])]
    )
    assert {write_document(written, Random(seed))[0] for seed in range(20)} == {"both languages"}


STATEMENTS = {
    "names and constants": (
        "Write `max_value(first_one)`; `None` if `first_one` is `True`.",
        "Write `maxValue(firstOne)`; `null` if `firstOne` is `true`.",
    ),
    "terms with their articles": (
        "A list of tuples becomes a dictionary or an empty list; lists and dictionaries stay.",
        "An array of arrays becomes a map or an empty array; arrays and maps stay.",
    ),
    "tuples in code": ("`(first, second)` and `f(a, b)`", "`[first, second]` and `f(a, b)`"),
    "quoted text is left alone": ('join with `"max_value"`', 'join with `"max_value"`'),
    "a verb": ("`rooms` lists the rooms", "`rooms` lists the rooms"),
    "a map that is looked into": (
        "`rooms[n]` and `rooms[n + 1]`", "`rooms.get(n)` and `rooms.get(n + 1)`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_speak_of_the_other_language(name: str) -> None:
    python, javascript = STATEMENTS[name]
    names = {"max_value": "maxValue", "first_one": "firstOne"}
    assert in_javascript(python, lambda one: names.get(one, one), maps={"rooms"}) == javascript
