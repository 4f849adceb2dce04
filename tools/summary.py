# SPDX-License-Identifier: MIT
"""The end of a run's output: each failed test with its claim, the first comparison that failed and
the command that repeats it; the slowest tests; the log."""
import re
import shlex
import sys
from collections import namedtuple

import image
import machine
import settings

Failure = namedtuple("Failure", "name why")
RESULT = re.compile(r"^(\s*)(ok|not ok) \d+ (\S+)(?: # (.*))?$")
COMPARED = re.compile(r"^\s*# (\S+:\d+: .*)$")
TIME = re.compile(r"^\s*# time_us=(\d+)$")
SLOWEST = 5
SHOWN = 20
WORD = 250  # of the kernel's 255, less "test="
# These do not change what the kernel does, so a replay does not need them.
NO_MATTER = ("JUNIT", "LOG", "SILENCE", "LIMIT", "O", "V")


def replay(s, **other):
    """The command that repeats a run, or a part of it: all settings that matter."""
    s = {**s, **other}
    words = [f"{n}={shlex.quote(v)}" for n, v in s.items()
             if n in settings.SETTINGS and v != settings.SETTINGS[n].default
             and n not in NO_MATTER]
    return " ".join(["make run", *words])


def read(lines):
    """(failures, {suite.test: microseconds}) of a report."""
    failures, times, suite, first, time = [], {}, None, None, 0
    for line in lines:
        result, compared, took = (p.match(line) for p in (RESULT, COMPARED, TIME))
        if line.startswith("  # Subtest: "):
            suite = line.split(": ", 1)[1]
        elif line.startswith("# panic: "):
            first = line[2:]
        elif compared and not first:
            first = compared[1]
        elif took:
            time = int(took[1])
        elif result and (result[1] or not suite):
            name = f"{suite}.{result[3]}" if suite else result[3]
            times[name] = time
            if result[2] == "not ok":
                failures.append(Failure(name, first or result[4] or "not ok"))
            first, time = None, 0
        elif result:
            suite, first = None, None
    return failures, times


def claims(kernel):
    try:
        return {f"{t.suite}.{t.name}": t.claim for t in image.tests(kernel)}
    except Exception:  # pylint: disable=broad-except # the file may be anything; only the claims are lost
        return {}


def failed(log):
    """(settings of a log's run, globs that select its failed tests)."""
    try:
        with open(log, encoding="utf-8") as f:
            head, *lines = f.read().splitlines()
    except (OSError, ValueError) as e:
        return machine.usage(f"--failed needs the log of a run, {log}: "
                             f"{getattr(e, 'strerror', 0) or e}")
    names = list(dict.fromkeys(f.name for f in read(lines)[0] if "." in f.name))
    if not names and not any(line.startswith("# Totals:") for line in lines):
        machine.usage(f"the run of {log} did not finish: run it again")
    if not names:
        print(f"# nothing failed in {log}")
        sys.exit(0)
    while len(",".join(names)) > WORD:
        print(f"# not repeated, a word has at most {WORD} characters: {names.pop()}")
    words = shlex.split(head)
    return [w for w in words[3:] if not w.startswith("T=")], ",".join(names)


def text(lines, s, kernel, log):
    """The lines of the summary."""
    failures, times = read(lines)
    out = []
    if failures:
        known = claims(kernel)
        out.append(f"# failed, {len(failures)} of {len(times)} tests:")
        for name, why in failures[:SHOWN]:
            out += [f"#   {name}: {known.get(name, 'no claim')}", f"#     {why}",
                    f"#     {replay(s, T=name) if name in known else replay(s)}"]
        if failures[SHOWN:]:
            out.append(f"#   and {len(failures) - SHOWN} more")
    slow = [n for n in sorted(times, key=times.get, reverse=True) if times[n] >= 1000][:SLOWEST]
    out += [f"# slowest: {times[name] / 1e6:7.3f} s  {name}" for name in slow]
    return out + [f"# log: {log}"] * bool(log)
