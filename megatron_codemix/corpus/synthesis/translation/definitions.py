"""Functions and classes with their comments: what a module consists of."""

import ast
import re
from collections.abc import Sequence

from megatron_codemix.corpus.synthesis.translation.assignments import braced
from megatron_codemix.corpus.synthesis.translation.shape import Class, Function
from megatron_codemix.corpus.synthesis.translation.statements import Statements
from megatron_codemix.corpus.synthesis.translation.types import Known, Type, resolve, show

_WORD = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")


class Definitions(Statements):
    """Adds definitions to what writes."""

    def definition(self, function: Function) -> list[str]:
        """A function of the module with its comment."""
        return [*self._comment(function), *self.function(function)]

    def constant(self, node: ast.Assign | ast.AnnAssign) -> list[str]:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        assert node.value is not None
        assert isinstance(target, ast.Name)
        return [f"const {self.name(target.id)} = {self.expression(node.value).text};"]

    def class_definition(self, one: Class) -> list[str]:
        lines = self._class_comment(one)
        members: list[list[str]] = []
        if one.constructor is not None:
            members.append(self._method(one.constructor, "constructor"))
        elif one.fields:
            members.append(self._made_constructor(one))
        for name, method in one.methods.items():
            if name != "__init__":
                members.append(self._method(method, self.names.attribute(name)))
        body = [
            line for index, part in enumerate(members) for line in (*([""] * (index > 0)), *part)
        ]
        return [*lines, *braced(f"class {self.name(one.node.name)}", body)]

    def _made_constructor(self, one: Class) -> list[str]:
        """What the decorator makes."""
        parameters, stores = [], []
        for name in one.fields:
            written = self.names.attribute(name)
            default = one.defaults.get(name)
            value = "" if default is None else f" = {self.expression(default).text}"
            parameters.append(written + value)
            stores.append(f"this.{written} = {written};")
        typed = [(self.names.attribute(name), hint) for name, hint in one.fields.items()]
        head = f"constructor({', '.join(parameters)})"
        return [*_comment_block("", typed, None), *braced(head, stores)]

    def _method(self, function: Function, name: str) -> list[str]:
        receiver = function.node.args.args[0].arg
        comment = self._comment(function, is_constructor=name == "constructor")
        with self.renamed(receiver, "this"):
            head = f"{name}({self.parameters(function)})"
            return [*comment, *braced(head, self.body_of(function))]

    # Comments.

    def _comment(self, function: Function, *, is_constructor: bool = False) -> list[str]:
        typed = [(self.name(name), hint) for name, hint in function.parameters]
        returns = None if is_constructor else function.returns
        return _comment_block(self._text_of_docstring(function.node), typed, returns)

    def _class_comment(self, one: Class) -> list[str]:
        text = self._text_of_docstring(one.node)
        return _comment_block(text, [], None) if text else []

    def _text_of_docstring(self, node: ast.FunctionDef | ast.ClassDef) -> str:
        text = ast.get_docstring(node) or ""
        return _WORD.sub(lambda found: self.names.known(found[0]), text).replace("*/", "* /")


def _comment_block(
    text: str, parameters: Sequence[tuple[str, Type]], returns: Type | None
) -> list[str]:
    """JSDoc; nothing where there is nothing to say."""
    tags = [f"@param {{{show(hint)}}} {name}" for name, hint in parameters]
    given = None if returns is None else resolve(returns)
    if isinstance(given, Known) and given.kind != "none":
        tags.append(f"@returns {{{show(given)}}}")
    paragraphs = text.splitlines()
    if len(paragraphs) + len(tags) <= 1:
        return [f"/** {line} */" for line in (*paragraphs, *tags)]
    between = [""] if paragraphs and tags else []
    lines = [f" * {line}".rstrip() for line in (*paragraphs, *between, *tags)]
    return ["/**", *lines, " */"]
