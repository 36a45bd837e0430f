"""What people write out of habit, from Python, PyTorch and other search spaces.

Rules as in `rules`; they come before all others, so their patterns are narrow.
"""

from __future__ import annotations

from bayesnas.dsl.mistakes.rules import AFTER_A_VALUE, AFTER_AN_OPERATION, AT_THE_TOP, LOOP, Rule

# The primitive operations, which a call of a motif or a merge can be told from.
OPERATION_NAMES = (
    "skip", "conv", "depthwise_conv", "transposed_conv", "factorized_reduce", "bn",
    "layer_norm", "group_norm", "layer_scale", "max_pool", "avg_pool", "pad_channels",
    "upsample", "resize", "chunk", "channel_shuffle", "attention", "position", "embedding",
    "unembedding", "global_avg_pool", "flatten", "linear", "dropout", "relu", "relu6", "leaky_relu",
    "silu", "hard_swish", "gelu", "tanh", "sigmoid", "pick", "series", "zeros", "complement",
    "highway", "matrix",
)  # fmt: skip
_OPERATION = rf"\b({'|'.join(OPERATION_NAMES)})\b"
_MERGE = r"(?:sum|concat|product)"
_TERM = r"[^\W\d]\w*( \( LINE \))?"
_DEFINE = "operations are defined by `op f = ...`, motifs by `motif m(a) -> (b) { ... }`"
_PARAMETER = "numbers are parameters: write `; <name> = <value>` in the header"
_NO_STEP = "a loop counts in ones: write `<step> * <variable>` where the number is used"

_CALLS = (
    Rule(
        rf"(?P<target>REF) = (?P<here>(?P<name>{_OPERATION})) \( (?P<source>REF)"
        r" , (?P<values>(\w+ § = |§ \d)LINE) \)(?! \))",
        "`<name>` is an operation and stands on an edge",
        "write `<target> = <source> : <name>(<values>)`",
    ),
    Rule(
        r"= (TIE )?(chain )?(?P<name>\w+) \( (?P<sources>(LIST|REF)) , § (?P<value>\d+)",
        "<found> stands where a node is meant",
        "parameters of a motif stand after `;` by name: `<name>(<sources>; width = <value>)`",
    ),
    Rule(
        r"\( [^()\n]*; ([^()\n]*, )?§ motif (?P<name>\w+) = (?P<value>\w+)",
        "`motif` in an argument",
        "`motif` stands in the declaration alone: write `<name> = <value>`",
        "NAME",
    ),
    Rule(
        rf"[(,] (?P<here>(?P<name>{_OPERATION}) § \( LINE \))",
        "`<name>` is an operation, and a node is meant here",
        "give it an edge of its own, `x = a : <name>(...)`, and name `x` here",
        "[",
    ),
    Rule(
        r"= (TIE )?(chain )?(?P<name>\w+) \( § (?P<here>[\[({] (?P<sources>LIST|REF) [\])}]) \)",
        "nodes are named without brackets",
        "write `<name>(<sources>)`",
    ),
    Rule(
        r"(?P<target>REF) = (?P<first>REF) § \+ (?P<second>REF)",
        "`+` between nodes",
        "write `<target> = sum(<first>, <second>)`",
        ":",
    ),
    Rule(
        r"(?P<target>REF) = (?P<first>REF) § \* (?P<second>REF)",
        "`*` between nodes",
        "write `<target> = product(<first>, <second>)`",
        ":",
    ),
)

_ARGUMENTS = (
    Rule(
        r"[(,=] (?P<here>\( (?P<first>\d+) § , (?P<second>\d+) \))",
        "a pair stands where one number is meant",
        "kernels and strides are square: write one number",
        ")",
    ),
    Rule(
        r"[(,=] § (?P<here>\[ (?P<first>\d+) (, \d+ )*\])",
        "a list stands where one number is meant",
        "kernels and strides are square: write one number",
        "INTEGER (",
    ),
    Rule(
        rf"\b(?i:repeat|stack|times) \( (?P<here>(?P<name>{_OPERATION}) § \( LINE \))( , LINE)? \)",
        "`<name>` is an operation, and a number is meant here",
        "write `<here> >> <here>`, or repeat a motif: `x = chain cell(a) times 6`",
        AFTER_A_VALUE,
    ),
    Rule(
        rf"[(,] (?P<here>(?P<name>{_OPERATION}) § \( LINE \))",
        "`<name>` is an operation, and a number is meant here",
        "arguments are numbers; operations follow each other by `>>`: `conv(3) >> bn`",
        AFTER_A_VALUE,
    ),
    Rule(
        r"[:>|+] \w+ \( ([^()\n]*, )?(?P<here>(?P<name>[^\W\d]\w*) § : (?P<value>[\w.]+))",
        "`:` before the value of a parameter",
        "write `<name> = <value>`",
        ")",
    ),
    Rule(
        rf"[:=|>] (?P<first>{_TERM})[ ](?P<here>if)[ ](?P<condition>[^\n{{:]+?)[ ]§ else"
        rf" (?P<second>{_TERM})",
        "`if` after an operation",
        "write `if <condition> then <first> else <second>`",
    ),
    Rule(
        rf"= (?P<first>{_TERM})[ ]§ (?P<here>if)[ ](?P<condition>[^\n{{:]+?)[ ]else"
        rf" (?P<second>{_TERM})",
        "`if` after an operation",
        "write `if <condition> then <first> else <second>`",
        AT_THE_TOP,
    ),
    Rule(
        rf"(?P<first>{_TERM}) § \* \w+",
        "`*` repeats no operation",
        "write `<first> >> <first>`, or repeat a motif: `x = chain cell(a) times 6`",
        AFTER_AN_OPERATION,
    ),
    Rule(
        r"budget \w+ <= (§ )?(?!\d+(\.\d+)?( §)? ?[mu]s\b)(?P<here>\d+(\.\d+)?( §)? ?"
        r"(n[sS]|[mM]i?l?l?i?[sS]e?c?\w*|[uµμ]s\w*|[sS]ec\w*|min\w*))",
        "`<here>` is no time",
        "a time is written in `us`, `ms` or `s`: `5 ms`",
    ),
    Rule(
        r"budget \w+ <= (§ )?(?P<here>\d[\d.]*[eE]\+?\d+)",
        "`<here>` is no amount",
        "write all digits, or a unit: `600K`, `3.5M` or `2G`; of a time `5 ms`",
    ),
)

_STATEMENTS = (
    Rule(
        rf"(?P<target>REF) = (?P<merge>{_MERGE} \( LINE \)) § (:|>>) ",
        "an operation behind a merge",
        "name the merge, `m = <merge>`, and begin anew: `<target> = m : ...`",
    ),
    Rule(
        rf"[:|>] § (?P<here>(?P<merge>{_MERGE})) \(",
        "`<merge>` merges nodes and is no operation",
        "`+` sums operations on one edge, as in `conv(3) + skip`; else name what each makes, "
        "and write `x = <merge>(a, b)`",
    ),
    Rule(
        r"\bnode (?P<target>REF) § =",
        "`node` declares a node, and `=` defines one",
        "leave `node` out: `<target> = a : conv(3)`",
    ),
    Rule(
        rf"(?P<source>REF) (?P<arrow>ARROW) (?P<target>REF) § = (?P<operation>{_TERM})",
        "`=` before an operation",
        "write `<source> <arrow> <target> : <operation>`",
    ),
    Rule(
        r"\n(?P<here>\[ (?P<sources>LINE) \]) § (?P<arrow>ARROW) (?P<target>REF|\{ LINE \})",
        "several sources stand in braces",
        "write `{<sources>} <arrow> <target>`",
    ),
    Rule(
        r"(?P<here>(?P<name>\w+)) = § (?P<value>-?\d+)",
        "`<name>` is given a number, and nodes hold none",
        _PARAMETER,
        "MERGE",
    ),
    Rule(
        r"\bfor § \( (?P<variable>\w+) in (?P<range>LINE) \)",
        "parentheses round the head of a loop",
        "write `for <variable> in <range> { ... }`",
    ),
    Rule(r"\bfor § \(", "parentheses round the head of a loop", LOOP),
    Rule(
        r"\bfor (?P<variable>\w+) in LINE § (step|by) (?P<step>\w+)",
        "a loop has no step",
        _NO_STEP,
        "{",
    ),
    Rule(
        r"= (?P<here>tied|shared) (REF § :|§ (sum|concat|product)\b)",
        "only motifs are tied",
        "put it into a motif and tie that: `x = tied cell(a)`",
    ),
    Rule(r"(?P<here>\bwhile) § ", "`while` is no keyword", LOOP),
    Rule(
        r"[;{}\n] ?(?P<here>(let|var|const|val|auto)) § REF (=|:)",
        "`<here>` is no keyword",
        "remove it",
    ),
    Rule(
        r"§ (?P<here>(let|var|const|val)) (?P<name>\w+) = (?P<value>\d+)",
        "`<here>` begins no definition",
        _PARAMETER,
        AT_THE_TOP,
    ),
    Rule(r"§ (def|function|func|fn|class)\b", "<found> begins no definition", _DEFINE, AT_THE_TOP),
    Rule(
        r"[;{}\n] ?(?P<here>(def|function|func|fn|class)) § \w",
        "`<here>` begins no statement",
        "move it out of the braces; " + _DEFINE,
    ),
)

HABIT_RULES = (*_CALLS, *_ARGUMENTS, *_STATEMENTS)
