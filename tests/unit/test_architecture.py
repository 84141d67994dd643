"""The rules of the architecture, checked on the source itself: a rule in a document decays."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "megatron_codemix"

_FOUNDATION = {
    "errors", "units", "files", "garbage", "locks", "processes", "stops", "workers", "resources",
}  # fmt: skip
_RUN = {
    "run_status", "runs", "run_checkpoints", "checkpoints", "ledgers", "results", "lineage",
}  # fmt: skip
_LOW = _FOUNDATION | _RUN | {"endpoint", "config", "obs"}
_DATA = _LOW | {"ops", "sandbox", "corpus", "data"}
_ENGINE = _DATA | {"backend", "mcore", "launch"}

MAY_IMPORT = {
    "errors": set(),
    "units": set(),
    "files": {"errors", "units"},
    "garbage": set(),
    "locks": {"errors"},
    "processes": set(),
    "stops": set(),
    "workers": {"errors", "processes"},
    "resources": set(),
    "config": _FOUNDATION,
    "obs": _FOUNDATION,
    "endpoint": _FOUNDATION | {"obs"},
    "run_status": _FOUNDATION,
    "runs": _FOUNDATION | {"run_status"},
    "run_checkpoints": _FOUNDATION | {"run_status", "runs"},
    "checkpoints": _FOUNDATION | {"runs", "run_checkpoints"},
    "ledgers": _FOUNDATION | {"config", "run_status", "runs", "run_checkpoints", "checkpoints"},
    "results": _FOUNDATION | {"runs"},
    "lineage": _FOUNDATION | {"config", "runs", "run_checkpoints"},
    "ops": _FOUNDATION,
    "sandbox": _LOW,
    "corpus": _LOW | {"ops", "sandbox"},
    "data": _LOW | {"ops", "sandbox", "corpus"},
    "backend": _LOW,
    "mcore": _DATA | {"backend", "launch"},
    "train": _ENGINE,
    "evaluation": _ENGINE,
    "hugging_face": _ENGINE,
    "adapters": _DATA,
    # Beside the engine: they meet it in the run directory.
    "launch": _LOW,
    "planner": _DATA,
    "scaling": _LOW,
    "study": _DATA | {"backend", "launch"},
    "report": _DATA | {"launch", "study", "scaling"},
    # Measures the others.
    "bench": _ENGINE
    | {"train", "evaluation", "hugging_face", "adapters", "planner", "scaling", "study", "report"},
}
"""Package -> packages it may import. `cli` may import all."""

TORCH_FREE = [
    "errors", "units", "files", "garbage", "locks", "processes", "stops", "workers", "resources",
    "config", "obs", "endpoint",
    "run_status", "runs", "run_checkpoints", "checkpoints", "ledgers", "results", "lineage",
    "ops", "sandbox", "corpus", "data",
    "launch", "planner", "scaling", "study", "report", "cli",
    "evaluation/judge", "evaluation/serving",
]  # fmt: skip
"""Packages that load where torch is not installed, or must not be waited for."""

_DEVICE_WORDS = {"nccl", "gloo", "cuda"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(path: Path) -> str:
    """First part below the package: `data`, or `files` for `files.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full name of the module or of what is taken from the package) of every import."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the full name"
            module = node.module or ""
            if module == PACKAGE.name:
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def is_call_of(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return (isinstance(function, ast.Name) and function.id == name) or (
        isinstance(function, ast.Attribute) and function.attr == name
    )


def test_packages_import_only_what_is_below_them() -> None:
    problems = []
    for path in sources():
        package = package_of(path)
        if package in ("cli", "__init__", "__main__"):
            continue
        assert package in MAY_IMPORT, f"{package}: a new package; put it into MAY_IMPORT"
        for line, name in imported(path):
            parts = name.split(".")
            if parts[0] != PACKAGE.name or parts[1] in ("_C", "__version__", package):
                continue
            if parts[1] not in MAY_IMPORT[package]:
                problems.append(f"{where(path, line)}: {package} imports {name}")
    assert not problems, "\n".join(problems)


def test_the_table_itself_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {p for p, below in MAY_IMPORT.items() if p not in done and below <= done}
        assert ready, f"a circle among {set(MAY_IMPORT) - done}"
        done |= ready


def test_megatron_is_imported_only_where_it_is_adapted_or_measured() -> None:
    allowed = PACKAGE / "backend" / "megatron_on_cpu.py"
    problems = [
        f"{where(path, line)}: imports {name}"
        for path in sources()
        if package_of(path) not in ("mcore", "bench") and path != allowed
        for line, name in imported(path)
        if name.split(".")[0] == "megatron"
    ]
    assert not problems, "\n".join(problems)


def test_the_extension_is_imported_only_by_ops() -> None:
    problems = [
        f"{where(path, line)}: imports {name}"
        for path in sources()
        if package_of(path) != "ops" and path != PACKAGE / "cli" / "doctor.py"
        for line, name in imported(path)
        if name.startswith(f"{PACKAGE.name}._C")
    ]
    assert not problems, "\n".join(problems)


def device_choices(path: Path) -> Iterator[str]:
    """Lines that choose a device or a back end of process groups."""
    for node in ast.walk(tree_of(path)):
        found = ""
        match node:
            case ast.Attribute(value=ast.Attribute(attr="version"), attr="cuda"):
                pass  # torch.version.cuda: what it was built with
            case ast.Attribute(attr="cuda"):
                found = ".cuda"
            case ast.Constant(value=str(word)) if word in _DEVICE_WORDS:
                found = repr(word)
            case ast.keyword(arg="device", value=ast.Constant(value=str(word))):
                found = f"device={word!r}"
            case ast.Call() if is_call_of(node, "init_process_group"):
                found = "init_process_group"
        if found:
            yield f"{where(path, getattr(node, 'lineno', 0))}: {found}"


def test_devices_and_process_groups_are_chosen_only_in_backend() -> None:
    """The one Literal of the configuration is how a user asks for a device."""
    schema = PACKAGE / "config" / "schema" / "run.py"
    problems = [
        problem
        for path in sources()
        if package_of(path) != "backend" and path != schema
        for problem in device_choices(path)
    ]
    assert not problems, "\n".join(problems)


def test_only_the_command_line_prints() -> None:
    problems = [
        f"{where(path, node.lineno)}: print"
        for path in sources()
        if package_of(path) != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not problems, "\n".join(problems)


def test_every_module_says_what_it_is_for() -> None:
    silent = [where(path, 1) for path in sources() if not ast.get_docstring(tree_of(path))]
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize("package", TORCH_FREE)
def test_torch_free_packages_load_without_torch(package: str) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
        if path.is_relative_to(PACKAGE / package) or path == PACKAGE / f"{package}.py"
    ]
    if not modules:
        pytest.skip(f"there is no package {package}")
    code = (
        "import importlib, sys\n"
        "sys.modules['torch'] = sys.modules['megatron'] = None  # importing them raises\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
