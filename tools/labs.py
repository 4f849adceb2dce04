# SPDX-License-Identifier: MIT
"""The labs: a folder each, labs/NN-NAME.

README.md  the title, `*Level L of 4, M minutes.*`, the story, and the tests that must pass, as
           commands `make run T='GLOBS' SMP=N`
sealed     hints, hole and hidden mutants: zlib in base64, after the SHA-256 of the text

The sealed text has lines like these; the blocks are those of tests/mutants:

    hint: a sentence
    hole: mm/space/fork.c
    - the solution's lines, which must occur exactly once
    + the hole's
    hole: tests/scenario/mm/new.c (new)
    - the whole file of the solution
    + the whole file of the hole
    mutant: NAME of a record of tests/mutants, tried with its tests
    mutant: NAME | T= filter | SMP
"""
import base64
import glob
import hashlib
import os
import re
import textwrap
import zlib
from collections import namedtuple

HINTS = 3
Hole = namedtuple("Hole", "file new solution lines")  # new: the file is the lab's
Hidden = namedtuple("Hidden", "name tests smp")  # tests None: those of the record


class Wrong(Exception):
    """A lab that cannot be used; the message says which and why."""


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def seal(text):
    data = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return "\n".join([hashlib.sha256(text.encode()).hexdigest(), *textwrap.wrap(data, 100), ""])


def unseal(sealed, name):
    checksum, _, data = sealed.partition("\n")
    try:
        text = zlib.decompress(base64.b64decode("".join(data.split()), validate=True)).decode()
    except (ValueError, zlib.error) as e:
        raise Wrong(f"{name}/sealed is damaged ({e}): git checkout {name}/sealed") from e
    if hashlib.sha256(text.encode()).hexdigest() != checksum.strip():
        raise Wrong(f"{name}/sealed is damaged (checksum): git checkout {name}/sealed")
    return text


def parse(text, name):
    """(hints, holes, hidden mutants) of a sealed text."""
    hints, holes, hidden = [], [], []
    for line in text.splitlines():
        if line.startswith("hint: "):
            hints.append(line[6:])
        elif line.startswith("hole: "):
            file, _, new = line[6:].partition(" ")
            holes.append((file, new == "(new)", [], []))
        elif line.startswith("mutant: "):
            words = [w.strip() for w in line[8:].split("|")]
            if len(words) not in (1, 3):
                raise Wrong(f"{name}: `{line}` is not NAME or NAME | T | SMP")
            hidden.append(Hidden(*words) if words[1:] else Hidden(words[0], None, None))
        elif line[:1] == "-" and holes:
            holes[-1][2].append(line[2:])
        elif line[:1] == "+" and holes:
            holes[-1][3].append(line[2:])
        elif line.strip():
            raise Wrong(f"{name}: `{line}` is no line of a sealed text")
    if len(hints) != HINTS or not holes or not hidden:
        raise Wrong(f"{name}: {len(hints)} hints, {len(holes)} holes, {len(hidden)} mutants; "
                    f"wanted {HINTS} and one or more")
    return hints, [Hole(f, new, "\n".join(a), "\n".join(b)) for f, new, a, b in holes], hidden


class Lab:
    def __init__(self, folder):
        self.folder, self.branch = folder, f"lab/{os.path.basename(folder)}"
        self.story = read(f"{folder}/README.md")
        title = re.search(r"^# Lab (\d+): (.+)$", self.story, re.M)
        level = re.search(r"^\*Level (\d) of 4, (\d+) minutes", self.story, re.M)
        if not title or not level:
            raise Wrong(f"{folder}/README.md has no `# Lab N: TITLE` or no `*Level L of 4, "
                        "M minutes`")
        self.number, self.title = int(title[1]), title[2]
        self.level, self.minutes = int(level[1]), int(level[2])
        # (globs, SMP) of each command of the story
        self.tests = [(globs, smp or "1") for globs, smp in re.findall(
            r"^make run T='([^']+)'(?: SMP=(\d))?$", self.story, re.M)]
        if not self.tests:
            raise Wrong(f"{folder}/README.md has no line make run T='...'")
        self.hints, self.holes, self.hidden = parse(
            unseal(read(f"{folder}/sealed"), folder), folder)

    def cut(self, top="."):
        """{file: its text with the hole}; raises Wrong if the tree below top has changed there."""
        return self.changed(top, lambda h: (h.solution, h.lines))

    def solve(self, top="."):
        """{file: its text} of what the solution adds to a tree without hole: new files only."""
        return {h.file: h.solution + "\n" for h in self.holes if h.new}

    def changed(self, top, sides):
        files = {}
        for hole in self.holes:
            path = os.path.join(top, hole.file)
            old, new = sides(hole)
            if hole.new:
                if os.path.exists(path):
                    raise Wrong(f"lab {self.number} no longer applies: there is a file {hole.file}")
                files[hole.file] = new + "\n"
                continue
            if hole.file not in files and not os.path.exists(path):
                raise Wrong(f"lab {self.number} no longer applies: there is no {hole.file}")
            text = files.get(hole.file) or read(path)
            if text.count(old) != 1:
                raise Wrong(f"lab {self.number} no longer applies: {hole.file} has {text.count(old)}"
                            f" places with `{old.splitlines()[0].strip()} ...`; tools/lab --unseal "
                            f"{self.number}, mend the hole, tools/lab --seal {self.number}")
            files[hole.file] = text.replace(old, new)
        return files


def load():
    """All labs, by number; they are numbered from 1 on."""
    labs = sorted((Lab(os.path.dirname(p)) for p in glob.glob("labs/*/README.md")),
                  key=lambda lab: lab.number)
    if [lab.number for lab in labs] != list(range(1, len(labs) + 1)):
        raise Wrong(f"labs/: the numbers are {[lab.number for lab in labs]}")
    return labs
