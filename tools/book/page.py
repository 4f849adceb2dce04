# SPDX-License-Identifier: MIT
"""Markdown to a page of the book: pandoc makes the HTML, and this puts the links in.

A code span that names a function, a type, a file or a test becomes a link to its line; B12 a link to
the page of that invariant; the first use of a term on a page gets its meaning from the glossary.
"""
import os
import re
import subprocess
from html import escape, unescape

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · visavis</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}style.css">
</head>
<body>
<a class="skip" href="#main">To the text</a>
<nav aria-label="The book">{nav}</nav>
<main id="main">
"""
NAV = [("index.html", "visavis"), ("docs/tour.html", "Tour"), ("races.html", "Races"),
       ("docs/reading.html", "Chapters"), ("docs/invariants.html", "Invariants"),
       ("plots.html", "Figures"), ("docs/glossary.html", "Glossary"), ("src/index.html", "Source")]
SPAN = re.compile(r"(<pre.*?</pre>|<a .*?</a>|<h\d.*?</h\d>)|<code>(.*?)</code>", re.S)
WHOLE = re.compile(r"(<pre.*?</pre>|<a .*?</a>|<code>.*?</code>|<h\d.*?</h\d>|<[^>]+>)", re.S)
NUMBER = re.compile(r"\b([BCH]\d{1,3})\b")
# Words of the glossary that are also plain English, or too short to mark.
PLAIN = {"page", "object", "frame", "pin", "test", "run", "lane", "step"}


def pandoc(text):
    done = subprocess.run(["pandoc", "-f", "gfm", "-t", "html", "--wrap=none"], input=text, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"book: pandoc: {done.stderr}")
    return done.stdout


def file_of(path):
    """Where a file of the tree is in the book."""
    return path[:-3] + ".html" if path.endswith(".md") else f"src/{path}.html"


def relative(target, page):
    return os.path.relpath(target, os.path.dirname(page) or ".")


def terms(glossary):
    """{term: its meaning as plain text}, of docs/glossary.md."""
    found = {}
    for row in re.findall(r"^\| ([^|]+) \| (.+?) \| [^|]* \|$", glossary, re.M):
        meaning = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", row[1]).replace("`", "").replace("*", "")
        for term in row[0].replace("`", "").replace("*", "").split(","):
            term = re.sub(r" \(.*\)", "", term).strip()
            if term not in PLAIN and (len(term) > 3 or (len(term) == 3 and term.isupper())):
                found.setdefault(term, meaning)
    return found


class Book:
    """What the pages of one book share: its sources, its terms, its numbers."""

    def __init__(self, tree, meanings, numbers):
        self.tree, self.terms, self.numbers = tree, meanings, numbers
        names = sorted(map(re.escape, meanings), key=len, reverse=True)
        self.term = re.compile(rf"\b({'|'.join(names)})(?=s?\b)") if names else None

    def link(self, place, page):
        path, line = place
        return relative(file_of(path), page) + (f"#L{line}" if line else "")

    def code(self, page, near, found):
        if found[1]:
            return found[1]
        place = self.tree.place(unescape(found[2]), near)
        code = f"<code>{found[2]}</code>"
        return f'<a href="{self.link(place, page)}">{code}</a>' if place else code

    def mark(self, html, page, own=""):
        """Put links to invariants and meanings of terms into what is plain text of a page."""
        seen = set()

        def number(found):
            name = found[1]
            if name not in self.numbers or name == own:
                return name
            return f'<a href="{relative(f"invariants/{name}.html", page)}">{name}</a>'

        def term(found):
            if found[1] in seen:
                return found[1]
            seen.add(found[1])
            return (f'<dfn tabindex="0" title="{escape(self.terms[found[1]])}">{found[1]}</dfn>')

        parts = WHOLE.split(html)
        for i in range(0, len(parts), 2):
            marked = self.term.sub(term, parts[i]) if self.term else parts[i]
            pieces = re.split(r"(<dfn.*?</dfn>)", marked)
            parts[i] = "".join(p if p.startswith("<dfn") else NUMBER.sub(number, p) for p in pieces)
        return "".join(parts)

    def targets(self, html, path, page):
        """Links of a document become links of its page."""
        def link(found):
            target, _, anchor = found[2].partition("#")
            if re.match(r"\w+:", target):
                return found[0]
            file = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            if os.path.isdir(file):
                readme = os.path.join(file, "README.md")
                file = readme if os.path.exists(readme) else file
            if file.endswith(".svg"):
                return f'{found[1]}="{relative(file, page)}"'
            if not (file.endswith(".md") or file in self.tree.text):
                return f'href="{relative("src/index.html", page)}"'
            there = relative(file_of(file), page) if target else ""
            return f'href="{there}{"#" + anchor if anchor else ""}"'
        return re.sub(r'(href|src)="([^"]*)"', link, html)

    def chapter(self, path, text):
        """The body of a document's page."""
        page = file_of(path)
        html = self.targets(pandoc(text), path, page)
        html = SPAN.sub(lambda f: self.code(page, os.path.dirname(path), f), html)
        html = self.mark(html, page) if not path.endswith("glossary.md") else html
        return finish(html)


def finish(html):
    """Wide tables and listings scroll by themselves, and can be reached by keyboard."""
    html = re.sub(r"<table>", '<div class="wide" tabindex="0"><table>', html)
    html = html.replace("</table>", "</table></div>")
    return re.sub(r"<pre>", '<pre tabindex="0">', html)


def title_of(html):
    found = re.search(r"<h1[^>]*>(.*?)</h1>", html, re.S)
    return unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else "visavis"


def whole(page, title, body, scripts="", wide=False):
    """A complete page."""
    root = "../" * page.count("/")
    nav = " ".join(f'<a href="{root}{target}"{" aria-current=page" if target == page else ""}>'
                   f"{name}</a>" for target, name in NAV)
    head = HEAD.format(title=escape(title), root=root, nav=nav)
    if wide:
        head = head.replace('<main id="main">', '<main id="main" class="wide-page">')
    return f"{head}{body}\n</main>\n{scripts}</body>\n</html>\n"
