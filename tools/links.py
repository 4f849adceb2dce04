#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Dead links and anchors of the documents: part of `make check`.

    tools/links.py [FILE.md ...]    name them, status 1; default: every *.md of the tree

A link of a document is relative to its folder; a path with an anchor in a source is
relative to the tree.  An anchor is a heading, spelled as GitHub spells it, or an <a id>.
"""
import functools
import os
import re
import subprocess
import sys

FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
IN_SOURCE = re.compile(r"\b([\w./-]+\.md)#([\w-]+)")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


@functools.lru_cache(None)
def anchors(path):
    """Every anchor of a document."""
    text = FENCE.sub("", read(path))
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ +(.*)$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = base = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        n = 0
        while slug in found:
            n += 1
            slug = f"{base}-{n}"
        found.add(slug)
    return found


def dead(path, target, where):
    """What is wrong with a link of path, or None."""
    name, _, anchor = target.partition("#")
    file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
    if not os.path.exists(file):
        return f"{where}: the link to {target} is dead: there is no {file}"
    if anchor and (not file.endswith(".md") or anchor not in anchors(file)):
        return f"{where}: the link to {target} is dead: {file} has no anchor #{anchor}"
    return None


def problems(files):
    found = []
    for path in files:
        if path.endswith(".md"):
            text = re.sub(r"`[^`\n]*`", "", FENCE.sub(lambda m: "\n" * m[0].count("\n"), read(path)))
            for n, line in enumerate(text.splitlines(), 1):
                found += [dead(path, target, f"{path}:{n}") for target in LINK.findall(line)
                          if not re.match(r"https?:|mailto:", target)]
        elif path.endswith((".c", ".h", ".asm", ".txt")):
            for n, line in enumerate(read(path).splitlines(), 1):
                found += [dead("", f"{file}#{anchor}", f"{path}:{n}")
                          for file, anchor in IN_SOURCE.findall(line)]
    return [f for f in found if f]


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True,
                         text=True, check=True).stdout
    return [f for f in out.split() if os.path.exists(f)]


def main():
    files = [os.path.abspath(f) for f in sys.argv[1:]]
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    found = problems([os.path.relpath(f) for f in files] or tracked())
    for f in found:
        print(f"links: {f}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
