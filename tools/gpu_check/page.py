"""Results as the tables of docs/gpu_results.md."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megatron_codemix.errors import RunError
from tools.gpu_check.checkpoints import names as checkpoint_names
from tools.gpu_check.gpu_tests import names_of_files
from tools.gpu_check.losses import fp8_names, loss_names

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
NOT_MEASURED = "not measured"

Json = Mapping[str, Any]


def put_into(page: str, results: Json | None) -> str:
    """The page with its tables made from `results`; None: from none. Raises RunError where it has
    no place for them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise RunError(f"no place for results: the lines {BEGIN} and {END} are not there")
    return "\n".join([head + BEGIN, *_tables(results or {"sections": {}}), END + tail])


def _tables(results: Json) -> Iterator[str]:
    yield _origin(results)
    yield ""
    yield "| section | check | result | found | bound, nats |"
    yield "|---|---|---|---:|---:|"
    for section, names in expected_checks().items():
        yield from _rows(section, names, results["sections"].get(section, {}))
    yield ""
    yield from _benchmarks(results["sections"].get("benchmark", {}))


def expected_checks() -> dict[str, Sequence[str]]:
    """What a check of a machine with a GPU has to say, by section."""
    return {
        "tests": names_of_files(),
        "losses": loss_names(),
        "fp8": fp8_names(),
        "checkpoints": checkpoint_names(),
    }


def _origin(results: Json) -> str:
    if "machine" not in results:
        return f"{NOT_MEASURED.capitalize()}: no machine with a GPU has run it yet."
    machine = results["machine"]
    card = machine["card"] or "a machine without a GPU"
    checks = results["sections"].get("machine", {}).get("checks", [])
    parts = [f"{check['name']} {check['detail']}" for check in checks if "gpu:" in check["name"]]
    of = f"commit `{results['commit']}`, sources `{machine['sources']}`"
    place = f"{card}, torch {machine['torch']}, {of}, {results['date']}."
    return " ".join([place, *(f"{_cell(part)}." for part in parts)])


def _rows(section: str, names: Sequence[str], found: Json) -> Iterator[str]:
    checks = {check["name"]: check for check in found.get("checks", [])}
    others = [name for name in checks if name not in names]
    for name in [*names, *others]:
        check = checks.get(name, {"status": NOT_MEASURED})
        value, bound = check.get("value"), check.get("bound")
        numbers = ["" if value is None else f"{value:.2g}", "" if bound is None else f"{bound:g}"]
        yield "| " + " | ".join([section, name, _result(check), *numbers]) + " |"


def _result(check: Json) -> str:
    """Of what was not measured or has failed the reason, and of the tests' files how many there
    were."""
    if check["status"] == "passed" and "value" not in check:
        return _cell(check.get("detail", "passed"))
    if check["status"] == "skipped":
        return _cell(f"{NOT_MEASURED}: {check.get('detail', '')}")
    if check["status"] == "failed" and "detail" in check:
        return _cell(f"failed: {check['detail']}")
    return str(check["status"])


def _benchmarks(section: Json) -> Iterator[str]:
    checks = section.get("checks", [])
    rows = [_plain(row) for check in checks for row in check.get("rows", [])]
    for check in checks:
        if check["status"] == "failed":
            yield f"{check['name']}: {_result(check)}."
            yield ""
    if not rows:
        yield f"A benchmark's rows (`codemix bench train --gpu`): {NOT_MEASURED}."
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    yield "| " + " | ".join(columns) + " |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield "| " + " | ".join(_cell(_number(row.get(key, ""))) for key in columns) + " |"


def _plain(row: Json) -> dict[str, str | float]:
    """What a cell can hold; the file has the rest."""
    return {key: value for key, value in row.items() if isinstance(value, (str, int, float))}


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
