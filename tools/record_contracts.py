"""Writes down the signatures of what training calls in Transformer Engine and Apex, and the
parameters of Transformer Engine's layers (engine_layers.py).

    CUDA_VISIBLE_DEVICES= python -m tools.record_contracts > tests/contracts/engines.json

To be run where Transformer Engine loads: with a PyTorch that is built with CUDA it needs no GPU for
that. `tests/unit/mcore/test_engine_contracts.py` compares every call in our sources, and in the
parts of megatron-core that training runs through, with the record, on any machine. Run again when a
pin changes, and on a GPU machine with Apex, whose extensions are built from source.
"""

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("transformer_engine", "apex", "amp_C", "fused_weight_gradient_mlp_cuda")
"""Of the two, at the top of a dotted name."""
LAYERS = "megatron.core.extensions.transformer_engine"
"""megatron-core's layers of Transformer Engine, which we put into specs."""
MEGATRON_MODULES = (
    LAYERS,
    "megatron.core.fp8_utils",
    "megatron.core.distributed.distributed_data_parallel",
    "megatron.core.optimizer",
    "megatron.core.optimizer.clip_grads",
    "megatron.core.optimizer.distrib_optimizer",
    "megatron.core.optimizer.optimizer",
    "megatron.core.tensor_parallel.layers",
    "megatron.core.tensor_parallel.random",
    "megatron.core.transformer.attention",
    "megatron.core.transformer.cuda_graphs",
    "megatron.core.transformer.mlp",
    "megatron.core.transformer.transformer_block",
)
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Use:
    """A name of one of the packages in a source file, and how it is called there, if it is."""

    place: str
    """`module.py:12`."""
    name: str
    """Dotted, as Python finds it."""
    is_call: bool = False
    positional: int = 0
    keywords: tuple[str, ...] = ()
    is_open: bool = False
    """Whether `*` or `**` passes more that is not seen here."""


def uses() -> Iterator[Use]:
    """Of our sources and of MEGATRON_MODULES, which are read and not imported."""
    for path in sorted((ROOT / "megatron_codemix").rglob("*.py")):
        yield from uses_of(path, path.relative_to(ROOT).as_posix())
    for module in MEGATRON_MODULES:
        yield from uses_of(source_of(module), module)


def source_of(module: str) -> Path:
    """Found by its folder: megatron.core is not imported, which would ask for CUDA."""
    package = find_spec("megatron")
    assert package is not None, "megatron-core is installed"
    assert package.submodule_search_locations is not None
    relative = Path(*module.split(".")[1:])
    for base in package.submodule_search_locations:
        for path in (Path(base) / relative / "__init__.py", Path(base) / f"{relative}.py"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"{module}: not in megatron-core {version('megatron-core')}")


def uses_of(path: Path, place: str) -> list[Use]:
    """Of one file; names are followed through its own imports."""
    source = path.read_text(encoding="utf-8")
    if not any(package in source for package in PACKAGES):
        return []  # of all files but a few, which need no parsing
    finder = _Finder(place)
    finder.visit(ast.parse(source))
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, place: str) -> None:
        self.place = place
        self.names: dict[str, str] = {}
        """Name in the file -> dotted name."""
        self.bases: list[str | None] = []
        """Of the classes around; a base of the packages."""
        self.found: list[Use] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if _is_theirs(alias.name):
                self.names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            if _is_theirs(name):
                self.names[alias.asname or alias.name] = name
                self._add(node, name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [self._dotted(base) for base in node.bases]
        self.bases.append(next((base for base in bases if base), None))
        self.generic_visit(node)
        self.bases.pop()

    def visit_Call(self, node: ast.Call) -> None:
        if _is_super_init(node):
            if self.bases and self.bases[-1]:
                self._add_call(node, self.bases[-1])
        elif (name := self._dotted(node.func)) is not None:
            self._add_call(node, name)
        for child in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.visit(child)
        if self._dotted(node.func) is None:
            self.visit(node.func)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._dotted(node)
        if name is None:
            self.generic_visit(node)
        else:
            self._add(node, name)

    def _dotted(self, node: ast.expr) -> str | None:
        match node:
            case ast.Name(id=name):
                return self.names.get(name)
            case ast.Attribute(value=value, attr=attribute):
                base = self._dotted(value)
                return None if base is None else f"{base}.{attribute}"
        return None

    def _add(self, node: ast.AST, name: str) -> None:
        self.found.append(Use(f"{self.place}:{getattr(node, 'lineno', 0)}", name))

    def _add_call(self, node: ast.Call, name: str) -> None:
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        keywords = tuple(word.arg for word in node.keywords if word.arg is not None)
        is_open = starred or len(keywords) < len(node.keywords)
        positional = sum(not isinstance(argument, ast.Starred) for argument in node.args)
        self.found.append(
            Use(f"{self.place}:{node.lineno}", name, True, positional, keywords, is_open)
        )


def _is_theirs(name: str) -> bool:
    return name.split(".")[0] in PACKAGES or name == LAYERS or name.startswith(f"{LAYERS}.")


def _is_super_init(node: ast.Call) -> bool:
    match node.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            return True
    return False


def resolve(name: str) -> Any:  # Any: whatever has that name
    """Raises AttributeError or ImportError where there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def signature_of(found: Any) -> list[list[Any]] | None:
    """Name, kind and whether it has a default, of each parameter but `self`; None of what cannot be
    called, or does not tell."""
    if not callable(found):
        return None
    try:
        parameters = _parameters(found)
    except ValueError:
        return None
    return [
        [one.name, one.kind.name, one.default is not inspect.Parameter.empty] for one in parameters
    ]


def _parameters(found: Any) -> list[inspect.Parameter]:
    if not inspect.isclass(found):
        return list(inspect.signature(found).parameters.values())
    own_new = found.__new__ is not object.__new__ and found.__init__ is object.__init__
    made_by = inspect.signature(found.__new__ if own_new else found.__init__)
    parameters = list(made_by.parameters.values())[1:]
    if hasattr(found, "__pydantic_fields__") and {one.name for one in parameters} <= {
        "args",
        "kwargs",
    }:
        # A data class of pydantic's: it leaves out what it does not know.
        fields = inspect.signature(found).parameters.values()
        return [*fields, inspect.Parameter("unknown", inspect.Parameter.VAR_KEYWORD)]
    return parameters


def record(names: Sequence[str]) -> dict[str, Any]:  # Any: JSON values
    """Signatures of the names, as installed here; what is absent is named."""
    signatures, absent = {}, []
    for name in sorted(set(names)):
        try:
            signatures[name] = signature_of(resolve(name))
        except (AttributeError, ImportError):
            absent.append(name)
    return {"versions": _versions(), "absent": absent, "signatures": signatures}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in ("torch", "megatron-core", "transformer-engine", "apex"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def as_json(content: dict[str, Any]) -> str:
    """One line for each name, so that a new version gives a readable diff."""
    head = json.dumps({key: content[key] for key in ("versions", "absent")}, indent=1)
    signatures = _block(content["signatures"], 1)
    layers = {
        model: {part: _block(found, 3) for part, found in described.items()}
        for model, described in content["layers"].items()
    }
    models = _object({model: _object(parts, 2) for model, parts in layers.items()}, 1)
    return f'{head[:-2]},\n "signatures": {signatures},\n "layers": {models}\n}}'


def _block(found: dict[str, Any], depth: int) -> str:
    return _object({name: json.dumps(value) for name, value in found.items()}, depth)


def _object(values: dict[str, str], depth: int) -> str:
    """A JSON object, whose values are JSON already, with a line for each."""
    indent = " " * depth
    lines = [f"{indent} {json.dumps(name)}: {value}" for name, value in values.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


if __name__ == "__main__":
    import torch  # noqa: F401  # first: Transformer Engine finds its libraries through it
    import transformer_engine.pytorch  # noqa: F401  # before it is left out, as on every CPU

    from tools.engine_layers import describe

    # First: it gives CUDA's names a meaning without a GPU, which megatron.core asks for.
    described = describe("theirs")
    print(as_json({**record([use.name for use in uses()]), "layers": described}))
