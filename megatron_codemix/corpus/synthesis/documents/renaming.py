"""What two solutions need to know of each other to stand in one module: names, read from the tree
and the tokens of the source, since a search in the text would find methods and strings as well."""

import ast
import io
import tokenize
from collections.abc import Iterator


def renamed(source: str, old: str, new: str) -> str:
    """The function under a new name, wherever it is meant. ValueError: `is_renamable` is False."""
    wanted = _places(source, old)
    lines = source.split("\n")
    for row, column in sorted(wanted, reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "\n".join(lines)


def is_renamable(source: str, old: str, new: str) -> bool:
    """Whether the name means nothing but the function, and the new one nothing at all."""
    tree = ast.parse(source)
    if any(new in _names(node) for node in ast.walk(tree)):
        return False
    own = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == old]
    if len(own) != 1 or any(old in _bound(node) for node in ast.walk(tree) if node is not own[0]):
        return False
    try:
        _places(source, old)
    except ValueError:
        return False
    return True


def is_in_the_way(one: str, other: str, name: str) -> bool:
    """Whether two modules give one name, other than that of the function, two meanings."""
    first, second = _top_level(one), _top_level(other)
    return any(first[own] != second[own] for own in (first.keys() & second.keys()) - {name})


def _top_level(source: str) -> dict[str, str]:
    """What each name of the module is defined as; equal texts mean the same."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = ast.dump(node)
            case ast.Import(names=names):
                found |= {(one.asname or one.name).split(".")[0]: one.name for one in names}
            case ast.ImportFrom(module=module, names=names):
                found |= {one.asname or one.name: f"{module}.{one.name}" for one in names}
            case _:
                stored = (name for inner in ast.walk(node) for name in _bound(inner))
                found |= dict.fromkeys(stored, ast.dump(node))
    return found


def has_future_import(source: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for node in ast.parse(source).body
    )


def _places(source: str, name: str) -> list[tuple[int, int]]:
    """Lines from 1 and columns, in characters, of the name where it is read, and behind `def`.
    ValueError: not each of them is a word of its own (within an f-string, in older Python)."""
    lines = source.split("\n")
    read = {
        (node.lineno, len(lines[node.lineno - 1].encode()[: node.col_offset].decode()))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and node.id == name
    }
    words, before = [], ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string == name:
            words.append((token.start, before == "def"))
        before = token.string
    if not read <= {place for place, _ in words}:
        raise ValueError(f"{name} is read where it is no word")
    return [place for place, is_defined in words if is_defined or place in read]


def _bound(node: ast.AST) -> Iterator[str]:
    """Names to which a node gives a meaning."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
            yield name
        case ast.alias(name=name):
            yield name.split(".")[0]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name


def _names(node: ast.AST) -> list[str]:
    return [node.id] if isinstance(node, ast.Name) else list(_bound(node))
