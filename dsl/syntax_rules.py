"""What people write instead of the language, and what to tell them: one table, read in order.

A pattern is matched against the tokens round the error, joined by spaces, with ``§`` before the
token that the grammar refused (the end of the file is the token ``<end>``, a text is ``""``). A
space matches any white space, ``[ ]`` white space within a line; ``REF``, ``LIST`` and ``ARROW``
stand for a reference, two or more of them, and an arrow. The group ``here`` is what gets marked,
by default the refused token. In messages and remedies ``<name>`` is the text of a group as
written, ``<token>`` that of the refused token and ``<found>`` the token as a sentence names it.
"""

from __future__ import annotations

import re
from functools import cached_property

from attrs import define

_PLACEHOLDERS = {
    "LIST": r"REF(?: , REF)+",
    "REF": r"[^\W\d]\w*(?: \[ [^\]]*? \])?",
    "ARROW": r"(?:->|~>)",
    "DEFINITION": r"(?:import|op|choice|motif|network|search|train)\b",
    "STATEMENT": r"(?:node|for|if|retain|budget)\b",
}


@define
class Rule:
    """One way to go wrong; ``where`` is a token that would have been right instead."""

    pattern: str
    message: str
    help: str
    where: str | None = None

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The pattern as a regular expression."""
        text = self.pattern
        for name, meaning in _PLACEHOLDERS.items():
            text = text.replace(name, meaning)
        return re.compile(r"[ ]".join(part.replace(" ", r"\s") for part in text.split("[ ]")))


FILE = "a file holds `import`, `op`, `choice`, `motif`, `network`, `search` and `train`"
STATEMENT = "a statement defines (`x = a : conv(3)`) or connects (`a -> b`)"
MOTIF = "statements stand in a motif or network: `motif m(a) -> (b) { a -> b }`"
LOOP = "write `for k in 0..4 { ... }`"
CHAIN = "write `x = chain cell(a, b) times 6`"
OPERATIONS = "`>>` puts one operation after the other, `|` separates candidates"
NAME = "a name is letters, digits and `_`, and no keyword"

RULES = (
    # characters of other languages
    Rule(r"§ //", "`//` starts no comment", "comments start with `#`"),
    Rule(r"§ /\*", "`/*` starts no comment", "comments start with `#` and end with the line"),
    Rule(
        r"(?P<here>//) [^\W\d]\w*[ ]§ [^\W\d]\w*",
        "`//` divides and starts no comment",
        "comments start with `#`",
    ),
    Rule(r"§ '(?P<text>\S*)'", "single quotes hold no text", 'write `"<text>"`'),
    Rule(r"§ ['“”‘’]", "<found> is no quotation mark", "texts stand in double quotes"),
    Rule(r"§ &&?", "<found> is no operator", "write `and`"),
    Rule(r"§ \|\|", "`||` is no operator", "write `or` in a condition, `|` between candidates"),
    Rule(r"§ !", "<found> is no operator", "write `not`, or `!=`"),
    Rule(r"§ (?:→|⇒|➔|⟶)", "<found> is no arrow", "write `->`, or `~>` for a searched edge"),
    Rule(r"§ /", "<found> is no operator", "division of whole numbers is written `//`"),
    Rule(r"§ \*\*|(?P<here>\* §) \*", "there is no power operator", "multiply: `k * k`"),
    Rule(r"dropout \( § 0\.\d+", "`<token>` is no whole number", "write percent: `dropout(20)`"),
    Rule(
        r"budget (?P<cost>\w+) <= § (?P<number>[\d.]+)(?P<unit>\w*)",
        "`<token>` is no amount",
        "write a whole number, or one with a unit: `600K`, `3.5M` or `2G`",
    ),
    Rule(r"§ \d+(?:\.\d+)?[KMG]\b", "`<token>` is no whole number", "units are for budgets alone"),
    Rule(
        r"§ (?:\d+\.\d+|\d+[eE])\S*",
        "`<token>` is no whole number",
        "sizes and parameters are whole numbers",
    ),
    Rule(r"§ \d+[^\W\d]\w*", "`<token>` is neither a number nor a name", NAME),
    # capitals
    Rule(
        r"(?P<here>(?=\w*[A-Z])(?i:(?P<word>DEFINITION|STATEMENT|chain|tied|else|concat)))\b"
        r" §|§ (?P<later>(?=\w*[A-Z])(?i:\w+))",
        "keywords are lower case",
        "write `<lower>`",
    ),
    # separators
    Rule(r"; § ;", "two semicolons in a row", "remove one"),
    Rule(r"§ ;", "a definition takes no semicolon", "remove it", where="import"),
    Rule(r"\{ § ;", "a semicolon with nothing before it", "remove it"),
    Rule(r"(?P<here>,) § (?:[)\]};>]|<end>)", "a comma with nothing after it", "remove it"),
    Rule(r", § ,", "two commas in a row", "remove one"),
    Rule(r"[(\[{] § ,", "a comma with nothing before it", "remove it"),
    Rule(
        r"(?P<here>,) \w+ § (?:=|ARROW)(?<=node [^\n]{0,200})",
        "a comma with nothing after it",
        "remove it",
    ),
)
