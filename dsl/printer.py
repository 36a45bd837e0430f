"""Syntax tree to canonical text: ``parse(print_spec(tree)) == tree`` for every tree."""

from __future__ import annotations

import re
from typing import Any

import attrs
from typing_extensions import assert_never

from bayesnas.dsl import tree
from bayesnas.dsl.parser import KEYWORDS

LINE = 100
_INDENT = "    "
_BINDING = {
    "or": 1, "and": 2,
    "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "//": 6, "%": 6,
}  # fmt: skip
_NOT, _NEGATIVE = 3, 7


def print_spec(spec: tree.Spec) -> str:
    """The whole file in canonical form, definitions separated by an empty line."""
    blocks: list[str] = []
    previous: tree.Definition | None = None
    for definition in spec.definitions:
        text = print_definition(definition)
        compact = not isinstance(definition, tree.Motif | tree.Network | tree.Settings)
        if blocks and compact and type(previous) is type(definition):
            blocks[-1] += "\n" + text
        else:
            blocks.append(text)
        previous = definition
    return "\n\n".join(blocks) + "\n" if blocks else ""


def print_definition(definition: tree.Definition) -> str:
    """One top-level definition."""
    match definition:
        case tree.Import():
            return f'import "{definition.path}"'
        case tree.OperationDefinition():
            head = f"op {definition.name}{_formals(definition.parameters)} ="
            return _wrap(head, definition.body)
        case tree.ChoiceDefinition():
            head = f"choice {definition.name}{_formals(definition.parameters)} ="
            return _wrap(head, definition.body)
        case tree.Motif():
            return _graph("motif", definition)
        case tree.Network():
            return _graph("network", definition)
        case tree.Settings():
            lines = [f"{_INDENT}{e.name} = {_setting(e.value)}" for e in definition.entries]
            return "\n".join([f"{definition.kind} {{", *lines, "}"])
        case _:
            assert_never(definition)


def _setting(value: int | float | str) -> str:
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) and value not in KEYWORDS
        return value if bare else f'"{value}"'
    return repr(value).replace("inf", "1e999")


def _formals(parameters: tuple[tree.Parameter, ...]) -> str:
    return f"({_parameters(parameters)})" if parameters else ""


def _parameters(parameters: tuple[tree.AnyParameter, ...]) -> str:
    return ", ".join(map(_parameter, parameters))


def _parameter(parameter: tree.AnyParameter) -> str:
    match parameter:
        case tree.MotifParameter(name=name, default=motif):
            return f"motif {name}" if motif is None else f"motif {name} = {motif}"
        case tree.Parameter(name=name, default=default):
            return name if default is None else f"{name} = {print_expression(default)}"
        case _:
            assert_never(parameter)


def _wrap(head: str, body: tree.OperationTerm) -> str:
    """A definition on one line, or broken at its outermost operator where it is too long."""
    line = f"{head} {print_term(body)}"
    if len(line) <= LINE:
        return line
    match body:
        case tree.Alternatives():
            return _broken(head, "|", [print_term(option, 2) for option in body.options])
        case tree.Parallel():
            return _broken(head, "+", [print_term(branch, 3) for branch in body.branches])
        case tree.Pipeline():
            return _broken(head, ">>", [print_term(stage, 4) for stage in body.stages])
        case _:
            return line


def _broken(head: str, operator: str, parts: list[str]) -> str:
    first, *rest = parts
    blank = " " * len(operator)
    lines = [f"{_INDENT}{blank} {first}", *(f"{_INDENT}{operator} {part}" for part in rest)]
    return "\n".join([head, *lines])


def _graph(keyword: str, graph: tree.Motif | tree.Network) -> str:
    inputs = ", ".join(map(_port, graph.inputs))
    if graph.parameters:
        inputs += f"; {_parameters(graph.parameters)}"
    outputs = ", ".join(map(_port, graph.outputs))
    head = f"{keyword} {graph.name}({inputs}) -> ({outputs}) "
    return head + _block(graph.body, "")


def _port(port: tree.Port) -> str:
    if port.shape is None:
        return port.name
    return f"{port.name}: [{', '.join(map(print_expression, port.shape))}]"


# ----------------------------------------------------------------------------------- statements


def _block(body: tuple[tree.Statement, ...], indent: str) -> str:
    if not body:
        return "{ }"
    inner = indent + _INDENT
    lines = [inner + print_statement(statement, inner) for statement in body]
    return "\n".join(["{", *lines, indent + "}"])


def print_statement(statement: tree.Statement, indent: str = "") -> str:
    """One statement; ``indent`` is what its following lines begin with."""
    match statement:
        case tree.NodeDeclaration():
            return "node " + ", ".join(map(_declared, statement.nodes))
        case tree.Merge():
            target, sources = print_reference(statement.target), _references(statement.sources)
            return f"{target} = {statement.merge}({sources})"
        case tree.Transform():
            head = f"{print_reference(statement.target)} = {print_reference(statement.source)} :"
            return f"{head} {print_term(statement.operation)}"
        case tree.Connect():
            return _connect(statement)
        case tree.Instantiation():
            return f"{_references(statement.targets)} = {_tie(statement)}{_motif_call(statement)}"
        case tree.Chain():
            return _chain(statement, indent)
        case tree.Loop():
            span = f"{print_expression(statement.start)}..{print_expression(statement.stop)}"
            return f"for {statement.variable} in {span} {_block(statement.body, indent)}"
        case tree.Branch():
            condition = print_expression(statement.condition)
            text = f"if {condition} {_block(statement.then, indent)}"
            if statement.otherwise:
                text += f" else {_block(statement.otherwise, indent)}"
            return text
        case tree.Retain():
            count = print_expression(statement.count)
            return f"retain {count} into {_references(statement.targets)}"
        case tree.Budget(limit=limit):
            text = limit.text if isinstance(limit, tree.Amount) else print_expression(limit)
            return f"budget {statement.cost} <= {text}"
        case _:
            assert_never(statement)


def _declared(declared: tree.Declared) -> str:
    if declared.size is None:
        return declared.name
    return f"{declared.name}[{print_expression(declared.size)}]"


def _connect(statement: tree.Connect) -> str:
    arrow = "~>" if statement.searched else "->"
    text = f"{_set(statement.sources)} {arrow} {_set(statement.targets)}"
    if statement.operation is not None:
        text += f" : {print_term(statement.operation)}"
    return text


def _chain(statement: tree.Chain, indent: str) -> str:
    head = f"{_references(statement.targets)} = {_tie(statement)}chain {_motif_call(statement)}"
    head += f" times {print_expression(statement.length)}"
    if not statement.reductions:
        return head
    tail = "reduce at " + ", ".join(map(print_expression, statement.reductions))
    if len(indent) + len(head) + 1 + len(tail) <= LINE:
        return f"{head} {tail}"
    return f"{head}\n{indent}{_INDENT}{tail}"


def _tie(statement: tree.Instantiation | tree.Chain) -> str:
    if statement.tie is None:
        return ""
    index = statement.tie.index
    return "tied " if index is None else f"tied({print_expression(index)}) "


def _motif_call(statement: tree.Instantiation | tree.Chain) -> str:
    inside = _references(statement.inputs)
    if statement.arguments:
        inside += "; " + ", ".join(map(_argument, statement.arguments))
    return f"{statement.motif}({inside})"


def _set(references: tuple[tree.Reference, ...]) -> str:
    if len(references) == 1:
        return print_reference(references[0])
    return f"{{{_references(references)}}}"


def _references(references: tuple[tree.Reference, ...]) -> str:
    return ", ".join(map(print_reference, references))


def print_reference(reference: tree.Reference) -> str:
    """``h``, ``h[k]`` or ``h[1..k]``."""
    match reference.index:
        case None:
            return reference.name
        case tree.Index(value=value):
            return f"{reference.name}[{print_expression(value)}]"
        case tree.Slice(start=start, stop=stop):
            first = "" if start is None else print_expression(start)
            last = "" if stop is None else print_expression(stop)
            return f"{reference.name}[{first}..{last}]"
        case _:
            assert_never(reference.index)


# ----------------------------------------------------------------------------------- operations


def print_term(term: tree.OperationTerm, binding: int = 0) -> str:
    """An operation; parentheses where it binds weaker than ``binding`` asks."""
    match term:
        case tree.Call():
            if not term.arguments:
                return term.name
            return f"{term.name}({', '.join(map(_argument, term.arguments))})"
        case tree.Conditional():
            text = (
                f"if {print_expression(term.condition)}"
                f" then {print_term(term.then)} else {print_term(term.otherwise)}"
            )
            level = 0
        case tree.Alternatives():
            text, level = " | ".join(print_term(option, 2) for option in term.options), 1
        case tree.Parallel():
            text, level = " + ".join(print_term(branch, 3) for branch in term.branches), 2
        case tree.Pipeline():
            text, level = " >> ".join(print_term(stage, 4) for stage in term.stages), 3
        case _:
            assert_never(term)
    return f"({text})" if level < binding else text


def _argument(argument: tree.Argument) -> str:
    value = print_expression(argument.value)
    return value if argument.name is None else f"{argument.name} = {value}"


# ---------------------------------------------------------------------------------- expressions


def print_expression(expression: tree.Expression, binding: int = 0) -> str:
    """An expression; parentheses where it binds weaker than ``binding`` asks."""
    match expression:
        case tree.Number():
            return str(expression.value)
        case tree.Name():
            return expression.name
        case tree.Unary(operator="not"):
            text, level = f"not {print_expression(expression.operand, _NOT)}", _NOT
        case tree.Unary():
            text, level = f"-{print_expression(expression.operand, _NEGATIVE)}", _NEGATIVE
        case tree.Binary():
            level = _BINDING[expression.operator]
            # Comparisons do not chain, so neither side of one may be another.
            left = print_expression(expression.left, level + (level == _BINDING["=="]))
            right = print_expression(expression.right, level + 1)
            text = f"{left} {expression.operator} {right}"
        case _:
            assert_never(expression)
    return f"({text})" if level < binding else text


def tree_to_json(node: object) -> object:
    """A syntax tree as plain JSON values: each node with its ``kind`` and ``place``."""
    if isinstance(node, tuple):
        return [tree_to_json(part) for part in node]
    kind: Any = type(node)
    if not attrs.has(kind):
        return node
    names = (field.name for field in attrs.fields(kind) if field.name != "span")
    values = {name: tree_to_json(getattr(node, name)) for name in names}
    span = getattr(node, "span", None)
    return {"kind": type(node).__name__, **values, "place": None if span is None else str(span)}
