"""What a module defines: its functions and classes with the types that their hints give."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.types import Type, Unknown, parse_annotation


@dataclass
class Function:
    """`parameters` without `self`; an unknown type where there is no hint."""

    node: ast.FunctionDef
    parameters: list[tuple[str, Type]]
    defaults: dict[str, ast.expr]
    returns: Type
    owner: str | None = None
    """The class of a method."""


@dataclass
class Class:
    node: ast.ClassDef
    is_dataclass: bool
    fields: dict[str, Type]
    """In order."""
    defaults: dict[str, ast.expr]
    methods: dict[str, Function] = field(default_factory=dict)

    @property
    def constructor(self) -> Function | None:
        """An `__init__` of its own, or the one that the decorator makes (None)."""
        return self.methods.get("__init__")


@dataclass
class Shape:
    functions: dict[str, Function]
    classes: dict[str, Class]
    constants: list[ast.Assign | ast.AnnAssign]


def shape_of(tree: ast.Module) -> Shape:
    """Raises UntranslatableError for what a module of the restricted Python does not hold."""
    body = [node for node in tree.body if not is_docstring(node) and not _is_known_import(node)]
    class_nodes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    shape = Shape({}, {}, [])
    for node in body:
        match node:
            case ast.FunctionDef():
                shape.functions[node.name] = function_of(node, class_nodes)
            case ast.ClassDef():
                shape.classes[node.name] = _class_of(node, class_nodes)
            case ast.Assign() | ast.AnnAssign(value=ast.expr()):
                shape.constants.append(node)
            case _:
                raise refused(node)
    return shape


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_known_import(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.ImportFrom)
        and node.module in ("dataclasses", "__future__")
        and {alias.name for alias in node.names} <= {"dataclass", "field", "annotations"}
    )


def function_of(
    node: ast.FunctionDef, classes: dict[str, ast.ClassDef], owner: str | None = None
) -> Function:
    """Raises UntranslatableError for decorators and for parameters other than plain ones."""
    if node.decorator_list:
        raise refused(node, f"the decorator `{ast.unparse(node.decorator_list[0])}`")
    arguments = node.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs or arguments.kwonlyargs:
        raise refused(node, f"a parameter list with `*` or `/` (of `{node.name}`)")
    plain = arguments.args[1:] if owner else arguments.args
    parameters = [(one.arg, hint_of(one.annotation, classes)) for one in plain]
    defaulted = plain[len(plain) - len(arguments.defaults) :]
    defaults = {one.arg: value for one, value in zip(defaulted, arguments.defaults, strict=True)}
    for value in defaults.values():
        if not isinstance(value, ast.Constant | ast.UnaryOp | ast.Tuple):
            raise refused(value, f"the default `{ast.unparse(value)}`")
    return Function(node, parameters, defaults, hint_of(node.returns, classes), owner)


def hint_of(annotation: ast.expr | None, classes: dict[str, ast.ClassDef]) -> Type:
    return Unknown() if annotation is None else parse_annotation(annotation, classes)


def _class_of(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Class:
    if node.bases or node.keywords:
        raise refused(node, f"a class with a base class (`{node.name}`)")
    one = Class(node, _is_dataclass(node), {}, {})
    for member in node.body:
        match member:
            case ast.FunctionDef():
                if member.name.startswith("__") and member.name != "__init__":
                    raise refused(member, f"the method `{member.name}`")
                one.methods[member.name] = function_of(member, classes, node.name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=hint, value=value) if (
                one.is_dataclass
            ):
                one.fields[name] = hint_of(hint, classes)
                if value is not None:
                    one.defaults[name] = _field_default(value)
            case _ if not is_docstring(member) and not isinstance(member, ast.Pass):
                raise refused(member)
    for name in _own_attributes(one):
        one.fields.setdefault(name, Unknown())
    return one


def _is_dataclass(node: ast.ClassDef) -> bool:
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        options = decorator.keywords if isinstance(decorator, ast.Call) else []
        if not isinstance(called, ast.Name) or called.id != "dataclass":
            raise refused(node, f"the decorator `{ast.unparse(decorator)}`")
        for option in options:
            if option.arg not in ("frozen", "slots"):
                raise refused(node, f"`dataclass({option.arg}=...)`")
    return bool(node.decorator_list)


def _field_default(value: ast.expr) -> ast.expr:
    """`field(default_factory=list)` as the display that it makes."""
    match value:
        case ast.Call(func=ast.Name(id="field"), args=[], keywords=[ast.keyword() as option]):
            if option.arg == "default":
                return option.value
            if option.arg == "default_factory" and isinstance(option.value, ast.Name):
                made = ast.Call(func=option.value, args=[], keywords=[])
                return ast.fix_missing_locations(ast.copy_location(made, value))
            raise refused(value)
    return value


def _own_attributes(one: Class) -> Iterator[str]:
    """Attributes that `__init__` gives `self`, in order."""
    if one.constructor is None:
        return
    receiver = one.constructor.node.args.args[0].arg
    stored = [
        node
        for node in ast.walk(one.constructor.node)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == receiver
    ]
    for node in sorted(stored, key=lambda node: (node.lineno, node.col_offset)):
        yield node.attr
