"""What people write instead of the language, and what to tell them: one table, read in order.

A pattern is searched for in the tokens round the error, joined by spaces, with ``§`` before the
token that the grammar refused (the end of the file is the token ``<end>``, a text is ``""``). A
space matches any white space, ``[ ]`` white space within a line; ``LINE`` is anything within a
line; ``REF``, ``LIST`` and ``ARROW`` are a reference, two or more of them, and an arrow. The group
``here`` is what gets marked, by default the refused token. In messages and remedies ``<name>`` is
the text of a group as written, and ``<found>`` the refused token. ``<next>`` is what something is
missing before: the refused token, or the end of the line, which then gets marked.
"""

from __future__ import annotations

import re
from functools import cache

from attrs import frozen

_SHORTHANDS = {
    "LIST": r"REF(?: , REF)+",
    "REF": r"\b[^\W\d]\w*(?: \[ [^\]]*? \])?",
    "ARROW": r"(?:->|~>)",
    "LINE": r"[^\n]*?",
    "TIE": r"\b(?:tied|shared)\b",
}


@frozen
class Rule:
    """One way to go wrong; it fits only where the token ``where`` would have been right."""

    pattern: str
    message: str
    help: str
    where: str | None = None


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """A rule's pattern as a regular expression."""
    for name, meaning in _SHORTHANDS.items():
        pattern = pattern.replace(name, meaning)
    parts = pattern.split("[ ]")
    return re.compile("[ ]".join(part.replace(" ", r"\s") for part in parts))


FILE = "a file holds `import`, `op`, `choice`, `motif`, `network`, `search`, `train` and `learn`"
STATEMENT = "a statement defines (`x = a : conv(3)`) or connects (`a -> b`)"
MOTIF = "statements stand in a motif or network: `motif m(a) -> (b) { a -> b }`"
LOOP = "write `for k in 0..4 { ... }`"
CHAIN = "write `x = chain cell(a, b) times 6`"
BOTH = "`scan` runs a motif and `chain` repeats it, not both at once"
SCAN = "write `states = scan cell(series) from start`"
BUDGET = "write `budget flops <= 600M`, or `parameters <= 3.5M`, or `latency <= 5 ms`"
OPERATIONS = "`>>` puts one operation after the other, `|` separates candidates"
NAME = "a name is letters (a to z), digits and `_`, begins with no digit, and is no keyword"
TEXT = "texts stand in double quotes"
CONDITION = "write `if k == 1 { ... } else { ... }`"
DEFINITIONS = ("import", "op", "choice", "motif", "network", "search", "train", "learn")
AT_THE_TOP = "import"  # what may begin a definition
AT_A_STATEMENT = "node"  # what may begin a statement
AFTER_AN_OPERATION = ">>"
AFTER_A_VALUE = "and"

_CHARACTERS = (
    Rule(r"§ //", "`//` starts no comment", "comments start with `#`"),
    Rule(r"§ /\*", "`/*` starts no comment", "comments start with `#` and end with the line"),
    Rule(
        r"(?P<here>//)[ ][^\W\d]\w*[ ]§ [^\W\d]\w*",
        "`//` divides and starts no comment",
        "comments start with `#`",
    ),
    Rule(r"§ '(?P<text>[^']+)'", "single quotes hold no text", 'write `"<text>"`', "STRING"),
    Rule(r"§ '[^']+'", "<found> stands where a name is meant", "remove the quotes", "NAME"),
    Rule(r"§ ['“”‘’]", "<found> is no quotation mark", TEXT),
    Rule(r"§ &&?", "<found> is no operator", "write `and`"),
    Rule(r"§ \|\|", "`||` is no operator", "write `or` in a condition, `|` between candidates"),
    Rule(r"§ ! ", "`!` is no operator", "write `not`, or `!=`"),
    Rule(r"§ [→⇒⟶]", "<found> is no arrow", "write `->`, or `~>` for a searched edge"),
    Rule(r"§ \*\*", "`**` is no operator", "multiply: `k * k`"),
    Rule(r"§ / ", "`/` is no operator", "division of whole numbers is written `//`"),
    Rule(r"§ \?", "`?` is no operator", "write `if k == 1 then a else b`, for operations alone"),
    Rule(r"§ \.\.\.", "`...` is no range", "write `..`"),
    Rule(r"§ \u00a0", "a no-break space", "write an ordinary space"),
)

_NUMBERS = (
    Rule(
        r"\bbudget (?P<cost>\w+) § (?P<limit>\d[\d.]*\w*)",
        "missing `<=` before <next>",
        "write `budget <cost> <= <limit>`",
    ),
    Rule(r"\bbudget \w+ § =", "a budget is an upper bound, and this is `=`", "write `<=`"),
    Rule(r"\bbudget § ", "missing cost before <next>", BUDGET),
    Rule(r"\bdropout \( § 0\.\d+", "<found> is no whole number", "write percent: `dropout(20)`"),
    Rule(
        r"budget \w+ <= § [\d.]+\w*",
        "<found> is no amount",
        "write a whole number, or one with a unit: `600K`, `3.5M` or `2G`; a time as `5 ms`",
    ),
    Rule(
        r"§ \d+(\.\d+)?[KMG]\b",
        "<found> is no whole number",
        "units stand in budgets alone; write all digits",
    ),
    Rule(
        r"§ (\d+\.\d+|\d+[eE]\d|\d+[eE][+-])",
        "<found> is no whole number",
        "sizes and parameters are whole numbers",
    ),
    Rule(r"§ (?P<here>\. (?P<digits>\d+))", "`.` begins no number", "write `0.<digits>`"),
    Rule(r"§ \w*[^\W\x00-\x7f]", "<found> is no name", NAME),
    Rule(r"§ \d+[^\W\d]", "<found> is neither a number nor a name", NAME),
)

_SEPARATORS = (
    Rule(r"; § ;", "two semicolons in a row", "remove one"),
    Rule(r"§ ;", "a semicolon after a definition", "remove it", AT_THE_TOP),
    Rule(r"\{ § ;", "a semicolon with nothing before it", "remove it"),
    Rule(r"(?P<here>;) § \)", "a semicolon with nothing after it", "remove it"),
    Rule(r"\( [^()\n]*; [^()\n]*§ ; ", "a second semicolon", "separate arguments by commas", ","),
    Rule(r"(?P<here>,) § ([)\]};=]|ARROW|<end>)", "a comma with nothing after it", "remove it"),
    Rule(r", § ,", "two commas in a row", "remove one"),
    Rule(r"[(\[{] § ,", "a comma with nothing before it", "remove it"),
    Rule(
        r"(?P<here>,)\n(\} §|REF § (=|:|ARROW))",
        "a comma with nothing after it",
        "remove it",
    ),
)

_ARROWS = (
    Rule(r"§ =>", "`=>` is no arrow", "write `->`, or `~>` for a searched edge"),
    Rule(r"§ -->", "`-->` is no arrow", "write `->`, or `~>` for a searched edge"),
    Rule(r"§ (?P<here>- >)", "`- >` is no arrow", "write `->` without a space"),
    Rule(r"§ (?P<here>~ >)", "`~ >` is no arrow", "write `~>` without a space"),
    Rule(r"§ ~ ", "`~` is no arrow", "write `~>` for a searched edge"),
    Rule(
        r"(?P<target>REF) § (?P<here>< -) (?P<source>REF)",
        "`<here>` is no arrow",
        "write `<source> -> <target>`",
        "=",
    ),
    Rule(r"§ :=", "`:=` defines nothing", "write `=`"),
    Rule(
        r"(?P<target>REF) § (?P<here>\+ =) (?P<source>REF)",
        "`<here>` is no statement",
        "a node sums what arrives: write `<source> -> <target>`",
    ),
    Rule(r"ARROW § ARROW", "two arrows in a row", "remove one"),
    Rule(
        r"(?P<arrow>ARROW) (?P<middle>REF|\{ LINE \}) § (?P<here>ARROW) (?P<target>REF)",
        "a second arrow in one statement",
        "write `<middle> <here> <target>` as a statement of its own",
    ),
    Rule(
        r"(?P<target>REF) = (?P<source>REF) § ARROW",
        "an arrow in a definition",
        "write `<target> = <source> : conv(3)`, or `<source> -> <target>`",
        ":",
    ),
    Rule(r"§ ARROW", "an arrow between operations", OPERATIONS, AFTER_AN_OPERATION),
    Rule(r"§ ARROW", "an arrow with nothing before it", STATEMENT, AT_A_STATEMENT),
    Rule(r"§ ARROW", "an arrow outside any motif", MOTIF, AT_THE_TOP),
    Rule(r"(?P<here>ARROW) § (\}|;|:|<end>|=)", "an arrow with nothing after it", STATEMENT),
)

# Rules of single tokens, whatever they stand in.
TOKEN_RULES = (*_CHARACTERS, *_SEPARATORS, *_ARROWS, *_NUMBERS)

# What could have followed, where no rule fits; the first whose tokens all could is said.
MISSING = (
    (("STRING", "REAL"), "value", "a setting is a number, a word, or a text in double quotes"),
    (("STRING",), "path in quotes", 'write `import "ops/darts.nas"`'),
    (("times",), "`times`", CHAIN),
    (("in",), "`in`", LOOP),
    (("at",), "`at`", "write `reduce at 2, 4`"),
    (("into",), "`into`", "write `retain 2 into h`"),
    (("then",), "`then`", "an operation with a condition: `if k == 1 then a else b`"),
    (("else",), "`else`", "an operation needs both: `if k == 1 then a else b`"),
    (("COMPARE", "{"), "`{`", "a block stands in braces: `{ ... }`"),
    (("..", "INTEGER"), "index", "write `h[0]`, `h[0..4]`, or `h` for the whole list"),
    (("]", ","), "`]` or `,`", "close the bracket, or separate with commas"),
    (("]",), "`]`", "close the bracket"),
    (("..",), "`..`", LOOP),
    ((")", ","), "`)` or `,`", "close the parenthesis, or separate with commas"),
    ((")",), "`)`", "close the parenthesis"),
    (("}", ","), "`}` or `,`", "close the brace, or separate with commas"),
    (("}",), "setting", "write `name = value`"),
    (("COMPARE",), "`<=`", BUDGET),
    (("AMOUNT",), "amount", BUDGET),
    (("INTEGER",), "value", "a value is a whole number, a parameter, or an expression of them"),
    (("MERGE",), "definition", "a node is an edge, a merge or a motif: `x = a : conv(3)`"),
    (("chain",), "motif", "write `x = tied cell(a)`"),
    (("if", "NAME"), "operation", "an operation is written like `conv(3)` or `relu`"),
    (("(", "NAME"), "operation", "an operation is written like `conv(3)` or `relu`"),
    (("{", "NAME"), "node", STATEMENT),
    (("ARROW",), "arrow", STATEMENT),
    ((":",), "`:`", "write the operation after a colon, as in `x = a : conv(3)`"),
    (("=", ","), "`=`", STATEMENT),
    (("=",), "`=`", "write `name = value`"),
    (("->",), "`->`", "write `motif m(a) -> (b) { ... }`"),
    (("{",), "`{`", "a block stands in braces: `{ ... }`"),
    (("[",), "`[`", "a shape stands in brackets: `[3, 32, 32]`"),
    (("(",), "`(`", "a list of names stands in parentheses: `(a, b)`"),
    (("NAME",), "name", NAME),
)  # fmt: skip
