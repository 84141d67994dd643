"""Notebooks: cells in order, code fenced, outputs left out; what is none is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.corpus.readers import InputFile, RecordForm, Skipped, read_documents
from megatron_codemix.corpus.readers.notebook import notebook_text

CELLS: list[dict[str, Any]] = [
    {"cell_type": "markdown", "source": ["# Title\n", "some words"]},
    {
        "cell_type": "code",
        "source": "x = 1\nprint(x)\n",
        "outputs": [{"output_type": "stream", "text": ["SECRET OUTPUT"]}],
        "execution_count": 7,
    },
    {"cell_type": "code", "source": [], "outputs": []},
    {"cell_type": "raw", "source": "as it is"},
    {"cell_type": "code", "source": ["doc = '''\n", "```\n", "````text\n", "'''"]},
]
PYTHON = {"kernelspec": {"language": "Python", "name": "python3"}}
TEXT = """# Title
some words

```python
x = 1
print(x)
```

as it is

`````python
doc = '''
```
````text
'''
`````
"""


def notebook(metadata: Any = PYTHON, cells: Any = CELLS) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def write(path: Path, value: Any) -> InputFile:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return InputFile(path, path.name)


def test_cells_are_flattened(tmp_path: Path):
    (document,) = read_documents([write(tmp_path / "a.ipynb", notebook())], "code", Skipped())
    assert document.text == TEXT
    assert document.metadata == {"language": "python"}
    assert (document.id, document.origin) == ("a.ipynb", "a.ipynb")


def test_the_texts_of_all_cells_are_there_and_nothing_else():
    text, _ = notebook_text(json.dumps(notebook()).encode())
    left = text
    for cell in CELLS:
        source = "".join(cell["source"]).strip("\n")
        assert source in left
        left = left.replace(source, "", 1)
    assert set(left.replace("python", "")) <= set("`\n")


def test_the_third_version_of_the_format_is_read():
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Title"},
        {"cell_type": "code", "language": "julia", "input": ["x = 1"], "outputs": [{"text": "1"}]},
    ]
    old = {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}
    text, language = notebook_text(json.dumps(old).encode())
    assert language == "julia"
    assert text == "## Title\n\n```julia\nx = 1\n```\n"


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"language_info": {"name": "R"}}, "r"),
        ({}, "python"),
        (None, "python"),
        ({"kernelspec": {"language": 3}}, "python"),
        ([], "python"),
    ],
)
def test_the_language_is_what_the_notebook_says(metadata: Any, language: str):
    assert notebook_text(json.dumps(notebook(metadata)).encode())[1] == language


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"cells": [', "notebook that is not JSON"),
        ("<html>", "notebook that is not JSON"),
        ("", "notebook that is not JSON"),
        ("[" * 100_000, "notebook that is not JSON"),
        ("[]", "notebook without cells"),
        ("{}", "notebook without cells"),
        ('{"cells": 3, "worksheets": "x"}', "notebook without cells"),
        ('{"cells": []}', "empty"),
        ('{"cells": [3, null, {"cell_type": "code"}, {"source": 5}]}', None),
        ('{"cells": [{"cell_type": "code", "source": "\\ud800"}]}', "not UTF-8"),
    ],
)
def test_what_is_no_notebook_is_counted(tmp_path: Path, content: str, reason: str | None):
    whole = write(tmp_path / "whole.ipynb", notebook())
    skipped = Skipped()
    documents = list(read_documents([write(tmp_path / "a.ipynb", content), whole], "code", skipped))
    assert documents[-1].text == TEXT
    assert skipped.names == ({} if reason is None else {reason: ["a.ipynb"]})


def test_a_notebook_in_a_record_is_flattened(tmp_path: Path):
    lines = [
        json.dumps({"id": name, "content": content})
        for name, content in (("a", json.dumps(notebook())), ("b", "no notebook"))
    ]
    file = write(tmp_path / "a.jsonl", "\n".join(lines))
    skipped = Skipped()
    form = RecordForm(text_field="content", text_form="notebook")
    (document,) = read_documents([file], "code", skipped, form)
    assert (document.id, document.text) == ("a", TEXT)
    assert document.metadata["language"] == "python"
    assert skipped.names == {"notebook that is not JSON": ["a.jsonl:2"]}
