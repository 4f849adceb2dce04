# SPDX-License-Identifier: MIT
"""Lines of source for the addresses that a panic prints (tools/run)."""
import os
import re
import subprocess

ADDRESS = re.compile(r"\[<([0-9a-f]{16})>\]")


class Symbols:
    """Finds the source lines of the addresses in a line, by one addr2line that keeps running."""

    def __init__(self, kernel):
        self.command, self.tool = ["addr2line", "-afi", "-e", kernel], None

    def frames(self, address):
        """(function, place) of each, what is inlined first.  Address 0 ends an answer."""
        try:
            self.tool = self.tool or subprocess.Popen(
                self.command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL)
        except OSError:
            return []
        if self.tool.poll() is not None or not int(address, 16):
            return []
        self.tool.stdin.write(f"{address}\n0\n")
        self.tool.stdin.flush()
        words = [w.rstrip("\n") for w in iter(self.tool.stdout.readline, f"0x{0:016x}\n") if w]
        for _ in range(2):
            self.tool.stdout.readline()
        # NASM's line table names the folder twice.
        return [(name, re.sub(r"/(\w+)//\1/", r"/\1/", place))
                for name, place in zip(words[1::2], words[2::2]) if not place.startswith("?")]

    def lines(self, line):
        """The line with its place; before it one for each function inlined there."""
        found = ADDRESS.search(line)
        frames = self.frames(found[1]) if found else []
        places = [os.path.relpath(re.sub(r" \(discriminator .*", "", place)) for _, place in frames]
        inlined = [f"{line[:found.end()]} {name} (inlined)  {place}"
                   for (name, _), place in zip(frames, places[:-1])]
        return [*inlined, f"{line}  {places[-1]}" if places else line]
