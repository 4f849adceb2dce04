#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The list of make's targets and settings, of the words of the kernel's command line, and of the
exit statuses.

    tools/settings.py help                     what `make` alone prints
    tools/settings.py check TARGETS NAME=VALUE...  print why the first wrong one is refused
    tools/settings.py doc [--check]            write docs/settings.md, or compare it

The kernel's words and statuses are read from their tables in C (tests/base/words.c,
drivers/exitport.h), so that each is defined in one place.
"""
import difflib
import os
import re
import sys
from collections import namedtuple

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
DOC = os.path.join(TREE, "docs/settings.md")

# Which settings a target knows: groups of the names below, and names.
BUILD = "O CC V RELEASE SAN"
GUEST = "MODE SMP MEM SEED APPEND QEMU CPU DEVICES DISK EXTRA"
MACHINE = f"BOOT {GUEST}"
WATCH = "SILENCE LIMIT LOG"
TARGETS = {
    "run": ("boot in QEMU, run the suite", f"{BUILD} {MACHINE} {WATCH} T JUNIT"),
    "failed": ("run the failed tests of the last run again", f"{BUILD} {MACHINE} {WATCH} JUNIT"),
    "test-quick": ("make check, then all suites but the stress tests; about a minute", f"{BUILD} {MACHINE} {WATCH} JUNIT"),
    "test": ("what CI runs: every boot path, host tests, bad input", "QEMU CASES JOBS RESUME"),
    "test-full": ("the same, and each suite alone, mutants, stress, bare Debians; hours",
                  "QEMU CASES JOBS RESUME"),
    "test-alone": ("boot each suite alone, in order and shuffled",
                   f"{BUILD} {GUEST} {WATCH}"),
    "list": ("list the tests, one suite.test a line with its claim", f"{BUILD} T QEMU"),
    "shell": ("a prompt on the serial line; `help` lists its commands",
              f"{BUILD} {MACHINE} LIMIT"),
    "bench": ("measure the figures, one line each: name value unit",
              f"{BUILD} T QEMU"),
    "stress": ("2,000,000 operations against the models, on 4 CPUs in parallel",
               f"{BUILD} {GUEST} {WATCH} T JUNIT STRESS"),
    "explore": ("run every order of suite explore's scenarios with at most two preemptions",
                f"{BUILD} {GUEST} {WATCH} T JUNIT SCHED"),
    "explore-finds": ("broken steps of mm and iommu: the scenarios of suite explore find each", ""),
    "stress-shrink": ("T=stress.TEST: reduce a failing run to few operations",
                      f"{BUILD} {GUEST} T TRIES REPEAT"),
    "lab": ("exercises: list them; make lab 5 begins one, on a branch of its own", ""),
    "hint": ("the next of a lab's three hints", ""),
    "grade": ("a lab's tests, then its hidden mutants: the score, and which claim failed", ""),
    "mutants": ("break the kernel line by line; the suite must fail each time", "M N SEED JOBS"),
    "coverage": ("which lines and branches of mm/ and iommu/ the suite reaches; O/coverage/index.html",
                 f"O CC V {MACHINE} {WATCH} T"),
    "book": ("static pages: the documents, the sources, each race step by step; O/book/index.html", BUILD),
    "book-test": ("each page of the book in a headless Chromium", BUILD),
    "check": ("format, order of includes, headers, sizes, names and links in the documents", ""),
    "debug": ("the machine of `make run`, stopped, gdb attached",
              f"{BUILD} {MACHINE} T"),
    "findings": ("run the scripts of findings/ (behaviour of QEMU), by hand", ""),
    "doctor": ("list which tools are installed and which are missing", "QEMU"),
    "all": ("build the kernel", BUILD),
    "iso": ("a bootable ISO with a menu", f"{BUILD} T SEED APPEND"),
    "dist": ("kernel and ISO with checksums, the same bytes in any folder",
             "O V CC RELEASE"),
    "compdb": ("build/compile_commands.json for clangd", BUILD),
    "host-test": ("parsers and strings on the host, under the sanitizers", "O V SEED"),
    "gdb-test": ("try each gdb command on a stopped machine", f"{BUILD} {MACHINE}"),
    "shell-test": ("try each shell command through a pipe", f"{BUILD} {MACHINE} LIMIT"),
    "fmt": ("format the C files", ""),
    "clean": ("remove what was built", "O"),
    "help": ("this list", ""),
}

Setting = namedtuple("Setting", "default values says")
NUMBER = (r"\d+", "a number")
COUNT = (r"0*[1-9]\d*", "a number above 0")
# values: the allowed words, or a pattern and its description
SETTINGS = {
    "T": Setting("", "", "tests: globs of suite.test, -GLOB leaves out: T='cow.*,-cow.fork*'"),
    "SMP": Setting("1", "1 2 3 4 5 6 7 8", "CPUs of the machine"),
    "MODE": Setting("icount", "icount mttcg", "icount repeats a run; mttcg runs CPUs in parallel"),
    "MEM": Setting("256M", (r"[1-9]\d*[MG]", "a size: write MEM=512M or MEM=4G"), "memory"),
    "SEED": Setting("1", NUMBER, "seed of the random choices"),
    "APPEND": Setting("", "", "more words for the kernel's command line (list below)"),
    "BOOT": Setting("kernel", "kernel iso", "QEMU's loader, or GRUB on an ISO"),
    "RELEASE": Setting("0", "0 1", "1: without the checks (build/release)"),
    "SAN": Setting("", "ubsan kasan kcsan gcov", "undefined behaviour, memory, data races, coverage"),
    "CC": Setting("gcc", "", "the compiler: CC=clang builds in build/check-clang"),
    "QEMU": Setting("qemu-system-x86_64", "", "another QEMU, 7.0 or newer"),
    "CPU": Setting("qemu64,+npt", "", "QEMU's -cpu: CPU=max has SMEP and SMAP"),
    "DEVICES": Setting("", "", "none, those named (lsi0,edu), or all but (-iommu)"),
    "DISK": Setting("", "", "the file that backs ivshmem, kept; default: a new one for each run"),
    "EXTRA": Setting("", "", "more arguments for QEMU"),
    "JUNIT": Setting("", "", "write the results as JUnit XML to this file"),
    "LOG": Setting("", "", "file that keeps all output, or none; default: build/run.log"),
    "SILENCE": Setting("60", COUNT, "a run is ended after so many seconds without output"),
    "LIMIT": Setting("900", COUNT, "a run is ended after so many seconds"),
    "STRESS": Setting("160", COUNT, "times as many operations as `make run`"),
    "SCHED": Setting("", (r"\d+:\d+(,\d+:\d+)*", "C:A,...: write SCHED=12:1,40:2"),
                     "this order of a test of suite explore alone, as a timeline"),
    "TRIES": Setting("", COUNT, "how often a part is tried; default 1, with MODE=mttcg 3"),
    "REPEAT": Setting("", COUNT, "runs of a part in one boot"),
    "CASES": Setting("", "", "which cases: a glob of their names: CASES='*ISO*'"),
    "JOBS": Setting("", COUNT, "cases or mutants at a time; default: as many cases as CPUs, one mutant"),
    "RESUME": Setting("0", "0 1", "1: skip cases that have passed on this tree"),
    "M": Setting("", "", "which mutants: a glob; --coverage: tests that kill none; --generated: made by rule"),
    "N": Setting("", COUNT, "how many generated mutants; default 100"),
    "O": Setting("build", "", "folder for all build output"),
    "V": Setting("0", "0 1", "1: show commands"),
}
# QEMU's status is twice the kernel's value and one; the others are QEMU's own.
QEMU_STATUS = {
    0: "the machine reset itself (triple fault)",
    1: "QEMU could not run the machine",
    134: "QEMU aborted",
}


class Wrong(Exception):
    """A setting or value that is refused; the message names the nearest valid one."""


def nearest(word, words):
    return difflib.get_close_matches(word, words, 1, 0)[0]


def of_targets(targets):
    """The settings of these targets, in the list's order; of all if none is named."""
    known = " ".join(TARGETS[t][1] for t in targets or TARGETS if t in TARGETS).split()
    return [name for name in SETTINGS if name in known]


def check_value(name, value):
    values = SETTINGS[name].values
    if "\n" in value:
        raise Wrong(f"{name}= has more than one line")
    if not value or not values:
        return
    if isinstance(values, tuple):
        if not re.fullmatch(values[0], value):
            raise Wrong(f"{name}={value} is not {values[1]}")
    elif value not in values.split():
        raise Wrong(f"{name}={value} is not one of {values}: "
                    f"did you mean {name}={nearest(value, values.split())}?")


def split(words, targets=()):
    """The dictionary of NAME=VALUE words; raises Wrong."""
    known, given = of_targets(targets), {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in SETTINGS:
            near = difflib.get_close_matches(name, known or SETTINGS, 1)
            raise Wrong(f"unknown setting `{name}`: " + (
                f"did you mean `{near[0]}`?" if near else
                f"there are {' '.join(known) or 'none here'}"))
        if name not in known:
            raise Wrong(f"{name} is no setting of `make {' '.join(targets)}`, which knows "
                        f"{' '.join(known) or 'none'}")
        check_value(name, value)
        given[name] = value
    return given


def values(words, targets=()):
    """Every setting's value: the word's, else the environment's, else the default."""
    given = split(words, targets)
    known = of_targets(targets)
    for name in set(known) - set(given) - set("O V CC RELEASE".split()):
        if os.environ.get(name):
            check_value(name, os.environ[name])
            given[name] = os.environ[name]
    return {name: given.get(name) or s.default for name, s in SETTINGS.items()}


# ---- tables in C ----------------------------------------------------------------

def read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as f:
        return f.read()


def kernel_words():
    """(word, argument, what it does) of tests/base/words.c."""
    rows = re.findall(r'^\t\{ ((?:"[^"]*",?\s*)+)\},$', read("tests/base/words.c"), re.M)
    return [re.findall(r'"([^"]*)"', re.sub(r'"\s+"', "", row)) for row in rows]


def statuses():
    """{status: sentence}: the kernel's and QEMU's."""
    rows = re.findall(r"EXIT_\w+ = (0x\w+),\s*/\* (.*?)\s*\*/", read("drivers/exitport.h"))
    return {**{2 * int(value, 16) + 1: says for value, says in rows}, **QEMU_STATUS}


# ---- texts ----------------------------------------------------------------------

def help_text():
    lines = ["make TARGET [SETTING=VALUE...]", ""]
    lines += [f"  {name:13} {says}" for name, (says, _) in TARGETS.items()]
    lines += ["", "settings of run; of others, words and statuses: docs/settings.md", ""]
    for name in of_targets(["run"]):
        s = SETTINGS[name]
        lines.append(f"  {name:8} {s.says}" + (f" [{s.default}]" if s.default else ""))
    return "\n".join(lines)


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def doc_text():
    def allowed(s):
        return s.values if isinstance(s.values, str) else s.values[1].partition(":")[0]
    used = {name: [t for t, (_, words) in TARGETS.items() if name in words.split()]
            for name in SETTINGS}
    lines = ["# Targets, settings, words, statuses", "",
             "<!-- Made by `tools/settings.py doc`: edit the lists there, in tests/base/words.c and "
             "drivers/exitport.h. -->", "",
             "Give settings on make's command line: `make run T='cow.*' SMP=4`. A setting that the "
             "target does not know is refused. All but `O` are also read from the environment.", "",
             "## Targets", "",
             *table(["`make`", "does", "settings"],
                    [(f"`{t}`", says, words) for t, (says, words) in TARGETS.items()]), "",
             "## Settings", "",
             *table(["setting", "default", "values", "meaning", "targets"],
                    [(f"`{n}`", s.default, allowed(s), s.says,
                      "most" if len(used[n]) > 6 else " ".join(used[n]))
                     for n, s in SETTINGS.items()]), "",
             "## Words of the kernel's command line", "",
             "Give them by `APPEND=`, in GRUB's menu (`e` edits an entry), or after `run` in the shell.", "",
             *table(["word", "does"], [(f"`{w}{arg}`", says) for w, arg, says in kernel_words()]),
             "", "## Exit statuses", "",
             "These are the statuses of QEMU. 33 is success; `tools/run` turns it into 0 and passes the "
             "others on. `make` ends with 2 if the status of `tools/run` is not 0.", "",
             *table(["QEMU's", "means"], [(str(n), says) for n, says in statuses().items()]), ""]
    return "\n".join(lines)


def main():
    what, *rest = sys.argv[1:] or ["help"]
    if what == "help":
        print(help_text())
    elif what == "check":
        try:
            split(rest[1:], rest[0].split() or ["help"])
        except Wrong as e:
            print(e)
    elif what == "doc" and rest:
        if not os.path.exists(DOC) or read("docs/settings.md") != doc_text():
            sys.exit("docs/settings.md is out of date: run tools/settings.py doc")
    else:
        with open(DOC, "w", encoding="utf-8") as f:
            f.write(doc_text())


if __name__ == "__main__":
    main()
