"""What people write instead of a construct: rules as in `rules`, in order."""

from __future__ import annotations

from bayesnas.dsl.mistakes.rules import (
    AFTER_A_VALUE,
    AFTER_AN_OPERATION,
    AT_A_STATEMENT,
    AT_THE_TOP,
    BOTH,
    CHAIN,
    CONDITION,
    DEFINITIONS,
    LOOP,
    MOTIF,
    NAME,
    OPERATIONS,
    SCAN,
    Rule,
)

_FILE = (
    Rule(
        rf"\bimport § (?!({'|'.join(DEFINITIONS)})\b)(?P<here>[^\W\d]\w*([ ][./-][ ]\w+)*)",
        "the path of an import stands in quotes",
        'write `import "<here>"`, with the file\'s ending',
    ),
    Rule(r'import[ ]""[ ]§[ ],', "one import brings one file", 'write `import "..."` again'),
    Rule(r"§ (node|for|if|retain|budget)\b", "a statement outside any motif", MOTIF, AT_THE_TOP),
    Rule(
        r"§ (REF ((, REF )*(ARROW|=[^=])|: REF)|\{)",
        "a statement outside any motif",
        MOTIF,
        AT_THE_TOP,
    ),
    Rule(
        r"§ (import|op|choice|motif|network)\b",
        "a definition inside a motif or network",
        "move it out of the braces",
        AT_A_STATEMENT,
    ),
    Rule(
        r"§ (search|train|learn) \{",
        "settings inside a motif or network",
        "move them out of the braces",
        AT_A_STATEMENT,
    ),
    Rule(
        r"(?P<kind>search|train|learn) § (=|:)",
        "missing `{` before <next>",
        "write `<kind> { ... }`",
    ),
    Rule(r"[{;\s] (?P<name>\w+) § :", "missing `=` before `:`", "write `<name> = ...`", "="),
    Rule(
        r"= § (?P<here>- \d\S*)",
        "`<here>` is no value of a setting",
        "numbers of settings are 0 or more",
        "REAL",
    ),
    Rule(r"= \w+ (\([^)]*\) )?§ [-+/%]", "a weight is a factor", "write `* 0.5`", "*"),
    Rule(r"= \S+ § [-+*/%]", "a setting is no sum or product", "write its value", "}"),
    Rule(r"= \S+ § ,", "a comma between settings", "write `;`, or begin a line", "}"),
)

_DEFINITIONS = (
    Rule(
        r"\bop (?P<name>\w+) § (?P<term>[^\W\d]\w*)",
        "missing `=` before <next>",
        "write `op <name> = <term>`",
    ),
    Rule(
        r"\bchoice (?P<name>\w+) § (?P<term>[^\W\d]\w*)",
        "missing `=` before <next>",
        "write `choice <name> = <term> | ...`",
    ),
    Rule(
        r"\b(?P<kind>op|choice) (?P<name>\w+)( \( (?P<formals>LINE) \))? § [^\[{]",
        "missing `=` before <next>",
        "write `<kind> <name> = ...`",
        "=",
    ),
    Rule(
        r"\b(?P<kind>op|choice) (?P<name>\w+) § (?P<here>[\[{] (?P<formals>LINE) [\]}])",
        "parameters stand in parentheses",
        "write `<kind> <name>(<formals>) = ...`",
    ),
    Rule(
        r"\bnetwork \w+ \( (LINE [,] )?(?P<here>\w+) § [,;)]",
        "input `<here>` has no shape",
        "write `<here>: [3, 32, 32]`, or `<here>: [10]` for features",
        ":",
    ),
    Rule(
        r"[(,] (?P<here>\w+) § [,)]",
        "output `<here>` has no shape",
        "write `<here>: [10]`, or `<here>: [3, 32, 32]`",
        ":",
    ),
    Rule(
        r"\w : § (?P<here>[({] (?P<shape>LINE) [)}])",
        "a shape stands in brackets",
        "write `[<shape>]`",
        "[",
    ),
    Rule(
        r"[(,] (?P<name>\w+) § (?P<here>: \[ LINE \])",
        "a motif's inputs and outputs have no shapes",
        "remove it; shapes follow from the network's",
        ")",
    ),
    Rule(
        r"\b(motif|network) LINE(?P<here>,) (?P<name>\w+) § = (?P<value>\w+)",
        "missing `;` before the parameters",
        "write `; <name> = <value>`",
    ),
    Rule(
        r"\b(?P<kind>motif|network) (?P<name>\w+) § (?P<here>[\[{] (?P<ports>LINE) [\]}])",
        "inputs stand in parentheses",
        "write `<kind> <name>(<ports>) -> (...) { ... }`",
    ),
    Rule(
        r"\b(?P<kind>motif|network) (?P<name>\w+) \( § \)",
        "`<name>` has no inputs",
        "name one or more: `<kind> <name>(x) -> (y)`",
    ),
    Rule(r"-> \( § \)", "there are no outputs", "name one or more: `-> (y)`"),
    Rule(
        r"-> § (?P<here>[\[{] (?P<ports>LINE) [\]}])",
        "outputs stand in parentheses",
        "write `-> (<ports>)`",
        "(",
    ),
    Rule(r"-> § (?P<name>\w+)", "outputs stand in parentheses", "write `-> (<name>)`", "("),
    Rule(
        r"\) § ~>",
        "`~>` before the outputs",
        "write `->`; `~>` searches operations of an edge",
        "->",
    ),
    Rule(
        r"\b(?P<kind>motif|network) (?P<name>\w+) \( (?P<ports>LINE) \) § ",
        "missing outputs before <next>",
        "write `<kind> <name>(<ports>) -> (...) { ... }`",
        "->",
    ),
    Rule(
        r"\b(?P<kind>motif|network) (?P<name>\w+) § ->",
        "`<name>` has no inputs",
        "write `<kind> <name>(x) -> (...)`",
    ),
)

_LOOPS = (
    Rule(
        r"\bin (?P<here>range §) \( (?P<start>[^,\n]+?) , (?P<stop>[^,\n]+?) \)",
        "`range` is no range of the language",
        "write `<start>..<stop>`",
    ),
    Rule(
        r"\bin (?P<here>range §) \( (?P<stop>[^,\n]+?) \)",
        "`range` is no range of the language",
        "write `0..<stop>`",
    ),
    Rule(r"\bfor § in\b", "missing variable before `in`", LOOP),
    Rule(r"\bfor \w+ § ", "missing `in` before <next>", LOOP, "in"),
    Rule(r"\bfor \w+ in § ", "missing range before <next>", LOOP),
    Rule(r"\bfor \w+ in (?P<here>LINE) § \{", "`<here>` is no range", LOOP, ".."),
    Rule(r"\bfor \w+ in [^\n\]]* § ", "missing `..` before <next>", LOOP, ".."),
    Rule(r"\b(for|if) LINE § :", "`:` opens no block", "a block stands in braces: `{ ... }`", "{"),
    Rule(r"\bif LINE § then", "`then` in a statement", CONDITION, "{"),
    Rule(r"§ = ", "`=` compares nothing", "write `==`", AFTER_A_VALUE),
    Rule(
        r"COMPARED § (==|!=|<=|>=|<|>)".replace("COMPARED", r"(==|!=|<=|>=|<|>) [^\n]*"),
        "comparisons do not chain",
        "write `1 < k and k < 4`",
        AFTER_A_VALUE,
    ),
    Rule(r"§ == ", "`==` compares and defines nothing", "write `=`"),
    Rule(r"else § if", "missing `{` before `if`", "write `else { if ... { ... } }`", "{"),
    Rule(
        r"(?P<here>\b(elif|elsif|elseif)) § ",
        "`<here>` is no keyword",
        "write `else { if ... { ... } }`",
    ),
)

_LISTS = (
    Rule(
        r"(?P<here>(?P<sources>LIST) §) (?P<arrow>ARROW) (?P<targets>LIST)",
        "several sources stand in braces",
        "write `{<sources>} <arrow> {<targets>}`",
        "=",
    ),
    Rule(
        r"(?P<here>(?P<sources>LIST) §) (?P<arrow>ARROW) (?P<target>REF|\{ LINE \})",
        "several sources stand in braces",
        "write `{<sources>} <arrow> <target>`",
        "=",
    ),
    Rule(
        r"§ (?P<here>[(\[] (?P<sources>LINE) [)\]] (?P<arrow>ARROW) [(\[] (?P<targets>LINE) [)\]])",
        "several sources stand in braces",
        "write `{<sources>} <arrow> {<targets>}`",
        AT_A_STATEMENT,
    ),
    Rule(
        r"§ (?P<here>[(\[] (?P<sources>LINE) [)\]]) (?P<arrow>ARROW) (?P<target>REF|\{ LINE \})",
        "several sources stand in braces",
        "write `{<sources>} <arrow> <target>`",
        AT_A_STATEMENT,
    ),
    Rule(
        r"ARROW § (?P<here>[(\[] (?P<targets>LINE) [)\]])",
        "several targets stand in braces",
        "write `{<targets>}`",
        "{",
    ),
    Rule(
        r"ARROW LINE §[ ], (LIST|REF) (=[^=]|ARROW)",
        "a comma between statements",
        "write `;`, or begin a line",
        AT_A_STATEMENT,
    ),
    Rule(
        r"ARROW (?P<here>REF § (, REF)+)",
        "several targets stand in braces",
        "write `{<here>}`",
        AT_A_STATEMENT,
    ),
    Rule(
        r"(?P<target>REF) = § (?P<here>[(\[{] (?P<sources>LIST) [)\]}])",
        "a list of nodes is no definition",
        "write `<target> = sum(<sources>)` or `<target> = concat(<sources>)`",
    ),
    Rule(r"\{ § \}", "an empty list of nodes", "name one or more: `{a, b}`", "NAME"),
    Rule(
        r"\b(?P<merge>sum|concat|product) § (?P<here>[\[{] (?P<sources>LINE) [\]}])",
        "sources stand in parentheses",
        "write `<merge>(<sources>)`",
        "(",
    ),
    Rule(
        r"\bnode (LINE , )?(?P<here>(?P<name>\w+) § \( (?P<size>LINE) \))",
        "a list's length stands in brackets",
        "write `<name>[<size>]`",
    ),
    Rule(
        r"\bnode (LIST|REF)[ ](?P<here>\w+) § (\w|<end>|[;}])",
        "missing `,` before `<here>`",
        "write `node a, b`",
    ),
    Rule(
        r"\[ LINE(?P<here>§) (?P<colon>:)",
        "`:` in a slice",
        "a slice is written `h[0..4]`, `h[..4]` or `h[0..]`",
        "..",
    ),
    Rule(
        r"\[ LINE § ,", "a comma in an index", "write `{h[0], h[1]}`, or a slice: `h[0..2]`", ".."
    ),
    Rule(r"\[ LINE § ARROW", "missing `]` before <found>", "close the bracket"),
    Rule(
        r"(?P<here>(?P<name>[^\W\d]\w*) § \( (?P<index>LINE) \))(?<=\)) (=|ARROW)",
        "an index stands in brackets",
        "write `<name>[<index>]`",
        "ARROW",
    ),
    Rule(
        r"(?P<arrow>ARROW) (?P<here>(?P<name>[^\W\d]\w*) § \( (?P<index>LINE) \))",
        "an index stands in brackets",
        "write `<name>[<index>]`",
        AT_A_STATEMENT,
    ),
    Rule(
        r"[({,] (?P<here>(?P<name>[^\W\d]\w*) § \( (?P<index>LINE) \))",
        "an index stands in brackets",
        "write `<name>[<index>]`",
        "[",
    ),
    Rule(r"\] § \[", "an index of an index", "lists have one index: `h[k]`"),
)

_CHAINS = (
    Rule(r"scan § chain|chain § scan", BOTH, "make a motif of the one, and name it in the other"),
    Rule(r"chain \w+ \( LINE \) § (x|\*)", "missing `times` before <next>", CHAIN, "times"),
    Rule(r"chain (\w+ )§", "`chain` repeats a motif with its inputs", CHAIN, "("),
    Rule(
        r"= (TIE )?(?P<here>(?P<motif>\w+) \( LINE \)) § times",
        "missing `chain` before `<motif>`",
        "write `chain <here> times ...`",
    ),
    Rule(
        r"scan \w+ \( LINE \) § ",
        "a scan without states to begin with: missing `from` before <next>",
        SCAN,
        "from",
    ),
    Rule(r"scan (\w+ )§", "`scan` runs a motif over its inputs", SCAN, "("),
    Rule(r"scan § (?P<tie>TIE)", "<found> stands behind `scan`", "write `<tie> scan ...`"),
    Rule(r"from (REF , )*§ \{", "braces round the states of a scan", SCAN),
    Rule(
        r"from (REF , )*(?P<state>REF) § :",
        "an operation after `from`, where nodes stand",
        "define it before: `start = <state> : ...`, and write `from start`",
    ),
    Rule(
        r"= (TIE )?(?P<here>(?P<motif>\w+) \( LINE \)) § from",
        "missing `scan` before `<motif>`",
        "write `scan <here> from ...`",
    ),
    Rule(r"= (TIE )?§ times", "missing `chain` before `times`", CHAIN),
    Rule(r"§ at\b", "missing `reduce` before `at`", "write `reduce at 2, 4`", "reduce"),
    Rule(r"\bretain § into", "missing number before `into`", "write `retain 2 into h`"),
    Rule(
        r"\bretain (?P<count>LINE) § (?P<here>\w+ (REF )?into) (?P<target>REF)",
        "`retain` counts edges, whatever they carry",
        "write `retain <count> into <target>`",
        "into",
    ),
    Rule(
        r"\bretain (?P<count>LINE) § (?P<here>(of|for|in|to|from)) (?P<target>REF)(?!\w|[ ]\w)",
        "missing `into` before <next>",
        "write `retain <count> into <target>`",
        "into",
    ),
    Rule(
        r"\bretain (?P<count>LINE) § (?P<target>REF)(?!\w|[ ]\w)",
        "missing `into` before <next>",
        "write `retain <count> into <target>`",
        "into",
    ),
)

_OPERATIONS = (
    Rule(
        r"(?P<target>LIST|REF) = (?P<source>REF)[ ]§[ ](?P<term>[^\W\d]\w*( \( LINE \))?)",
        "missing `:` before <next>",
        "write `<target> = <source> : <term>`",
        ":",
    ),
    Rule(
        r"(?P<target>REF) = (?P<source>REF) § \. (?P<term>\w+( \( LINE \))?)",
        "`.` applies no operation",
        "write `<target> = <source> : <term>`",
        ":",
    ),
    Rule(r"§ \.", "`.` joins no names", NAME),
    Rule(
        r"(?P<here>(?P<target>REF) = (?P<source>REF))(\n§|[ ]§[ ][};])",
        "`<source>` is given no operation",
        "write `<source> -> <target>` to pass it on, or `<target> = <source> : conv(3)`",
        ":",
    ),
    Rule(
        r"ARROW (REF|\{ LINE \})[ ](?P<here>(?P<term>[^\W\d]\w*)) § [^=,]",
        "missing `:` before `<here>`",
        "write the operation after a colon, as in `a -> b : conv(3)`",
        "=",
    ),
    Rule(
        r"= (?P<here>(?P<term>\w+) \( §) \d",
        "`<term>` is given no node",
        "an operation is applied as in `x = a : conv(3)`",
    ),
    Rule(
        r"[:|+(=] (?P<name>[^\W\d]\w*)[ ]§[ ](?P<value>\d+)",
        "arguments stand in parentheses",
        "write `<name>(<value>)`",
        AFTER_AN_OPERATION,
    ),
    Rule(
        r"(?P<name>\w+) § (?P<here>[\[{] (?P<values>LINE) [\]}])",
        "arguments stand in parentheses",
        "write `<name>(<values>)`",
        AFTER_AN_OPERATION,
    ),
    Rule(r": [^\n]*§ : ", "a second `:` in one statement", OPERATIONS, AFTER_AN_OPERATION),
    Rule(r"§ ,", "a comma between operations", OPERATIONS, AFTER_AN_OPERATION),
    Rule(r"§ >=? ", "`>` between operations", OPERATIONS, AFTER_AN_OPERATION),
    Rule(
        r"\b(op|choice) [^\n]* = [^\n]*[)\w][ ]§[ ][^\W\d]",
        "missing operator before <found>",
        OPERATIONS,
        AT_THE_TOP,
    ),
    Rule(
        r": [^\n;]*[\w)][ ](?P<here>\w+) § [^=,]",
        "missing operator before `<here>`",
        OPERATIONS,
        "=",
    ),
    Rule(
        r"\b(?P<name>\w+) \( LINE(?P<here>,) (?P<argument>\w+) § = (?P<value>\w+)",
        "missing `;` before the arguments",
        "write `; <argument> = <value>`",
    ),
    Rule(r"§ ,", "a comma between statements", "write `;`, or begin a line", AT_A_STATEMENT),
)

CONSTRUCT_RULES = (*_FILE, *_DEFINITIONS, *_LOOPS, *_LISTS, *_CHAINS, *_OPERATIONS)
