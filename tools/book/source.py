# SPDX-License-Identifier: MIT
"""The source tree as pages, and where each name is defined.

Tree(files) reads the sources; .symbols, .tests and .rows say on which line of which file a function
or type, a test and an invariant's row are; .page(path) is the HTML of a file, an anchor a line.
"""
import functools
import os
import re
import textwrap
from html import escape

FUNCTION = re.compile(r"^(?!static const|typedef|#|/|\*| )[a-z][\w \t*]*?\b(\w+)\((?!.*;$)", re.M)
MACRO = re.compile(r"^#define (\w+)\(", re.M)
TYPE = re.compile(r"^(?:struct|enum|union) (\w+) \{", re.M)
TEST = re.compile(r"^(?:\w*TEST\w*|SCENARIO)\(\s*(\w+),\s*(\w+),", re.M)
TOKEN = re.compile(r'(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*")'
                   r"|(?P<call>\b[a-z_]\w+(?=\())|(?P<type>\b(?:struct|enum|union) \w+)", re.S)
VARIANT = re.compile(r"\.(qemu|model|sva|mirror|own|shared)$")
WORDS = {"if", "for", "while", "switch", "return", "sizeof", "defined"}
# Where two files define a name: the kernel's before the tests'.
FIRST = ("mm/", "iommu/", "kernel/", "drivers/", "arch/", "boot/")


def rank(path):
    return next((i for i, room in enumerate(FIRST) if path.startswith(room)), len(FIRST)), path


class Tree:
    def __init__(self, paths):
        self.text, self.symbols, self.tests = {}, {}, {}
        for path in sorted(paths, key=rank):
            with open(path, encoding="utf-8") as f:
                self.text[path] = f.read().expandtabs(8)
            if path.endswith((".c", ".h")):
                self.learn(path)

    def learn(self, path):
        text = self.text[path]
        for pattern in (FUNCTION, MACRO, TYPE) if path.endswith(".h") else (FUNCTION, TYPE, MACRO):
            for found in pattern.finditer(text):
                place = (path, text.count("\n", 0, found.start(1)) + 1)
                self.symbols.setdefault(found[1], []).append(place)
        for found in TEST.finditer(text):
            self.tests[f"{found[1]}.{found[2]}"] = (path, text.count("\n", 0, found.start()) + 1)

    def symbol(self, name, near=""):
        """The definition of a name: one of the folder `near` if several have it."""
        places = self.symbols.get(name)
        if not places:
            return None
        return next((p for p in places if near and os.path.dirname(p[0]) == near), places[0])

    def test(self, name):
        """The definition of suite.test, of one variant, or of the first that a glob matches."""
        base = name
        while VARIANT.search(base):
            base = VARIANT.sub("", base)
        if base in self.tests:
            return self.tests[base]
        if base.endswith("*"):
            return next((self.tests[t] for t in sorted(self.tests) if t.startswith(base[:-1])), None)
        return None

    def place(self, words, near=""):
        """What the words of a code span name: (path, line), or None."""
        name = words.strip()
        if name in self.text:
            return name, 0
        found = re.fullmatch(r"(?:struct |enum |union )?(\w+)(?:\(.*\))?", name)
        if found and (name.endswith(")") or " " in name or len(found[1]) > 4):
            return self.symbol(found[1], near)
        return self.test(name) if re.fullmatch(r"\w+\.[\w.*]+", name) else None

    def page(self, path, link):
        """A file as HTML; link((path, line)) is the address of a place."""
        text = self.text[path]
        if path.endswith((".c", ".h")):
            shown = TOKEN.sub(functools.partial(self.token, path, link), escape(text, quote=False))
        else:
            shown = escape(text, quote=False)
        lines = over_lines(shown.rstrip("\n"))
        rows = "\n".join(f'<a class="n" id="L{n}" href="#L{n}">{n:>4}</a> {line}'
                         for n, line in enumerate(lines, 1))
        return f'<pre class="source" tabindex="0">{rows}</pre>'

    def token(self, path, link, found):
        kind, word = found.lastgroup, found[0]
        if kind in ("comment", "string"):
            return f'<span class="{kind}">{word}</span>'
        if kind == "call" and word in WORDS:
            return word
        place = self.symbol(word.split()[-1], os.path.dirname(path))
        return f'<a href="{link(place)}">{word}</a>' if place else word

    def excerpt(self, path, line, around=6):
        """[(number, text)] of the lines around one."""
        lines = self.text[path].splitlines()
        first = max(line - 1 - around, 0)
        shown = textwrap.dedent("\n".join(lines[first:line + around])).split("\n")
        return list(enumerate(shown, first + 1))


def over_lines(html):
    """The lines of a text in which a <span> may span several: each line closes what it opens."""
    opened = ""
    for line in html.split("\n"):
        line = opened + line
        last = line.rfind("<span")
        opened = ""
        if last > line.rfind("</span>"):
            opened = line[last:line.index(">", last) + 1]
            line += "</span>"
        yield line
