# SPDX-License-Identifier: MIT
"""Every instruction of a bench, by address, in order: for tools/profile and tools/lockshare.

QEMU runs one instruction at a time and logs it, a `rep` instruction once for each element: the sums are
those of `make bench`."""
import os
import subprocess
import sys

import machine

# The firmware, below the kernel, is not logged.
STEPS = "-singlestep -d exec,nochain -dfilter 0xffffffff80000000..0xfffffffffffffffe -D "


def executed(lines):
    """The lines, without those of instructions that QEMU has stopped before and logs again."""
    last = None
    for line in lines:
        if line.startswith("Stopped"):
            last = None
            continue
        if last:
            yield last
        last = line
    if last:
        yield last


def run(s, kernel, group, each):
    """Boot the group of the bench and call each(lines), lines an iterator over QEMU's log.  Returns what
    the kernel has printed."""
    with machine.folder(kernel) as place:
        log = os.path.join(place, "log")
        os.mkfifo(log)
        booted = {**s, "T": "", "APPEND": f"bench={group}", "EXTRA": STEPS + log}
        with subprocess.Popen(machine.command(booted, kernel, place), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as qemu:
            try:
                with open(log, encoding="latin-1") as lines:
                    each(executed(lines))
                output = qemu.communicate()[0]
            finally:
                qemu.kill()
    if qemu.returncode != 33:
        sys.exit(output)
    return output


def address(line):
    """The address of the instruction on a line of the log, 16 digits; "" for other lines."""
    return line.split("/", 2)[1] if line.startswith("Trace") else ""


def symbols(kernel):
    """[(address, name)] of the functions, sorted."""
    done = subprocess.run(["nm", kernel], capture_output=True, text=True, check=True)
    words = [line.split() for line in done.stdout.splitlines()]
    return sorted((w[0], w[2]) for w in words if len(w) == 3 and w[1] in "tT")


def figures(output):
    """{name: value} of what the group has reported, in order."""
    words = [line.split() for line in output.splitlines() if line.startswith("BENCH ")]
    return {w[1]: float(w[2]) for w in words if not w[1].startswith("boot_")}
