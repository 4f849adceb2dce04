# SPDX-License-Identifier: MIT
"""A machine with the kernel's shell, on pipes: what tools/shell_test talks to."""
import atexit
import os
import re
import signal
import subprocess
import sys
import threading

PROMPT = "visavis> "
SILENCE = 120  # seconds, on a busy host
CHECKS = [0]  # how many there were


class Wrong(Exception):
    pass


class Shell:
    """One machine; ask() sends a line and returns the answer."""

    def __init__(self, *settings):
        self.process = subprocess.Popen(["tools/shell", *sys.argv[1:], *settings],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        atexit.register(self.kill)
        self.asked = set()
        self.banner = self.answer()

    def kill(self):
        """Kill the tool, and with it the machine, its child."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError as e:
            raise Wrong("the machine has ended") from e

    def answer(self):
        """Everything up to the next prompt."""
        data = b""
        timer = threading.Timer(SILENCE, self.kill)
        timer.start()
        while not data.endswith(PROMPT.encode()) and (byte := self.process.stdout.read(1)):
            data += byte
        timer.cancel()
        if not data.endswith(PROMPT.encode()):
            raise Wrong("the machine has ended, or was silent; the last of it:\n" +
                        data.decode(errors="replace")[-800:])
        return data.decode(errors="replace")[:-len(PROMPT)]

    def ask(self, line):
        self.asked.add(line.split()[0])
        self.send(line.encode() + b"\n")
        echo, _, rest = self.answer().partition("\n")
        if echo != line:
            raise Wrong(f"sent {line!r}, echoed was {echo!r}")
        return rest.splitlines()

    def expect(self, line, *patterns):
        """Check that the answer has exactly these lines; returns the groups."""
        CHECKS[0] += 1
        got = self.ask(line)
        found = [re.fullmatch(p, g) for p, g in zip(patterns, got)]
        if len(got) != len(patterns) or not all(found):
            raise Wrong("\n".join([f"{line}: wanted", *patterns, "got", *got]))
        return [g for f in found for g in f.groups()]

    def end(self, data, status):
        """Send the last bytes and close the pipe; returns the answer."""
        timer = threading.Timer(SILENCE, self.kill)
        timer.start()
        self.send(data)
        self.process.stdin.close()
        rest = self.process.stdout.read().decode()
        timer.cancel()
        check(self.process.wait(SILENCE) == status,
              f"ended with {self.process.returncode}, wanted {status}: {rest}")
        return rest


def check(true, words):
    CHECKS[0] += 1
    if not true:
        raise Wrong(words)
