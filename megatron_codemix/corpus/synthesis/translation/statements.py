"""Every statement of the restricted Python, as lines without the indentation of what is around."""

import ast
from collections.abc import Sequence
from contextlib import ExitStack

from megatron_codemix.corpus.synthesis.translation.assignments import (
    Assignments,
    braced,
    stored_names,
)
from megatron_codemix.corpus.synthesis.translation.code import (
    Code,
    method,
    unary,
)
from megatron_codemix.corpus.synthesis.translation.declarations import (
    declarations_of,
)
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.shape import Function, is_docstring
from megatron_codemix.corpus.synthesis.translation.types import Known, resolve
from megatron_codemix.corpus.synthesis.translation.writing import is_ignored, pattern


class Statements(Assignments):
    """Adds statements to what writes."""

    _function: Function | None = None

    def body_of(self, function: Function) -> list[str]:
        """The lines of a function's body."""
        around = self._declared, self._function, self._hoisted
        names = [name for name, _ in function.parameters]
        self._declared = declarations_of(function.node.body, names, self.uses)
        self._function, self._hoisted = function, list(self._hoisted)
        lines = self.block(function.node.body)
        if self._gives_null(function) and not _always_leaves(function.node.body):
            lines.append("return null;")
        self._declared, self._function, self._hoisted = around
        return lines

    def _gives_null(self, function: Function) -> bool:
        given = resolve(function.returns)
        return isinstance(given, Known) and given.kind == "optional"

    def block(self, body: Sequence[ast.stmt]) -> list[str]:
        lines: list[str] = []
        for node in body:
            if not is_docstring(node):
                lines += [
                    f"let {self.name(one)};" for one in self._declared.before.get(id(node), ())
                ]
                lines += self.statement(node)
        return lines

    def statement(self, node: ast.stmt) -> list[str]:
        match node:
            case ast.Assign(targets=targets, value=value):
                return self._assignments(node, targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self._assignments(node, [target], value)
            case ast.AugAssign():
                return self._augmented(node)
            case ast.Expr(value=value):
                return self._evaluated(value)
            case ast.Return(value=value):
                if value is not None:
                    return [f"return {self.expression(value).text};"]
                assert self._function is not None
                return ["return null;" if self._gives_null(self._function) else "return;"]
            case ast.If():
                return self._if(node)
            case ast.While(test=test, body=body):
                return braced(f"while ({self.condition(test).text})", self.block(body))
            case ast.For():
                return self._for(node)
            case ast.Break():
                return ["break;"]
            case ast.Continue():
                return ["continue;"]
            case ast.Delete(targets=targets):
                return [line for target in targets for line in self._deleted(target)]
            case ast.FunctionDef():
                return self.function(self.inference.nested[id(node)])
            case ast.Pass() | ast.Nonlocal() | ast.AnnAssign():
                return []
        raise refused(node)

    def function(self, function: Function) -> list[str]:
        """A declaration, without its comment."""
        name = self.name(function.node.name)
        return braced(f"function {name}({self.parameters(function)})", self.body_of(function))

    def parameters(self, function: Function) -> str:
        written = []
        for name, _ in function.parameters:
            default = function.defaults.get(name)
            value = "" if default is None else f" = {self.expression(default).text}"
            written.append(self.name(name) + value)
        return ", ".join(written)

    def _if(self, node: ast.If) -> list[str]:
        lines = braced(f"if ({self.condition(node.test).text})", self.block(node.body))
        match node.orelse:
            case []:
                return lines
            case [ast.If() as inner] if not self._declared.before.get(id(inner)):
                first, *rest = self._if(inner)
                return [*lines[:-1], f"}} else {first}", *rest]
        return [*lines[:-1], *braced("} else", self.block(node.orelse))]

    def _for(self, node: ast.For) -> list[str]:
        if is_ignored(node.target):
            with self.counter() as chosen, self.renamed("_", chosen):
                return self._for_with(node, "const")
        found = {name: self._declared.keyword(node, name) for name in stored_names(node.target)}
        if None not in found.values():
            return self._for_with(node, "let" if "let" in found.values() else "const")
        if len(set(found.values())) == 1:
            return self._for_with(node, None)
        return self._for_by_way(node, [name for name, keyword in found.items() if keyword is None])

    def _for_by_way(self, node: ast.For, names: Sequence[str]) -> list[str]:
        """A loop of whose targets only some are its own: the others are assigned inside."""
        ways = {name: self.hoisted("next") for name in names}
        with ExitStack() as stack:
            for name, way in ways.items():
                stack.enter_context(self.renamed(name, way))
            target = pattern(self, node.target)
        head = f"for (let {target} of {self.iterable(node.iter).text})"
        first = [f"{self.name(name)} = {way};" for name, way in ways.items()]
        return braced(head, [*first, *self.block(node.body)])

    def _for_with(self, node: ast.For, keyword: str | None) -> list[str]:
        before, head, first = self.loop_head(node, keyword)
        return [*before, *braced(head, [*first, *self.block(node.body)])]

    def _evaluated(self, node: ast.expr) -> list[str]:
        match node:
            case ast.Call(func=ast.Attribute(value=held, attr="setdefault"), args=[key, other]) if (
                self.kind(held) == "dict"
            ):
                with self._kept("key", key) as lines:
                    return [*lines, *self._default(held, key, other)]
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Call(
                        func=ast.Attribute(value=held, attr="setdefault"), args=[key, other]
                    ) as found
                )
            ) if self.kind(held) == "dict":
                with self._kept("key", key) as lines:
                    lines += self._default(held, key, other)
                    with self.standing_for(found, self.subscript_of(held, key)):
                        return [*lines, f"{self.expression(node).text};"]
            case ast.Call(func=ast.Attribute(value=held, attr="pop"), args=[key]) if (
                self.kind(held) == "dict"
            ):
                return [f"{self._removed(held, key)};"]
            case ast.Call(func=ast.Attribute(value=held, attr="update"), args=[other]):
                return self._updated(held, other)
            case ast.Call():
                return [f"{self.expression(node).text};"]
            case ast.Constant():
                return []
        raise refused(node, f"`{ast.unparse(node)}` as a statement")

    def _default(self, held: ast.expr, key: ast.expr, other: ast.expr) -> list[str]:
        code, name = self.expression(held), self.expression(key)
        stored = method(code, "set", name, self.expression(other))
        return braced(f"if ({unary('!', method(code, 'has', name)).text})", [f"{stored.text};"])

    def _deleted(self, target: ast.expr) -> list[str]:
        match target:
            case ast.Subscript(value=held, slice=at) if not isinstance(at, ast.Slice):
                name = "delete" if self.kind(held) == "dict" else "splice"
                more = [] if name == "delete" else [Code("1")]
                removed = method(self.expression(held), name, self.expression(at), *more)
                return [f"{removed.text};"]
        raise refused(target, f"`del {ast.unparse(target)}`")


def _always_leaves(body: Sequence[ast.stmt]) -> bool:
    match body[-1]:
        case ast.Return():
            return True
        case ast.If(body=one, orelse=other) if other:
            return _always_leaves(one) and _always_leaves(other)
        case ast.While(test=ast.Constant(value=True), body=inner):
            return not any(isinstance(one, ast.Break) for part in inner for one in ast.walk(part))
    return False
