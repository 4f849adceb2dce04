#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""KTAP version 1 on standard input -> JUnit XML on standard output.

    make -s run | tools/ktap2junit.py > junit.xml        (or make run JUNIT=junit.xml)

A result with a block of its own below it is a testsuite, any other a testcase of
the suite around it; a suite in a suite is called outer.inner.  Lines that are no
KTAP belong to the result that follows.  A report that is cut off, or a suite that
failed though nothing in it did, becomes an error: it must not look like a success.
"""
import re
import sys
import xml.etree.ElementTree as ET

LINE = re.compile(r"( *)(?:(KTAP version 1)|(1)\.\.(\d+)"
                  r"|(ok|not ok) (\d+)(?: -)?(?: ([^#]*?))?(?: # ?(.*))?)$")
COMPARED = re.compile(r"# \S+:\d+: ")  # what failed first
TIME = re.compile(r"time_us=(\d+)")
# The element of a directive; None: judged by ok and not ok.
DIRECTIVES = {"SKIP": "skipped", "XFAIL": "skipped", "TODO": "skipped", "TIMEOUT": "error",
              "ERROR": "error"}


class Block:
    """One level: a version line, a plan, results; log: lines that belong to no result yet."""

    def __init__(self):
        self.plan, self.seen, self.cases, self.log = None, 0, [], []
        self.name = "(unnamed)"  # until its result line, or a note, says more


def case(name, log, kind=None, message=""):
    """A testcase; kind None is a pass."""
    element = ET.Element("testcase", name=name)
    if kind:
        ET.SubElement(element, kind, message=message)
    found = TIME.search("\n".join(log))
    if found:
        element.set("time", f"{int(found[1]) / 1e6:.6f}")
    if log:
        ET.SubElement(element, "system-out").text = "\n".join(log)
    return element


def judge(verdict, directive, log):
    """(kind, message) of a result line and the lines before it."""
    word, _, why = (directive or "").partition(" ")
    if word in DIRECTIVES:
        return DIRECTIVES[word], why if word == "SKIP" else f"{word} {why}".strip()
    compared = [line[2:] for line in log if COMPARED.match(line)]
    return (None, "") if verdict == "ok" else (
        "failure", directive or (compared or ["not ok"])[0])


class Report:
    def __init__(self):
        self.suites = []
        self.open = []  # blocks, outermost first

    def close(self, kind=None, message=""):
        """End the innermost block: it becomes a suite."""
        names = [b.name for b in self.open[1:]]
        block = self.open.pop()
        cases = block.cases
        if block.plan != block.seen:
            cases.append(case("(plan)", [], "error", f"{block.seen} results, planned were "
                              f"{'none' if block.plan is None else block.plan}"))
        bad = any(c.find("failure") is not None or c.find("error") is not None for c in cases)
        if kind in ("failure", "error") and not bad:
            cases.append(case("(suite)", [], kind, message))
        if not cases and not block.log:
            return
        suite = ET.Element("testsuite", name=".".join(names) or "ktap", tests=str(len(cases)))
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(sum(c.find(tag) is not None for c in cases)))
        for c in cases:
            c.set("classname", suite.get("name"))
        suite.extend(cases)
        if block.log:
            ET.SubElement(suite, "system-out").text = "\n".join(block.log)
        self.suites.append(suite)

    def result(self, depth, verdict, name, directive):
        kind, message = judge(verdict, directive, self.open[depth].log if depth < len(self.open) else [])
        while len(self.open) > depth + 2:
            self.close("error", "no result follows")
        block = self.open[depth]
        block.seen += 1
        if len(self.open) == depth + 2:
            self.open[-1].name = name
            self.open[-1].log[:0] = block.log
            self.close(kind, message)
        else:
            block.cases.append(case(name, block.log, kind, message))
        block.log = []

    def line(self, text):
        found = LINE.match(text)
        depth = len(found[1]) // 2 if found else 0
        if found and found[2] and depth == len(self.open):
            self.open.append(Block())
        elif found and found[3] and depth == len(self.open) - 1:
            self.open[depth].plan = int(found[4])
        elif found and found[5] and depth < len(self.open):
            self.result(depth, found[5], found[7] or found[6], found[8])
        elif text.strip().startswith("# Subtest: ") and self.open:
            self.open[-1].name = text.strip()[11:]
        elif self.open:  # what the loader said before does not matter
            self.open[-1].log.append(text.strip())

    def end(self):
        while len(self.open) > 1:
            self.close("error", "the report ends in this suite")
        self.close()


def convert(text):
    """The testsuites element, or None if there is no KTAP in the text."""
    report = Report()
    # XML knows no control characters, not even escaped.
    for line in re.sub(r"[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd",
                       text.replace("\r\n", "\n")).split("\n"):
        if line.strip():
            report.line(line)
    if not report.open:
        return None
    report.end()
    root = ET.Element("testsuites")
    root.extend(report.suites)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(s.get(count)) for s in report.suites)))
    return root


def write(text, out):
    root = convert(text)
    if root is None:
        sys.exit("ktap2junit: no KTAP in the input")
    ET.indent(root)
    out.write(ET.tostring(root, "utf-8", xml_declaration=True) + b"\n")


def main():
    write(sys.stdin.buffer.read().decode("utf-8", "replace"), sys.stdout.buffer)


if __name__ == "__main__":
    main()
