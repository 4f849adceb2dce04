# SPDX-License-Identifier: MIT
"""A copy of the tree in which one file at a time is broken, built and booted (tools/mutants)."""
import fcntl
import fnmatch
import glob
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

KERNEL = "build/check/visavis.elf"


def tracked():
    return subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True,
                          text=True, check=True).stdout.split()


def selected(tests, globs):
    """As tests/base/select.c: the last glob that matches decides."""
    out = []
    for test in tests:
        yes = not globs or globs.startswith("-")
        for word in globs.split(","):
            if fnmatch.fnmatchcase(test, word.lstrip("-")):
                yes = not word.startswith("-")
        if yes:
            out.append(test)
    return out


def failures(report, tests):
    """The failed tests of a report.  If the machine hung, tools/run knows only the number of
    the running test."""
    suite, failed = None, set()
    for line in report.splitlines():
        if line.startswith("  # Subtest: "):
            suite = line.split(": ", 1)[1]
        found = re.match(r"  not ok (\d+) ([\w.-]+)", line)
        if found and found[2] != "the-running-test":
            failed.add(f"{suite}.{found[2]}")
        elif found:
            mine = [t for t in tests if t.startswith(f"{suite}.")]
            failed.update(mine[int(found[1]) - 1:int(found[1])])
    return failed


class Tree:
    """quiet: without warnings and debug information, for files that a program has changed."""

    def __init__(self, path, quiet=False):
        self.path, self.quiet, self.lock = path, quiet, None

    def build(self, target="all"):
        return subprocess.run(["make", "-s", "-j2", target], cwd=self.path, capture_output=True,
                              text=True, check=False)

    def contents(self, name):
        with open(name, "rb") as f:
            data = f.read()
        if self.quiet and name == "Makefile":
            data = data.replace(b"-O2 -g -Wall -Wextra -Werror", b"-O2 -w")
        return data

    def copy(self):
        """Make the copy current, and build the unbroken kernel.  Two runs at a time would break
        each other's files."""
        os.makedirs(self.path, exist_ok=True)
        self.lock = open(f"{self.path}.lock", "w", encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"mutants: another run uses {self.path}")
        for name in tracked():
            target, data = os.path.join(self.path, name), self.contents(name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target) or open(target, "rb").read() != data:
                with open(target, "wb") as f:
                    f.write(data)
                shutil.copymode(name, target)
        for target in glob.glob(f"{self.path}/*/**/*.*", recursive=True):  # of an earlier run
            name = os.path.relpath(target, self.path)
            if not name.startswith("build/") and not os.path.exists(name):
                os.remove(target)
        done = self.build()
        if done.returncode:
            sys.exit("this tree does not build:\n" + re.sub(r"make\[\d+\]: warning: .*\n", "", done.stderr))

    @contextmanager
    def broken(self, file, change):
        """The file with change(text) for its text, inside the block; a character is a byte."""
        path = os.path.join(self.path, file)
        with open(path, encoding="latin-1") as f:
            text = f.read()
        try:
            with open(path, "w", encoding="latin-1") as f:
                f.write(change(text))
            yield
        finally:
            with open(path, "w", encoding="latin-1") as f:
                f.write(text)

    def command(self, globs, smp, *settings):
        return ["tools/run", f"--kernel={KERNEL}", f"T={globs}", f"SMP={smp}",
                f"QEMU={os.environ.get('QEMU', '')}", *settings]

    def boot(self, globs, smp, *settings):
        return subprocess.run(self.command(globs, smp, *settings), cwd=self.path, check=False,
                              capture_output=True, text=True)

    def list_tests(self):
        """Every suite.test, in the order in which they run."""
        out = self.boot("", 1, "LOG=none", "APPEND=list").stdout
        return re.findall(r"^(\w+\.[\w.]+)\t", out, re.M)
