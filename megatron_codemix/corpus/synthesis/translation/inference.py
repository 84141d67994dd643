"""The type of every expression of a module: hints first, then what follows from them.

Monomorphic and without generalisation: each name of a function has one type, found by joining what
is assigned to it. Containers that begin empty get their element from what is put into them.
"""

import ast
from collections.abc import Sequence

from megatron_codemix.corpus.synthesis.translation import inferred_calls
from megatron_codemix.corpus.synthesis.translation.inferred_expressions import ExpressionTypes
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.scopes import (
    Scope,
    bound_names,
    function_scope,
)
from megatron_codemix.corpus.synthesis.translation.shape import (
    Function,
    Shape,
    function_of,
    is_docstring,
)
from megatron_codemix.corpus.synthesis.translation.types import (
    BOOL,
    INT,
    NONE,
    STR,
    Known,
    Type,
    Unknown,
    argument,
    join,
    kind_of,
    resolve,
)

_PASSES = 3
"""What a later statement tells of an earlier one is known in the next pass."""
_CONSTANTS: dict[type, Type] = {bool: BOOL, int: INT, str: STR, type(None): NONE}
_SET_OPERATORS = (ast.Sub, ast.BitOr, ast.BitAnd, ast.BitXor)
_INT_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Pow)


class Inference(ExpressionTypes):
    """`type_of` any expression of the module's tree."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.nested: dict[int, Function] = {}
        """Functions within functions, by the identity of their node."""
        constants = bound_names(shape.constants)
        self._module = Scope(None, {name: Unknown() for name in constants})
        for _ in range(_PASSES):
            self._run()

    def type_of_name(self, function: ast.FunctionDef, name: str) -> Type:
        """Of a name that a function binds."""
        return resolve(self._scopes[id(function)].names[name])

    def _run(self) -> None:
        for node in self.shape.constants:
            self._statement(node, self._module, None)
        for one in self.shape.classes.values():
            for name, default in one.defaults.items():
                self._join(default, one.fields[name], self.expression(default, self._module))
            for method in one.methods.values():
                self.function(method, self._module)
        for function in self.shape.functions.values():
            self.function(function, self._module)

    def function(self, function: Function, parent: Scope) -> None:
        node = function.node
        if id(node) not in self._scopes:
            self._scopes[id(node)] = _scope_of(function, parent)
        scope = self._scopes[id(node)]
        for name, default in function.defaults.items():
            self._join(default, scope.names[name], self.expression(default, parent))
        self._block(node.body, scope, function)
        if isinstance(resolve(function.returns), Unknown):
            join(function.returns, NONE)

    def _block(self, body: Sequence[ast.stmt], scope: Scope, function: Function) -> None:
        for node in body:
            self._statement(node, scope, function)

    def _statement(self, node: ast.stmt, scope: Scope, function: Function | None) -> None:
        match node:
            case _ if is_docstring(node):
                return
            case ast.Assign(targets=targets, value=value):
                given = self.expression(value, scope)
                for target in targets:
                    self._assign(target, given, scope)
            case ast.AnnAssign(target=target, annotation=hint, value=value):
                self._assign(target, inferred_calls.hint(self, hint), scope)
                if value is not None:
                    self._assign(target, self.expression(value, scope), scope)
            case ast.AugAssign(target=target, op=operator, value=value):
                self._augmented(node, target, operator, value, scope)
            case ast.Expr(value=value):
                self.expression(value, scope)
            case ast.Delete(targets=targets):
                for target in targets:
                    self.expression(target, scope)
            case ast.Pass() | ast.Break() | ast.Continue() | ast.Nonlocal():
                return
            case _ if function is not None:
                self._inside(node, scope, function)
            case _:
                raise refused(node)

    def _inside(self, node: ast.stmt, scope: Scope, function: Function) -> None:
        """What stands in functions only."""
        match node:
            case ast.Return(value=value):
                given = NONE if value is None else self.expression(value, scope)
                self._join(node, function.returns, given)
            case ast.If(test=test, body=body, orelse=other):
                self.expression(test, scope)
                self._block([*body, *other], scope, function)
            case ast.While(test=test, body=body, orelse=[]):
                self.expression(test, scope)
                self._block(body, scope, function)
            case ast.For(target=target, iter=items, body=body, orelse=[]):
                self._bind(target, items, scope)
                self._block(body, scope, function)
            case ast.FunctionDef():
                nested = self.nested.get(id(node)) or function_of(node, self.class_nodes)
                self.nested[id(node)] = nested
                signature = (*(hint for _, hint in nested.parameters), nested.returns)
                scope.names[node.name] = Known("function", signature)
                self.function(nested, scope)
            case ast.While() | ast.For():
                raise refused(node, "`else` of a loop")
            case _:
                raise refused(node)

    def _augmented(
        self,
        node: ast.stmt,
        target: ast.expr,
        operator: ast.operator,
        value: ast.expr,
        scope: Scope,
    ) -> None:
        now = self.expression(target, scope)
        given = self.expression(value, scope)
        if isinstance(operator, ast.Add) and kind_of(now) == "list":
            self._join(node, argument(now, 0), self.elements(value, given))
            return
        self._assign(target, self.operation(node, operator, now, given), scope)

    def _bind(self, target: ast.expr, items: ast.expr, scope: Scope) -> None:
        self._assign(target, self.elements(items, self.expression(items, scope)), scope)


def _scope_of(function: Function, parent: Scope) -> Scope:
    """With what is known before the first statement."""
    scope = function_scope(function.node, parent)
    if function.owner is not None:
        scope.names[function.node.args.args[0].arg] = Known("record", (), function.owner)
    scope.names.update(function.parameters)
    return scope
