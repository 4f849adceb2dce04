# SPDX-License-Identifier: MIT
"""The output of a run: every line goes to the log and to a pipe; a terminal shows the suites, the
failures, and a progress line of 80 columns."""
import os
import shutil
import sys
import time

import machine


class Screen:
    def __init__(self, log, head):
        self.log = None if log == "none" else log
        self.file = self.open(head) if self.log else None
        self.tty = sys.stdout.isatty()
        self.start, self.drawn = time.monotonic(), 0

    def open(self, head):
        try:
            # A file of its own first: of two runs at a time, the log is the whole output of the last.
            file = open(f"{self.log}.{os.getpid()}", "w", encoding="utf-8")
            file.write("".join(f"# {line}\n" for line in head))
            return file
        except OSError as e:
            return machine.usage(f"cannot write the log {self.log}: {e.strerror}; LOG= names another")

    def keep(self, text):
        if not self.file:
            return
        try:
            self.file.write(text + "\n")
        except OSError as e:
            self.file = None
            print(f"# the log ends here: {self.log}: {e.strerror}")

    def close(self):
        try:
            if self.file:
                self.file.close()
                os.replace(self.file.name, self.log)
        except OSError as e:
            print(f"run: cannot write the log {self.log}: {e.strerror}", file=sys.stderr)

    def line(self, text, ktap):
        """Show and keep a line of the machine."""
        self.keep(text)
        if not self.tty:
            print(text, flush=True)
            return
        word = text.lstrip()
        quiet = word.startswith(("# Subtest", "# time_us", "# tests: "))
        if "not ok" in text or not text.startswith(" ") or word.startswith("#") and not quiet:
            print(f"\r\033[K{text}", flush=True)
        self.progress(ktap)

    def say(self, text):
        """Show and keep a line of this tool."""
        self.keep(text)
        print(f"\r\033[K{text}" if self.tty else text, flush=True)

    def progress(self, ktap, now=False):
        """At most ten times a second: the terminal is not to be the slowest."""
        if not self.tty or not now and time.monotonic() - self.drawn < 0.1:
            return
        self.drawn = time.monotonic()
        test = f": {ktap.suite}.{ktap.test}" if ktap.suite and ktap.test else ""
        text = (f"{ktap.passed + ktap.failed + ktap.skipped} of {ktap.tests or '?'}, "
                f"{ktap.failed} failed, {self.drawn - self.start:.0f} s{test}")
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{text[:width]}", end="", flush=True)
