"""Notebooks (.ipynb) as text: the cells one after another, code fenced, outputs left out.

Format: nbformat 4 (`cells`) and 3 (`worksheets`), as its documentation has them.
"""

import re

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.readers.json_lines import NotJsonError, parse_json

_BACKTICKS = re.compile(r"`{3,}")


class NotNotebookError(ValueError):
    """Some text is no notebook; the message is why, the same words for all of a kind."""


def notebook_text(data: bytes) -> tuple[str, str]:
    """(its text, its language). Raises NotNotebookError."""
    try:
        notebook = parse_json(data)
    except UnicodeError:
        raise NotNotebookError("not UTF-8") from None
    except NotJsonError:
        raise NotNotebookError("notebook that is not JSON") from None
    cells = _cells(notebook)
    if cells is None:
        raise NotNotebookError("notebook without cells")
    language = _language(notebook, cells)
    texts = [_cell_text(cell, language) for cell in cells if isinstance(cell, dict)]
    return "\n\n".join(text for text in texts if text) + "\n", language


def _cells(notebook: JsonValue) -> list[JsonValue] | None:
    if not isinstance(notebook, dict):
        return None
    cells = notebook.get("cells")
    if isinstance(cells, list):
        return cells
    sheets = notebook.get("worksheets")
    if not isinstance(sheets, list):
        return None
    found: list[JsonValue] = []
    for sheet in sheets:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        found += cells if isinstance(cells, list) else []
    return found


def _language(notebook: dict[str, JsonValue], cells: list[JsonValue]) -> str:
    """As the notebook says, else as its cells say (version 3), else Python: most are."""
    metadata = notebook.get("metadata")
    for section, name in (("kernelspec", "language"), ("language_info", "name")):
        entry = metadata.get(section) if isinstance(metadata, dict) else None
        value = entry.get(name) if isinstance(entry, dict) else None
        if isinstance(value, str) and value:
            return value.lower()
    for cell in cells:
        value = cell.get("language") if isinstance(cell, dict) else None
        if isinstance(value, str) and value:
            return value.lower()
    return "python"


def _cell_text(cell: dict[str, JsonValue], language: str) -> str:
    kind = cell.get("cell_type")
    source = cell.get("source", cell.get("input"))  # version 3 calls the source of code `input`
    text = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
    text = text.strip("\n")
    if not text.strip():
        return ""
    if kind == "code":
        longest = max(map(len, _BACKTICKS.findall(text)), default=2)
        fence = "`" * (longest + 1)
        return f"{fence}{language}\n{text}\n{fence}"
    if kind == "heading":  # of version 3
        level = cell.get("level")
        return f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {text}"
    return text
