"""Syntax errors in human sentences: what people write, what they are told, and where."""

import re
from collections.abc import Iterator

import pytest
from support import MARK, assert_refused, parse_text, refused

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, render
from bayesnas.dsl.mistakes import explain as syntax_errors
from bayesnas.dsl.mistakes.explain import RULES
from bayesnas.dsl.mistakes.rules import (
    BOTH,
    BUDGET,
    CHAIN,
    CONDITION,
    FILE,
    LOOP,
    MOTIF,
    NAME,
    OPERATIONS,
    SCAN,
    STATEMENT,
    TEXT,
    regex,
)

LAYERS = "make a motif of the one, and name it in the other"

# Bodies of a motif, by what they are told: code, message and help; the mark stands at the place.
STATEMENTS = {
    "node a§,\n  a -> c": ("D101", "a comma with nothing after it", "remove it"),
    "node x\n  {a, b§,\n  } -> x": ("D101", "a comma with nothing after it", "remove it"),
    "x§, = m(a)": ("D101", "a comma with nothing after it", "remove it"),
    "{§, a} -> c": ("D101", "a comma with nothing before it", "remove it"),
    "§(a, b) -> (c, d)": ("D101", "several sources stand in braces", "write `{a, b} -> {c, d}`"),
    "x = §times 3": ("D101", "missing `chain` before `times`", CHAIN),
    "§x = a\n  b -> c": (
        "D101",
        "`a` is given no operation",
        "write `a -> x` to pass it on, or `x = a : conv(3)`",
    ),
    "§a, b -> c": ("D101", "several sources stand in braces", "write `{a, b} -> c`"),
    "§a, b -> c, d": ("D101", "several sources stand in braces", "write `{a, b} -> {c, d}`"),
    "a -> §b, c": ("D101", "several targets stand in braces", "write `{b, c}`"),
    "a -> b§, c -> d": ("D101", "a comma between statements", "write `;`, or begin a line"),
    "{a, b§,} -> c": ("D101", "a comma with nothing after it", "remove it"),
    "{a,§, b} -> c": ("D101", "two commas in a row", "remove one"),
    "a -> c : conv(3§,)": ("D101", "a comma with nothing after it", "remove it"),
    "a -> c;§; b -> c": ("D101", "two semicolons in a row", "remove one"),
    "§; a -> c": ("D101", "a semicolon with nothing before it", "remove it"),
    "x = a §conv(3)": ("D101", "missing `:` before `conv`", "write `x = a : conv(3)`"),
    "§x = a": (
        "D101",
        "`a` is given no operation",
        "write `a -> x` to pass it on, or `x = a : conv(3)`",
    ),
    "a -> c §conv(3)": (
        "D101",
        "missing `:` before `conv`",
        "write the operation after a colon, as in `a -> b : conv(3)`",
    ),
    "a -> c §relu": (
        "D101",
        "missing `:` before `relu`",
        "write the operation after a colon, as in `a -> b : conv(3)`",
    ),
    "a -> §-> c": ("D101", "two arrows in a row", "remove one"),
    "§-> c": ("D101", "an arrow with nothing before it", STATEMENT),
    "a -> b §-> c": (
        "D101",
        "a second arrow in one statement",
        "write `b -> c` as a statement of its own",
    ),
    "x = a §-> c": ("D101", "an arrow in a definition", "write `x = a : conv(3)`, or `a -> x`"),
    "a §->": ("D101", "an arrow with nothing after it", STATEMENT),
    "a -> c : conv(3) §-> relu": ("D101", "an arrow between operations", OPERATIONS),
    "§(a, b) -> c": ("D101", "several sources stand in braces", "write `{a, b} -> c`"),
    "§[a, b] ~> c": ("D101", "several sources stand in braces", "write `{a, b} ~> c`"),
    "§(a) -> c": ("D101", "several sources stand in braces", "write `{a} -> c`"),
    "a -> §(b, c)": ("D101", "several targets stand in braces", "write `{b, c}`"),
    "a -> §[b, c]": ("D101", "several targets stand in braces", "write `{b, c}`"),
    "x = concat§{a, b}": ("D101", "sources stand in parentheses", "write `concat(a, b)`"),
    "x = concat§[a, b]": ("D101", "sources stand in parentheses", "write `concat(a, b)`"),
    "node §h(4)": ("D101", "a list's length stands in brackets", "write `h[4]`"),
    "a -> §h(0)": ("D101", "an index stands in brackets", "write `h[0]`"),
    "a -> c : conv§[3]": ("D101", "arguments stand in parentheses", "write `conv(3)`"),
    "x = chain m(a) §3": ("D101", "missing `times` before `3`", CHAIN),
    "x = chain m(a)§": ("D101", "missing `times` before the end of the line", CHAIN),
    "x = chain m(a) §x 3": ("D101", "missing `times` before `x`", CHAIN),
    "x = §m(a) times 3": ("D101", "missing `chain` before `m`", "write `chain m(a) times ...`"),
    "x = chain m §times 3": ("D101", "`chain` repeats a motif with its inputs", CHAIN),
    "x = scan m(a)§": (
        "D101",
        "a scan without states to begin with: missing `from` before the end of the line",
        SCAN,
    ),
    "x = scan m(a) §times 3": (
        "D101",
        "a scan without states to begin with: missing `from` before `times`",
        SCAN,
    ),
    "x = scan m §from a": ("D101", "`scan` runs a motif over its inputs", SCAN),
    "x = scan §chain m(a) from b times 2": ("D101", BOTH, LAYERS),
    "x = chain §scan m(a) from b times 2": ("D101", BOTH, LAYERS),
    "x = scan §shared m(a) from b": (
        "D101",
        "`shared` stands behind `scan`",
        "write `shared scan ...`",
    ),
    "x = scan m(a) from §{b, c}": ("D101", "braces round the states of a scan", SCAN),
    "x = scan m(a) from b §: zeros(4)": (
        "D101",
        "an operation after `from`, where nodes stand",
        "define it before: `start = b : ...`, and write `from start`",
    ),
    "x = §m(a) from b": ("D101", "missing `scan` before `m`", "write `scan m(a) from ...`"),
    "x = chain m(a) times 3 reduce §1, 2": (
        "D101",
        "missing `at` before `1`",
        "write `reduce at 2, 4`",
    ),
    "x = chain m(a) times 3 §at 1": (
        "D101",
        "missing `reduce` before `at`",
        "write `reduce at 2, 4`",
    ),
    "x = chain m(a) times 3 reduce at 1§,": ("D101", "a comma with nothing after it", "remove it"),
    "retain 2 §h": ("D101", "missing `into` before `h`", "write `retain 2 into h`"),
    "retain 2 §of skip into h": (
        "D101",
        "`retain` counts edges, whatever they carry",
        "write `retain 2 into h`",
    ),
    "retain k - 1 §skip into h[1], h[2]": (
        "D101",
        "`retain` counts edges, whatever they carry",
        "write `retain k - 1 into h[1]`",
    ),
    "retain 2 §of h": ("D101", "missing `into` before `of`", "write `retain 2 into h`"),
    "retain 2 §of the skips": ("D101", "missing `into` before `of`", "write `retain 2 into h`"),
    "retain §into h": ("D101", "missing number before `into`", "write `retain 2 into h`"),
    "for k §0..4 { a -> c }": ("D101", "missing `in` before `0`", LOOP),
    "for k §= 0..4 { a -> c }": ("D101", "missing `in` before `=`", LOOP),
    "for k in §4 { a -> c }": ("D101", "`4` is no range", LOOP),
    "for k in §range(4) { a -> c }": (
        "D101",
        "`range` is no range of the language",
        "write `0..4`",
    ),
    "for k in §range(1, n) { a -> c }": (
        "D101",
        "`range` is no range of the language",
        "write `1..n`",
    ),
    "for k in 0§, 4 { a -> c }": ("D101", "missing `..` before `,`", LOOP),
    "for k in §[0, 1] { a -> c }": ("D101", "missing range before `[`", LOOP),
    "for k in 0§:4 { a -> c }": ("D101", "missing `..` before `:`", LOOP),
    "for k in 0§...4 { a -> c }": ("D102", "`...` is no range", "write `..`"),
    "for k in 0..4§: a -> c": ("D101", "`:` opens no block", "a block stands in braces: `{ ... }`"),
    "if k == 1 §then { a -> c }": ("D101", "`then` in a statement", CONDITION),
    "if k == 1§: a -> c": ("D101", "`:` opens no block", "a block stands in braces: `{ ... }`"),
    "if k §= 1 { a -> c }": ("D101", "`=` compares nothing", "write `==`"),
    "if k == 1 §&& k < 2 { a -> c }": ("D102", "`&&` is no operator", "write `and`"),
    "if k == 1 §|| k < 2 { a -> c }": (
        "D102",
        "`||` is no operator",
        "write `or` in a condition, `|` between candidates",
    ),
    "if §!k { a -> c }": ("D102", "`!` is no operator", "write `not`, or `!=`"),
    "if k { a -> c } else §if n { b -> c }": (
        "D101",
        "missing `{` before `if`",
        "write `else { if ... { ... } }`",
    ),
    "if k { a -> c } §elif n { b -> c }": (
        "D101",
        "`elif` is no keyword",
        "write `else { if ... { ... } }`",
    ),
    "a §=> b": ("D102", "`=>` is no arrow", "write `->`, or `~>` for a searched edge"),
    "a §~ b": ("D102", "`~` is no arrow", "write `~>` for a searched edge"),
    "a §- > b": ("D101", "`- >` is no arrow", "write `->` without a space"),
    "a §<- b": ("D101", "`<-` is no arrow", "write `b -> a`"),
    "a §~ > b": ("D101", "`~ >` is no arrow", "write `~>` without a space"),
    "a §--> b": ("D102", "`-->` is no arrow", "write `->`, or `~>` for a searched edge"),
    "a §→ b": ("D102", "`→` is no arrow", "write `->`, or `~>` for a searched edge"),
    "x §:= a": ("D102", "`:=` defines nothing", "write `=`"),
    "a -> h[0§:4]": (
        "D101",
        "`:` in a slice",
        "a slice is written `h[0..4]`, `h[..4]` or `h[0..]`",
    ),
    "a -> h[§:k]": ("D101", "`:` in a slice", "a slice is written `h[0..4]`, `h[..4]` or `h[0..]`"),
    "a -> h[k§:]": ("D101", "`:` in a slice", "a slice is written `h[0..4]`, `h[..4]` or `h[0..]`"),
    "h[0§, 1] -> c": ("D101", "a comma in an index", "write `{h[0], h[1]}`, or a slice: `h[0..2]`"),
    "h[0]§[1] -> c": ("D101", "an index of an index", "lists have one index: `h[k]`"),
    "x = a§.conv(3)": ("D102", "`.` applies no operation", "write `x = a : conv(3)`"),
    "x = a : conv §3": ("D101", "arguments stand in parentheses", "write `conv(3)`"),
    "x = a : dropout(§0.5)": ("D101", "`0.5` is no whole number", "write percent: `dropout(20)`"),
    "x = a : conv(§3.5)": (
        "D101",
        "`3.5` is no whole number",
        "sizes and parameters are whole numbers",
    ),
    "x = §conv(3)": (
        "D101",
        "`conv` is given no node",
        "an operation is applied as in `x = a : conv(3)`",
    ),
    "a -> c §// to c": ("D101", "`//` starts no comment", "comments start with `#`"),
    "a -> c : conv(3) §// to c": ("D101", "`//` starts no comment", "comments start with `#`"),
    "a -> c : conv(3 §// the width": (
        "D101",
        "`//` divides and starts no comment",
        "comments start with `#`",
    ),
    "a -> c §/* to c */": (
        "D102",
        "`/*` starts no comment",
        "comments start with `#` and end with the line",
    ),
    "  §/* don't ( do this */ a -> c": (
        "D102",
        "`/*` starts no comment",
        "comments start with `#` and end with the line",
    ),
    "§For k in 0..4 { a -> c }": (
        "D101",
        "`For` is no keyword",
        "keywords are lower case: write `for`",
    ),
    "§Node x": ("D101", "`Node` is no keyword", "keywords are lower case: write `node`"),
    "x = §Chain m(a) times 3": (
        "D101",
        "`Chain` is no keyword",
        "keywords are lower case: write `chain`",
    ),
    "a -> c : conv(3)§, relu": ("D101", "a comma between operations", OPERATIONS),
    "a -> c : conv(3) §> relu": ("D101", "`>` between operations", OPERATIONS),
    "a -> c : conv(3) §relu": ("D101", "missing operator before `relu`", OPERATIONS),
    "a -> c : conv(1 < 2 §< 3)": ("D101", "comparisons do not chain", "write `1 < k and k < 4`"),
    "a -> c : conv(k §** 2)": ("D102", "`**` is no operator", "multiply: `k * k`"),
    "a -> c : conv(k §/ 2)": (
        "D102",
        "`/` is no operator",
        "division of whole numbers is written `//`",
    ),
    "a -> c : conv(k §? 1 : 2)": (
        "D102",
        "`?` is no operator",
        "write `if k == 1 then a else b`, for operations alone",
    ),
    "§a": ("D101", "`a` begins no statement", STATEMENT),
    "§a b": ("D101", "`a` begins no statement", STATEMENT),
    "§return c": ("D101", "`return` begins no statement", STATEMENT),
    "node a §b": ("D101", "missing `,` before `b`", "write `node a, b`"),
    "node a§,": ("D101", "a comma with nothing after it", "remove it"),
    "node §3x": ("D101", "`3x` is neither a number nor a name", NAME),
    "§op f = skip": ("D101", "a definition inside a motif or network", "move it out of the braces"),
    "§motif n(a) -> (b) { a -> b }": (
        "D101",
        "a definition inside a motif or network",
        "move it out of the braces",
    ),
    '§import "x.nas"': (
        "D101",
        "a definition inside a motif or network",
        "move it out of the braces",
    ),
    "§search { epochs = 1 }": (
        "D101",
        "settings inside a motif or network",
        "move them out of the braces",
    ),
    "budget parameters §3.5M": (
        "D101",
        "missing `<=` before `3.5M`",
        "write `budget parameters <= 3.5M`",
    ),
    "budget parameters §= 3.5M": (
        "D101",
        "a budget is an upper bound, and this is `=`",
        "write `<=`",
    ),
    "budget parameters <= §3.5": (
        "D101",
        "`3.5` is no amount",
        "write a whole number, or one with a unit: `600K`, `3.5M` or `2G`; a time as `5 ms`",
    ),
    "budget parameters <= §3.5m": (
        "D101",
        "`3.5m` is no amount",
        "write a whole number, or one with a unit: `600K`, `3.5M` or `2G`; a time as `5 ms`",
    ),
    "budget §<= 3M": ("D101", "missing cost before `<=`", BUDGET),
    "budget parameters <§": ("D101", "missing amount before the end of the line", BUDGET),
    "budget parameters <=§ ": ("D101", "missing amount before the end of the line", BUDGET),
    "§x = 3": (
        "D101",
        "`x` is given a number, and nodes hold none",
        "numbers are parameters: write `; x = 3` in the header",
    ),
    "x = §-": (
        "D101",
        "missing definition before `-`",
        "a node is an edge, a merge or a motif: `x = a : conv(3)`",
    ),
    "x = n(a§, width = 8)": ("D101", "missing `;` before the arguments", "write `; width = 8`"),
    "x §+= a": ("D101", "`+=` is no statement", "a node sums what arrives: write `a -> x`"),
    "{§} -> c": ("D101", "an empty list of nodes", "name one or more: `{a, b}`"),
    "{a, b} §c": ("D101", "missing arrow before `c`", STATEMENT),
    "{a §b} -> c": (
        "D101",
        "missing `}` or `,` before `b`",
        "close the brace, or separate with commas",
    ),
    "{a, b} §= c": ("D101", "missing arrow before `=`", STATEMENT),
    'a -> c : §"conv"': ("D101", '`"conv"` stands where a name is meant', "remove the quotes"),
    "a -> c : if k then relu§": (
        "D101",
        "missing `else` before the end of the line",
        "an operation needs both: `if k == 1 then a else b`",
    ),
    "a -> c : if k §relu else bn": (
        "D101",
        "missing `then` before `relu`",
        "an operation with a condition: `if k == 1 then a else b`",
    ),
    "a -> c : if k == 1 then relu §: bn": ("D101", "a second `:` in one statement", OPERATIONS),
    "x = sum(a §b)": (
        "D101",
        "missing `)` or `,` before `b`",
        "close the parenthesis, or separate with commas",
    ),
    "a -> c :§": (
        "D101",
        "missing operation before the end of the line",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c : §| conv(3)": (
        "D101",
        "missing operation before `|`",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c : conv(3) |§": (
        "D101",
        "missing operation before the end of the line",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c : conv(3) >>§ ": (
        "D101",
        "missing operation before the end of the line",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c : §>> conv(3)": (
        "D101",
        "missing operation before `>>`",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c §@ b": ("D102", "unexpected character `@`", "remove it"),
    "§sum = a : relu": (
        "D101",
        "`sum` is a keyword and cannot be a name",
        "choose another name, such as `sum_1`",
    ),
    "a -> §in": (
        "D101",
        "`in` is a keyword and cannot be a name",
        "choose another name, such as `in_1`",
    ),
    "x, §y = a : skip": (
        "D105",
        "`x` and `y` cannot be defined together here",
        "only a motif has several outputs; define one node a statement",
    ),
    "§search -> c": (
        "D101",
        "`search` is a keyword and cannot be a name",
        "choose another name, such as `search_1`",
    ),
    "x = tied§": ("D101", "missing motif before the end of the line", "write `x = tied cell(a)`"),
    "x = tied a§": (
        "D101",
        "missing `(` before the end of the line",
        "a list of names stands in parentheses: `(a, b)`",
    ),
    "x = tied chain§": ("D101", "missing name before the end of the line", NAME),
    "x = m(a; w = §)": (
        "D101",
        "missing value before `)`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "x = m(§; w = 1)": ("D101", "missing name before `;`", NAME),
    "x = m(a; w = 1§; v = 2)": ("D101", "a second semicolon", "separate arguments by commas"),
    "a -> c : conv(k = §= 2)": (
        "D101",
        "missing value before `=`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "a -> c : conv(1 +§)": (
        "D101",
        "missing value before `)`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "x = a :§\n  node h": (
        "D101",
        "missing operation before the end of the line",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "retain 1 into§\n  node h": (
        "D101",
        "missing name before the end of the line",
        "a name is letters (a to z), digits and `_`, begins with no digit, and is no keyword",
    ),
    "a -> c : conv((1 + 2)\n§}": ("D103", "`}` does not close `(`", "write `)` first"),
    "a ~> c : conv(3)§, skip": ("D101", "a comma between operations", OPERATIONS),
    "x = a : b §: c": ("D101", "a second `:` in one statement", OPERATIONS),
    "x §== a": ("D101", "`==` compares and defines nothing", "write `=`"),
    "for §in 0..4 { }": ("D101", "missing variable before `in`", LOOP),
    "for k in §{ }": ("D101", "missing range before `{`", LOOP),
    "if §{ }": (
        "D101",
        "missing value before `{`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "h[§] -> c": (
        "D101",
        "missing index before `]`",
        "write `h[0]`, `h[0..4]`, or `h` for the whole list",
    ),
    "h[0 §-> c": ("D101", "missing `]` before `->`", "close the bracket"),
    "§h(0) -> c": ("D101", "an index stands in brackets", "write `h[0]`"),
    "x = §Sum conv(3)": ("D101", "`Sum` is no keyword", "keywords are lower case: write `sum`"),
    "a -> c §AND b": (
        "D101",
        "missing `:` before `AND`",
        "write the operation after a colon, as in `a -> b : conv(3)`",
    ),
    "§a != b": ("D101", "`a` begins no statement", STATEMENT),
    "In -> §-> b": ("D101", "two arrows in a row", "remove one"),
    "x = a : conv(3) §bn >> relu": ("D101", "missing operator before `bn`", OPERATIONS),
    "a -> c : relu §b": ("D101", "missing operator before `b`", OPERATIONS),
    "§times -> b": (
        "D101",
        "`times` is a keyword and cannot be a name",
        "choose another name, such as `times_1`",
    ),
    "node h{§4}": ("D101", "missing name before `4`", NAME),
    "a -> h[0\n§}": ("D103", "`}` does not close `[`", "write `]` first"),
    "a -> b : conv(3 §4)": (
        "D101",
        "missing `)` or `,` before `4`",
        "close the parenthesis, or separate with commas",
    ),
    "{a, §h(0)} -> c": ("D101", "an index stands in brackets", "write `h[0]`"),
    "a ~> c : relu §|| bn": (
        "D102",
        "`||` is no operator",
        "write `or` in a condition, `|` between candidates",
    ),
    "a -> b : (conv(3) §bn)": ("D101", "missing `)` before `bn`", "close the parenthesis"),
    "h[0..2 §-> c": ("D101", "missing `]` before `->`", "close the bracket"),
    "a -> c : §3": (
        "D101",
        "missing operation before `3`",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "a -> c : relu;§; b -> c": ("D101", "two semicolons in a row", "remove one"),
    "x = §(a, b)": (
        "D101",
        "a list of nodes is no definition",
        "write `x = sum(a, b)` or `x = concat(a, b)`",
    ),
    "x = §[a, b]": (
        "D101",
        "a list of nodes is no definition",
        "write `x = sum(a, b)` or `x = concat(a, b)`",
    ),
    "§x y = m(a)": ("D101", "`x` begins no statement", STATEMENT),
    "x = m(a)§, n(b)": ("D101", "a comma between statements", "write `;`, or begin a line"),
    "x = m §a": ("D101", "missing `:` before `a`", "write `x = m : a`"),
    "x = m(a §b)": (
        "D101",
        "missing `)` or `,` before `b`",
        "close the parenthesis, or separate with commas",
    ),
    "x = §'a'": ("D102", "`'a'` stands where a name is meant", "remove the quotes"),
}

# Whole files.
DEFINITIONS = {
    "§-> a": ("D101", "an arrow outside any motif", MOTIF),
    "op a = f§.g": ("D102", "`.` joins no names", NAME),
    "motif m(x) -> (y)§\n  x -> y\n}": (
        "D101",
        "missing `{` before the end of the line",
        "a block stands in braces: `{ ... }`",
    ),
    "# fine\n§/* don't ( do this */ op a = skip": (
        "D102",
        "`/*` starts no comment",
        "comments start with `#` and end with the line",
    ),
    "motif m(a, b§,) -> (c) { }": ("D101", "a comma with nothing after it", "remove it"),
    "motif m(a§;) -> (c) { }": ("D101", "a semicolon with nothing after it", "remove it"),
    "op a = skip§;": ("D101", "a semicolon after a definition", "remove it"),
    'import "ops/basic.nas"§;': ("D101", "a semicolon after a definition", "remove it"),
    "motif m(a) -> (b) { }§;": ("D101", "a semicolon after a definition", "remove it"),
    "import §ops": (
        "D101",
        "the path of an import stands in quotes",
        'write `import "ops"`, with the file\'s ending',
    ),
    "import §ops/darts.nas": (
        "D101",
        "the path of an import stands in quotes",
        'write `import "ops/darts.nas"`, with the file\'s ending',
    ),
    "import §'ops/darts.nas'": ("D102", "single quotes hold no text", 'write `"ops/darts.nas"`'),
    'import "a.nas"§, "b.nas"': (
        "D101",
        "one import brings one file",
        'write `import "..."` again',
    ),
    'import §"a': ("D102", "text is not closed", 'end it with `"` on the same line'),
    "op a = conv§(3": ("D103", "missing `)`", "close it with `)`"),
    "network n(§a) -> (b: [1]) { }": (
        "D101",
        "input `a` has no shape",
        "write `a: [3, 32, 32]`, or `a: [10]` for features",
    ),
    "network n(a: [3, 4, 4]) -> (§b) { }": (
        "D101",
        "output `b` has no shape",
        "write `b: [10]`, or `b: [3, 32, 32]`",
    ),
    "network n(a: [3, 4, 4], §b; k = 1) -> (c: [3]) { }": (
        "D101",
        "input `b` has no shape",
        "write `b: [3, 32, 32]`, or `b: [10]` for features",
    ),
    "network n(a: §(3, 4, 4)) -> (b: [1]) { }": (
        "D101",
        "a shape stands in brackets",
        "write `[3, 4, 4]`",
    ),
    "network n(a: §3) -> (b: [1]) { }": (
        "D101",
        "missing `[` before `3`",
        "a shape stands in brackets: `[3, 32, 32]`",
    ),
    "op f(§motif m) = skip": (
        "D101",
        "an operation takes no motif as a parameter",
        "only motifs take motifs",
    ),
    "motif m(a§: [3]) -> (b) { }": (
        "D101",
        "a motif's inputs and outputs have no shapes",
        "remove it; shapes follow from the network's",
    ),
    "motif m(a§, width = 8) -> (b) { }": (
        "D101",
        "missing `;` before the parameters",
        "write `; width = 8`",
    ),
    "network n(a: [1]§, width = 8) -> (b: [1]) { }": (
        "D101",
        "missing `;` before the parameters",
        "write `; width = 8`",
    ),
    "motif m(a) -> (b§: [3]) { }": (
        "D101",
        "a motif's inputs and outputs have no shapes",
        "remove it; shapes follow from the network's",
    ),
    "motif m§[a] -> (b) { }": (
        "D101",
        "inputs stand in parentheses",
        "write `motif m(a) -> (...) { ... }`",
    ),
    "motif m§{a} -> (b) { }": (
        "D101",
        "inputs stand in parentheses",
        "write `motif m(a) -> (...) { ... }`",
    ),
    "motif m(§) -> (b) { }": ("D101", "`m` has no inputs", "name one or more: `motif m(x) -> (y)`"),
    "motif m(a) -> (§) { }": ("D101", "there are no outputs", "name one or more: `-> (y)`"),
    "motif m(a) -> §b { }": ("D101", "outputs stand in parentheses", "write `-> (b)`"),
    "motif m(a) -> §[b] { }": ("D101", "outputs stand in parentheses", "write `-> (b)`"),
    "motif m(x) §{ }": (
        "D101",
        "missing outputs before `{`",
        "write `motif m(x) -> (...) { ... }`",
    ),
    "motif m(x) §~> (y) { }": (
        "D101",
        "`~>` before the outputs",
        "write `->`; `~>` searches operations of an edge",
    ),
    "motif m §-> (y) { }": ("D101", "`m` has no inputs", "write `motif m(x) -> (...)`"),
    "motif m(x)§": (
        "D101",
        "missing outputs before the end of the file",
        "write `motif m(x) -> (...) { ... }`",
    ),
    "motif m(x) -> (y)§": (
        "D101",
        "missing `{` before the end of the file",
        "a block stands in braces: `{ ... }`",
    ),
    "motif m§": (
        "D101",
        "missing `(` before the end of the file",
        "a list of names stands in parentheses: `(a, b)`",
    ),
    "motif§": ("D101", "missing name before the end of the file", NAME),
    "op a §skip": ("D101", "missing `=` before `skip`", "write `op a = skip`"),
    "op a(k) §skip": ("D101", "missing `=` before `skip`", "write `op a = ...`"),
    "op a§[k] = skip": ("D101", "parameters stand in parentheses", "write `op a(k) = ...`"),
    "op a =§": (
        "D101",
        "missing operation before the end of the file",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "op a§": ("D101", "missing `=` before the end of the file", "write `op a = ...`"),
    "op §= skip": ("D101", "missing name before `=`", NAME),
    "op a = §3": (
        "D101",
        "missing operation before `3`",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "op a = b §c": ("D101", "missing operator before `c`", OPERATIONS),
    "op a = b §-> c": ("D101", "an arrow between operations", OPERATIONS),
    "op a §: b": ("D101", "missing `=` before `:`", "write `op a = ...`"),
    "choice c = a§, b": ("D101", "a comma between operations", OPERATIONS),
    "choice c §a | b": ("D101", "missing `=` before `a`", "write `choice c = a | ...`"),
    "choice c§": ("D101", "missing `=` before the end of the file", "write `choice c = ...`"),
    "op f(k = §) = a": (
        "D101",
        "missing value before `)`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "op f(k §k) = a": (
        "D101",
        "missing `)` or `,` before `k`",
        "close the parenthesis, or separate with commas",
    ),
    "op f(§) = a": ("D101", "missing name before `)`", NAME),
    "op f(§3) = a": ("D101", "missing name before `3`", NAME),
    "§Motif m(a) -> (b) { }": (
        "D101",
        "`Motif` is no keyword",
        "keywords are lower case: write `motif`",
    ),
    "§Op a = skip": ("D101", "`Op` is no keyword", "keywords are lower case: write `op`"),
    "§motiff m(a) -> (b) { }": ("D101", "`motiff` begins no definition", "did you mean `motif`?"),
    "§hello": ("D101", "`hello` begins no definition", FILE),
    "§x = a": ("D101", "a statement outside any motif", MOTIF),
    "§node x": ("D101", "a statement outside any motif", MOTIF),
    "§budget latency <= 5 ms": ("D101", "a statement outside any motif", MOTIF),
    "§budget latency <= 20us": ("D101", "a statement outside any motif", MOTIF),
    "§a -> b": ("D101", "a statement outside any motif", MOTIF),
    "§{a, b} -> c": ("D101", "a statement outside any motif", MOTIF),
    "§for k in 0..4 { }": ("D101", "a statement outside any motif", MOTIF),
    "search { a = §-1 }": (
        "D101",
        "`-1` is no value of a setting",
        "numbers of settings are 0 or more",
    ),
    "search { a = -0.5 x §}": ("D101", "missing `=` before `}`", "write `name = value`"),
    "search { a = 1§, b = 2 }": ("D101", "a comma between settings", "write `;`, or begin a line"),
    "search { a§: 1 }": ("D101", "missing `=` before `:`", "write `a = ...`"),
    "search { a §1 }": ("D101", "missing `=` before `1`", "write `name = value`"),
    "search { a §}": ("D101", "missing `=` before `}`", "write `name = value`"),
    "search { a = §}": (
        "D101",
        "missing value before `}`",
        "a setting is a number, a word, or a text in double quotes",
    ),
    "search { §3 = a }": ("D101", "missing setting before `3`", "write `name = value`"),
    "search §a = 1": ("D101", "missing `{` before `a`", "a block stands in braces: `{ ... }`"),
    "learn { a = regression §+ 2 }": ("D101", "a weight is a factor", "write `* 0.5`"),
    "search { a = 1 §+ 2 }": ("D101", "a setting is no sum or product", "write its value"),
    "search { a = §[1, 2] }": (
        "D101",
        "missing value before `[`",
        "a setting is a number, a word, or a text in double quotes",
    ),
    "search { a = §'x' }": ("D102", "single quotes hold no text", 'write `"x"`'),
    "search §= { a = 1 }": ("D101", "missing `{` before `=`", "write `search { ... }`"),
    "search§": (
        "D101",
        "missing `{` before the end of the file",
        "a block stands in braces: `{ ... }`",
    ),
    "train { epochs §== 3 }": ("D101", "`==` compares and defines nothing", "write `=`"),
    "§3": ("D101", "`3` begins no definition", FILE),
    "§(": ("D103", "missing `)`", "close it with `)`"),
    '§"a"': ("D101", '`"a"` begins no definition', FILE),
    "§“a”": ("D102", "`“` is no quotation mark", TEXT),
    "op a = skip§ ": ("D102", "a no-break space", "write an ordinary space"),
    "op a = conv(3, stride=2)§) ": ("D103", "`)` closes nothing", "remove it, or open with `(`"),
    "# c\n§/* x */": (
        "D102",
        "`/*` starts no comment",
        "comments start with `#` and end with the line",
    ),
    "§// a comment ( here": ("D101", "`//` starts no comment", "comments start with `#`"),
    "op a§(k = 8 // the width": ("D103", "missing `)`", "close it with `)`"),
    "op a(k = 8, §// the width\n j) = b": (
        "D101",
        "`//` starts no comment",
        "comments start with `#`",
    ),
    "op a(k = §1e-3) = b": (
        "D101",
        "`1e-3` is no whole number",
        "sizes and parameters are whole numbers",
    ),
    "op a(k = §3M) = b": (
        "D101",
        "`3M` is no whole number",
        "units stand in budgets alone; write all digits",
    ),
    "op a = if k §= 1 then b else c": ("D101", "`=` compares nothing", "write `==`"),
    "op a = if k then b§": (
        "D101",
        "missing `else` before the end of the file",
        "an operation needs both: `if k == 1 then a else b`",
    ),
    "motif a(x) -> (y) §{\n  x -> y\nmotif b(x) -> (y) { x -> y }": (
        "D103",
        "missing `}`",
        "close it with `}`",
    ),
    "motif m(a; motif§) -> (b) { }": ("D101", "missing name before `)`", NAME),
    "motif m(a; motif c = §3) -> (b) { }": ("D101", "missing name before `3`", NAME),
    "op f(k§: int) = a": (
        "D101",
        "missing `)` or `,` before `:`",
        "close the parenthesis, or separate with commas",
    ),
    "op a = §@": ("D102", "unexpected character `@`", "remove it"),
    "network n(a: [3§; 3]) -> (b: [1]) { }": (
        "D101",
        "missing `]` or `,` before `;`",
        "close the bracket, or separate with commas",
    ),
    "network n(a: [§]) -> (b: [1]) { }": (
        "D101",
        "missing value before `]`",
        "a value is a whole number, a parameter, or an expression of them",
    ),
    "op a = conv(3 §at 4)": (
        "D101",
        "missing `)` or `,` before `at`",
        "close the parenthesis, or separate with commas",
    ),
    "op a = §(b | c": ("D103", "missing `)`", "close it with `)`"),
    "op a = (b §c)": ("D101", "missing `)` before `c`", "close the parenthesis"),
    "motif m(a, b) -> (c) §{\n  a -> {b, c\n}": ("D103", "missing `}`", "close it with `}`"),
    "motif M(a) -> (b) { }§x": ("D101", "`x` begins no definition", FILE),
    "§opera = skip": ("D101", "a statement outside any motif", MOTIF),
    "§importx": ("D101", "`importx` begins no definition", "did you mean `import`?"),
    "§from x import y": ("D101", "`from` begins no definition", FILE),
    "§def f(x): return x": (
        "D101",
        "`def` begins no definition",
        "operations are defined by `op f = ...`, motifs by `motif m(a) -> (b) { ... }`",
    ),
    "network n(a: [1]) -> (b: [1])§": (
        "D101",
        "missing `{` before the end of the file",
        "a block stands in braces: `{ ... }`",
    ),
    "op f = conv(3§,\n  ) >> bn": ("D101", "a comma with nothing after it", "remove it"),
    "choice c = §| a": (
        "D101",
        "missing operation before `|`",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "choice c = a |§": (
        "D101",
        "missing operation before the end of the file",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "op f = a >>§": (
        "D101",
        "missing operation before the end of the file",
        "an operation is written like `conv(3)` or `relu`",
    ),
    "network n(x: [1]; k) §- > (y: [1]) { }": (
        "D101",
        "`- >` is no arrow",
        "write `->` without a space",
    ),
    "search { epochs = true§, }": (
        "D101",
        "a comma between settings",
        "write `;`, or begin a line",
    ),
    "search { a = 1;§; b = 2 }": ("D101", "two semicolons in a row", "remove one"),
    "train { lr = §.5 }": ("D101", "`.` begins no number", "write `0.5`"),
    "search { a = 50§% }": ("D101", "a setting is no sum or product", "write its value"),
    "motif m(a) -> (b) { a -> b }\n§m(a)": ("D101", "`m` begins no definition", FILE),
    "op §= ": ("D101", "missing name before `=`", NAME),
    "choice §= ": ("D101", "missing name before `=`", NAME),
    "motif §(a) -> (b) { }": ("D101", "missing name before `(`", NAME),
    "network §(a: [1]) -> (b: [1]) { }": ("D101", "missing name before `(`", NAME),
    "motif m§(a, b -> (c) { }": ("D103", "missing `)`", "close it with `)`"),
    "# é\nop a = b §é": ("D101", "`é` is no name", NAME),
    "op §é = skip": ("D101", "`é` is no name", NAME),
    'import "a.nas" §as a': ("D101", "`as` begins no definition", FILE),
    "op f(k§, ; s) = a": ("D101", "a comma with nothing after it", "remove it"),
    "op a = conv§(k=3": ("D103", "missing `)`", "close it with `)`"),
    "op a = skip§)": ("D103", "`)` closes nothing", "remove it, or open with `(`"),
}

# Habits from Python, PyTorch and other search spaces.
HABITS = {
    "x = §conv(a, 3, 16)": (
        "D101",
        "`conv` is an operation and stands on an edge",
        "write `x = a : conv(3, 16)`",
    ),
    "x = §conv(a, kernel = 3)": (
        "D101",
        "`conv` is an operation and stands on an edge",
        "write `x = a : conv(kernel = 3)`",
    ),
    "x = cell(a, §8)": (
        "D101",
        "`8` stands where a node is meant",
        "parameters of a motif stand after `;` by name: `cell(a; width = 8)`",
    ),
    "x = m(a; §motif child = leaf)": (
        "D101",
        "`motif` in an argument",
        "`motif` stands in the declaration alone: write `child = leaf`",
    ),
    "x = sum(a, §conv(3))": (
        "D101",
        "`conv` is an operation, and a node is meant here",
        "give it an edge of its own, `x = a : conv(...)`, and name `x` here",
    ),
    "x = relu(§conv(a, 3))": (
        "D101",
        "`conv` is an operation, and a node is meant here",
        "give it an edge of its own, `x = a : conv(...)`, and name `x` here",
    ),
    "x = concat(§[a, b])": ("D101", "nodes are named without brackets", "write `concat(a, b)`"),
    "x = m(§(a))": ("D101", "nodes are named without brackets", "write `m(a)`"),
    "x = a §+ b": ("D101", "`+` between nodes", "write `x = sum(a, b)`"),
    "x = a §* h[0]": ("D101", "`*` between nodes", "write `x = product(a, h[0])`"),
    "a -> c : conv(§(3, 3), 16)": (
        "D101",
        "a pair stands where one number is meant",
        "kernels and strides are square: write one number",
    ),
    "a -> c : conv(§[1, 7], 16)": (
        "D101",
        "a list stands where one number is meant",
        "kernels and strides are square: write one number",
    ),
    "a -> c : Sequential(§conv(3), bn)": (
        "D101",
        "`conv` is an operation, and a number is meant here",
        "arguments are numbers; operations follow each other by `>>`: `conv(3) >> bn`",
    ),
    "a -> c : repeat(§conv(3), 3)": (
        "D101",
        "`conv` is an operation, and a number is meant here",
        "write `conv(3) >> conv(3)`, or repeat a motif: `x = chain cell(a) times 6`",
    ),
    "a -> c : conv(3) §if 1 else skip": (
        "D101",
        "`if` after an operation",
        "write `if 1 then conv(3) else skip`",
    ),
    "x = concat(a, b) §: conv(3)": (
        "D101",
        "an operation behind a merge",
        "name the merge, `m = concat(a, b)`, and begin anew: `x = m : ...`",
    ),
    "x = sum(a, b) §>> relu": (
        "D101",
        "an operation behind a merge",
        "name the merge, `m = sum(a, b)`, and begin anew: `x = m : ...`",
    ),
    "a -> c : §sum(conv(3), skip)": (
        "D101",
        "`sum` merges nodes and is no operation",
        "`+` sums operations on one edge, as in `conv(3) + skip`; else name what each makes, "
        "and write `x = sum(a, b)`",
    ),
    "node x §= a": (
        "D101",
        "`node` declares a node, and `=` defines one",
        "leave `node` out: `x = a : conv(3)`",
    ),
    "a ~> c §= conv(3)": (
        "D101",
        "`=` before an operation",
        "write `a ~> c : conv(3)`",
    ),
    "a -> c : conv(§kernel: 3)": (
        "D101",
        "`:` before the value of a parameter",
        "write `kernel = 3`",
    ),
    "a -> c : conv(3) §* 2": (
        "D101",
        "`*` repeats no operation",
        "write `conv(3) >> conv(3)`, or repeat a motif: `x = chain cell(a) times 6`",
    ),
    "a -> c : skip §* 3": (
        "D101",
        "`*` repeats no operation",
        "write `skip >> skip`, or repeat a motif: `x = chain cell(a) times 6`",
    ),
    "budget latency <= §5 msec": (
        "D101",
        "`5 msec` is no time",
        "a time is written in `us`, `ms` or `s`: `5 ms`",
    ),
    "budget latency <= §20ns": (
        "D101",
        "`20ns` is no time",
        "a time is written in `us`, `ms` or `s`: `5 ms`",
    ),
    "budget flops <= §1e6": (
        "D101",
        "`1e6` is no amount",
        "write all digits, or a unit: `600K`, `3.5M` or `2G`; of a time `5 ms`",
    ),
    "a -> b\n  §[a] ~> c": ("D101", "several sources stand in braces", "write `{a} ~> c`"),
    "for §(k in 0..3) { }": (
        "D101",
        "parentheses round the head of a loop",
        "write `for k in 0..3 { ... }`",
    ),
    "for §(k = 0; k < 3) { }": ("D101", "parentheses round the head of a loop", LOOP),
    "for k in 0..4 §step 2 { }": (
        "D101",
        "a loop has no step",
        "a loop counts in ones: write `2 * k` where the number is used",
    ),
    "x = §tied a : conv(3)": (
        "D101",
        "only motifs are tied",
        "put it into a motif and tie that: `x = tied cell(a)`",
    ),
    "x = §tied sum(a, b)": (
        "D101",
        "only motifs are tied",
        "put it into a motif and tie that: `x = tied cell(a)`",
    ),
    "§while k { }": ("D101", "`while` is no keyword", LOOP),
    "§let x = a : relu": ("D101", "`let` is no keyword", "remove it"),
    "§def f(x)": (
        "D101",
        "`def` begins no statement",
        "move it out of the braces; operations are defined by `op f = ...`,"
        " motifs by `motif m(a) -> (b) { ... }`",
    ),
    "§nodes h[2]": ("D101", "`nodes` begins no statement", "did you mean `node`?"),
}
HABITS_AT_THE_TOP = {
    "op f = conv(3) §if 1 else skip": (
        "D101",
        "`if` after an operation",
        "write `if 1 then conv(3) else skip`",
    ),
    "§let w = 3": (
        "D101",
        "`let` begins no definition",
        "numbers are parameters: write `; w = 3` in the header",
    ),
}

SNIPPETS = {
    f"motif m(a, b) -> (c) {{\n  {body}\n}}": told for body, told in (STATEMENTS | HABITS).items()
}
SNIPPETS |= DEFINITIONS | HABITS_AT_THE_TOP


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_one_is_told(snippet: str) -> None:
    code, message, remedy = SNIPPETS[snippet]
    found = assert_refused(snippet, code, message, parse_text)
    assert found.help == remedy


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_it_renders(snippet: str) -> None:
    [found] = refused(snippet.replace(MARK, ""), parse_text)
    text = render(found)
    assert text.startswith(f"error[{found.code}]: {found.message}\n")
    assert "^" in text


# ------------------------------------------------------------------------------ what is marked


@pytest.mark.parametrize(
    ("snippet", "stretch"),
    [
        ("a, b -> c", "a, b"),
        ("a -> b, c", "b, c"),
        ("(a, h[0]) -> c", "(a, h[0])"),
        ("x = a conv(3)", "conv"),
        ("x = a", "x = a"),
        ("a - > c", "- >"),
        ("a <- c", "<-"),
        ("a -> c : dropout(0.25)", "0.25"),
        ("for k in 2 * 3 { }", "2 * 3"),
        ("x = 'relu'", "'relu'"),
    ],
)
def test_the_whole_culprit_is_marked(snippet: str, stretch: str) -> None:
    [found] = refused(f"motif m(a, b) -> (c) {{\n{snippet}\n}}", parse_text)
    assert found.span is not None
    assert found.span.line == 2
    assert snippet[found.span.column - 1 : found.span.end_column - 1] == stretch


def test_what_is_missing_at_the_end_of_a_line_is_marked_there() -> None:
    found = assert_refused(
        "motif m(a) -> (b) {\n  a -> b :§ # nothing\n}",
        "D101",
        "missing operation before the end of the line",
        parse_text,
    )
    assert "^" in render(found)


def test_long_texts_are_shortened() -> None:
    [found] = refused(f"motif m(a, b) -> (c) {{ a, {'b' * 500} -> c }}", parse_text)
    assert len(found.help) < 90


@pytest.mark.parametrize("word", ["true", "False"])
def test_there_are_no_truth_values(word: str) -> None:
    text = f"op f = conv(3, bias = §{word})"
    found = assert_refused(text, "D205", f"`{word}` is no parameter or loop variable here")
    assert found.help == "conditions are whole numbers: write 1 for true, 0 for false"


# ------------------------------------------------------------------------------ brackets


def test_a_bracket_tells_where_its_partner_stands() -> None:
    found = assert_refused(
        "network n(a: [3§) -> (b: [1]) { }", "D103", "`)` does not close `[`", parse_text
    )
    assert found.notes == ("`[` was opened at spec.nas:1:14",)
    assert found.label == "expected `]`"


def test_a_missing_brace_tells_which_definition_it_swallows() -> None:
    text = "motif a(x) -> (y) §{\n  x -> y\nmotif b(x) -> (y) { x -> y }"
    found = assert_refused(text, "D103", "missing `}`", parse_text)
    assert found.notes == ("`motif` at spec.nas:3:1 still stands inside it",)
    assert found.label == "opened here and never closed"


def test_nesting_beyond_reason_is_refused() -> None:
    text = f"op a = {'(' * 100}§{'(' * 5}b{')' * 105}"
    found = assert_refused(text, "D104", "nested deeper than 100 levels", parse_text)
    assert found.help == "name the inner parts with `op`, `choice` or `motif`"


# ------------------------------------------------------------------------------ several targets


@pytest.mark.parametrize(
    ("statement", "names"),
    [("x, §y = a : skip", "`x` and `y`"), ("x, §y, z = sum(a)", "`x`, `y` and `z`")],
)
def test_only_motifs_have_several_outputs(statement: str, names: str) -> None:
    text = f"motif m(a) -> (b) {{ {statement} }}"
    found = assert_refused(text, "D105", f"{names} cannot be defined together here", parse_text)
    assert found.help == "only a motif has several outputs; define one node a statement"


# ------------------------------------------------------------------------------ laws


def test_every_rule_has_a_snippet(monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()
    by_match = syntax_errors._by_match

    def record(situation: object, rule: syntax_errors.Rule, *rest: object) -> Diagnostic:
        used.add(rule)
        return by_match(situation, rule, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(syntax_errors, "_by_match", record)
    for snippet in SNIPPETS:
        refused(snippet.replace(MARK, ""), parse_text)
    assert [rule for rule in RULES if rule not in used] == []


def test_templates_name_groups_of_their_pattern() -> None:
    for rule in RULES:
        named = set(re.findall(r"<([a-z]+)>", rule.message + rule.help))
        assert named <= {*regex(rule.pattern).groupindex, "found", "next"}, rule


SAMPLE = """
import "ops/basic.nas"
op f(k, s = 1) = if k == 1 then conv(k) >> bn else (skip | conv(-k + 2 * s))
choice c = f(3) + skip | relu
motif m(a, b; w = 8, motif q) -> (y) {
    node h[4], z
    for k in 0..4 { {a, h[..k]} ~> h[k] : c }
    if w > 1 and not w == 3 { z = a : relu } else { b -> z }
    retain 2 into h
    budget flops <= 3.5M
    y = concat(h, z)
}
network n(x: [3, 8, 8]) -> (y: [10]) {
    t, u = tied m(x, x; w = 4)
    v = chain m(t, u) times 6 reduce at 2, 4
    v -> y : linear(10)
}
search { epochs = 3; strategy = bayesnas }
"""
PIECES = [
    match[0]
    for match in re.finditer(r'"[^"]*"|\d+(?:\.\d+)?\w*|\w+|\n|[-~]>|\.\.|>>|[<=]=|\S', SAMPLE)
]


def mutants() -> Iterator[str]:
    """The sample with a token left out, doubled, or another in its place; some of each."""
    for n, piece in enumerate(PIECES):
        if piece == "\n":
            continue
        for k, instead in enumerate(("", "foo", f"{piece} {piece}", "=", "7", "motif", "$")):
            if (n + k) % 8 == 0:
                yield " ".join([*PIECES[:n], instead, *PIECES[n + 1 :]])


def test_no_mutant_meets_terminal_names_or_a_shrug() -> None:
    assert parse_text(SAMPLE)
    for text in mutants():
        try:
            parse_text(text)
        except DiagnosticError as error:
            [found] = error.diagnostics
            assert found.help
            assert not re.search(r"[A-Z_]{4,}|ANON|cannot read|None|<[a-z]+>", found.message), text
