"""Gamma expressions as text and LaTeX, for gamma.json."""

from __future__ import annotations

from typing import Any

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.gamma import (
    Always,
    And,
    Flow,
    Never,
    Or,
    RelaySwitch,
    Switch,
    SwitchExpression,
)


class GammaPrinter:
    """Expressions as text and LaTeX, by sympy; each distinct expression is printed once."""

    def __init__(self, graph: Graph) -> None:
        self.symbols: dict[SwitchExpression, tuple[str, str]] = {}
        for edge in graph.searched():
            number = edge.searched_gate.number
            self.symbols[Switch(number)] = (f"s_{number}", f"s_{{{number}}}")
        searched = (c for c in graph.all_connections() if c.searched)
        for number, connection in enumerate(searched):
            latex = f"s'_{{{number}}}"
            self.symbols[RelaySwitch(connection.id)] = (f"r_{number}", latex)
        for number, node in enumerate(graph.nodes()):
            self.symbols[Flow(node.id)] = (f"F_{number}", rf"F_{{{number}}}")
        self._printed: dict[SwitchExpression, tuple[str, str]] = {}
        self._names: dict[Any, str] = {}

    def symbol_of_flow(self, node: str) -> str:
        """The short name of what arrives at a node, as it stands in texts."""
        return self.symbols[Flow(node)][0]

    def symbol_of_relay(self, connection: str) -> str:
        """The short name of an i' node's switch, as it stands in texts."""
        return self.symbols[RelaySwitch(connection)][0]

    def print(self, expression: SwitchExpression) -> tuple[str, str]:
        """Text and LaTeX of an expression."""
        if expression not in self._printed:
            import sympy

            formula = self._formula(expression)
            latex = sympy.latex(formula, symbol_names=self._names, order="none")
            self._printed[expression] = (sympy.sstr(formula, order="none"), latex)
        return self._printed[expression]

    def _formula(self, expression: SwitchExpression) -> Any:
        import sympy

        match expression:
            case Always():
                return sympy.oo
            case Never():
                return sympy.Integer(0)
            case And(terms=terms):
                inverse = [sympy.Pow(self._formula(t), -1, evaluate=False) for t in terms]
                return sympy.Pow(sympy.Add(*inverse, evaluate=False), -1, evaluate=False)
            case Or(terms=terms):
                return sympy.Add(*map(self._formula, terms), evaluate=False)
            case _:
                text, latex = self.symbols[expression]
                symbol = sympy.Symbol(text, positive=True)
                self._names[symbol] = latex
                return symbol
