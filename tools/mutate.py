# SPDX-License-Identifier: MIT
"""The places where a C file can be broken by rule, found in clang's syntax tree (tools/generated).

    mutants(path, flags)        every Mutant of a file; flags are the compiler's

A node's place in the tree is turned into a range of the file's text, also in a macro's arguments.
An operator is applied only where the text there is what the node says: what a macro's body holds
is never changed.  Contracts (require(), assert() and the like) are left alone: without one the
kernel does the same.
"""
import json
import re
import subprocess
from collections import namedtuple

# line: from 1; function: its name; at, end: the range of the text that new replaces
Mutant = namedtuple("Mutant", "file line function operator at end new")

CONTRACTS = {"require", "assert", "may_sleep", "locks_below", "static_assert", "_Static_assert"}
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
SWAPS = {"&&": ("logic", "||"), "||": ("logic", "&&"), "+": ("arith", "-"), "-": ("arith", "+"),
         "+=": ("arith", "-="), "-=": ("arith", "+="),
         **{a: ("compare", b) for a, b in COMPARISONS.items()}}
EXPRESSIONS = re.compile(r"Expr$|Operator$|Literal$")
LEAVES = {"ReturnStmt", "BreakStmt", "ContinueStmt", "GotoStmt"}
BOOLS = {"true": "false", "false": "true"}
ORDERS = (
    (re.compile(r"\bmemory_order_(?!relaxed)\w+"), "memory_order_relaxed"),
    (re.compile(r"\b__ATOMIC_(?!RELAXED)\w+"), "__ATOMIC_RELAXED"),
    (re.compile(r"\bREAD_ONCE(?=\()"), ""),
    (re.compile(r"\bWRITE_ONCE\(([^(),]+), ((?:[^()]|\([^()]*\))*)\)"), r"\1 = (\2)"),
)


def read(path):
    """A file's text, a character for each byte: clang counts bytes."""
    with open(path, encoding="latin-1") as f:
        return f.read()


def blank_comments(text):
    """The text with each comment and string replaced by as many spaces or underscores."""
    def blank(found):
        word = found[0]
        if word[0] == "/":
            return re.sub(r"[^\n]", " ", word)
        return word[0] + "_" * (len(word) - 2) + word[-1]
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text,
                  flags=re.S)


class File:
    """One C file: its text and its tree, walked once."""

    def __init__(self, path, flags):
        self.text = read(path)
        self.path, self.bare = path, blank_comments(self.text)
        self.now, self.function, self.found, self.places = None, None, [], set()
        tree = subprocess.run(["clang", *flags, "-w", "-fsyntax-only", "-Xclang", "-ast-dump=json",
                               path], capture_output=True, text=True, check=True).stdout
        self.walk(json.loads(tree), None)

    # -- places -------------------------------------------------------------------

    def locate(self, loc):
        """clang names a file only where it differs from that of the location before."""
        for key in ("spellingLoc", "expansionLoc"):
            if key in loc:
                self.locate(loc[key])
        if "offset" in loc:
            self.now = loc.get("file", self.now)
            loc["here"] = self.now == self.path

    def closing(self, at):
        """The end of the bracket that opens at `at`."""
        depth = 0
        for i in range(at, len(self.bare)):
            depth += (self.bare[i] in "([{") - (self.bare[i] in ")]}")
            if not depth:
                return i + 1
        return len(self.bare)

    def edge(self, loc, end):
        """The offset of one end of a range; None if it is not in this file."""
        whole = loc.get("expansionLoc")
        if whole and whole.get("isMacroArgExpansion") and loc["spellingLoc"].get("here"):
            loc, whole = loc["spellingLoc"], None
        loc = whole or loc
        if not loc.get("here"):
            return None
        if not end:
            return loc["offset"]
        at = loc["offset"] + loc["tokLen"]
        return self.closing(at) if whole and self.bare[at:at + 1] == "(" else at

    def range(self, node):
        r = node.get("range", {})
        at, end = self.edge(r.get("begin", {}), False), self.edge(r.get("end", {}), True)
        return (at, end) if at is not None and end is not None and at < end else None

    def after(self, at, text):
        """The offset past `text`, if only spaces stand before it at `at`; else None."""
        while self.bare[at:at + 1].isspace():
            at += 1
        return at + len(text) if self.bare.startswith(text, at) else None

    # -- the walk -----------------------------------------------------------------

    def walk(self, node, parent):
        kind, outer = node.get("kind"), self.function
        for key, value in node.items():
            if key == "loc":
                self.locate(value)
            elif key == "range":
                self.locate(value["begin"])
                self.locate(value["end"])
                if kind == "FunctionDecl" and self.range(node):
                    self.function = node.get("name")
            elif key == "inner":
                for child in value:
                    self.walk(child, node)
        if self.function and self.range(node):
            self.visit(kind, node, parent or {})
        self.function = outer

    def visit(self, kind, node, parent):
        at, end = self.range(node)
        children = [c for c in node.get("inner", []) if c]
        ranges = [self.range(c) for c in children]
        if self.is_statement(kind, node, parent, at):
            self.statement(kind, parent, at, end)
        if kind in ("IfStmt", "WhileStmt"):
            opens = self.after(at, "if" if kind == "IfStmt" else "while")
            if opens and self.after(opens, "("):
                inside = self.after(opens, "(")
                self.condition(inside, self.closing(inside - 1) - 1, kind == "IfStmt")
        elif kind == "ForStmt" and len(node["inner"]) == 5 and node["inner"][2]:
            place = self.range(node["inner"][2])
            if place and self.after(place[1], ";"):
                self.condition(*place, False)
        elif kind == "ConditionalOperator" and ranges[0] and self.after(ranges[0][1], "?"):
            self.condition(*ranges[0], True)
        elif kind in ("BinaryOperator", "CompoundAssignOperator"):
            self.binary(node["opcode"], *ranges)
        elif kind == "UnaryOperator" and node["opcode"] == "!" and self.bare[at] == "!":
            self.add("not", at, at + 1, "")
        elif kind == "IntegerLiteral" and self.bare[at:end] in BOOLS:
            self.add("force", at, end, BOOLS[self.bare[at:end]])
        elif kind == "IntegerLiteral" and re.fullmatch(r"\d\w*", self.bare[at:end]):
            self.add("off-by-one", at, end, f"({self.bare[at:end]} + 1)")
        elif kind == "FunctionDecl" and children and children[-1]["kind"] == "CompoundStmt":
            self.orders(at, end)

    def is_statement(self, kind, node, parent, at):
        place = parent.get("kind")
        if place == "CompoundStmt":
            return kind in LEAVES or EXPRESSIONS.search(kind) or kind == "DoStmt"
        if place in ("IfStmt", "WhileStmt", "ForStmt", "CaseStmt", "LabelStmt", "DefaultStmt"):
            first = parent["inner"][0]
            return (kind in LEAVES or EXPRESSIONS.search(kind)) and (
                node is parent["inner"][-1] or node is not first and place == "IfStmt")
        return False

    def statement(self, kind, parent, at, end):
        before = self.bare[:at].rstrip()
        starts = ";{}" if parent.get("kind") == "CompoundStmt" else ":)e"  # e: else
        if not (stop := self.after(end, ";")) or before[-1] not in starts:
            return
        name = re.match(r"\w*", self.bare[at:])[0]
        if name == "do" or name in CONTRACTS:
            return
        if kind in LEAVES:
            last = self.after(stop, "}") and parent.get("kind") == "CompoundStmt"
            if kind != "ReturnStmt" or not last or self.depth(at) > 1:
                self.add("return", at, stop, ";")
        else:
            self.add("probe" if name == "PROBE" else "delete", at, stop, ";")

    def depth(self, at):
        """How many blocks are open, from the start of the function."""
        start = self.bare.rfind("\n{\n", 0, at)
        return self.bare.count("{", start, at) - self.bare.count("}", start, at)

    def condition(self, at, end, force):
        text = self.text[at:end]
        self.add("negate", at, end, f"!({text})")
        if force:
            self.add("force", at, end, "1")
        self.add("force", at, end, "0")

    def binary(self, opcode, left, right):
        if opcode not in SWAPS or not left or not right:
            return
        between = self.bare[left[1]:right[0]]
        # A parenthesis belongs to its own node, so only spaces surround the operator.
        if between.strip() == opcode:
            at = left[1] + between.index(opcode)
            self.add(SWAPS[opcode][0], at, at + len(opcode), SWAPS[opcode][1])

    def orders(self, at, end):
        for pattern, new in ORDERS:
            for found in pattern.finditer(self.bare, at, end):
                self.add("order", found.start(), found.end(), found.expand(new))

    # -- results ------------------------------------------------------------------

    def add(self, operator, at, end, new):
        if (at, end, new) in self.places or self.in_contract(at):
            return
        self.places.add((at, end, new))
        line = self.text.count("\n", 0, at) + 1
        self.found.append(Mutant(self.path, line, self.function, operator, at, end,
                                 new + "\n" * self.text.count("\n", at, end)))

    def in_contract(self, at):
        """Is it inside the brackets of a contract?"""
        begin = max(self.bare.rfind(c, 0, at) for c in ";{}")
        found = re.match(r"\s*(\w+)\(", self.bare[begin + 1:])
        return found and found[1] in CONTRACTS and \
            at < self.closing(begin + found.end())


def mutants(path, flags):
    return sorted(File(path, flags).found, key=lambda m: (m.at, m.end, m.operator, m.new))
