# SPDX-License-Identifier: MIT
"""Drive QEMU's devices from outside: registers and memory over qtest, no guest.

The CPU never runs (-S).  Machine: q35, 64 MiB, no firmware set-up, so the
script places BARs itself.  IOMMU is QEMU's AMD-Vi at its fixed address, LSI
the bus master lsi53c895a in slot 10h, whose Memory Move copies any bytes
within the register write that starts it.
"""
import atexit
import os
import subprocess
import sys

BASE = 0xFED80000  # registers of amd-iommu
DEVTAB, RING, EVENTS = 0x400000, 0x600000, 0x610000
RING_BYTES = 4096


STEPPED = ("-accel", "qtest")  # the virtual clock stands until step(); QEMU 11.1


class Machine:
    def __init__(self, *devices, clock=("-accel", "tcg", "-S"), more=()):
        line = [os.environ["QEMU"], "-M", "q35", "-m", "64M", *clock, "-nodefaults",
                "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null", *more]
        for device in devices:
            line += ["-device", device]
        self.qemu = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        atexit.register(self.end)

    def do(self, command):
        self.qemu.stdin.write(command + "\n")
        self.qemu.stdin.flush()
        answer = self.qemu.stdout.readline().split()
        if not answer or answer[0] != "OK":
            sys.exit(f"{command}: {answer} {self.qemu.stderr.read()}")
        return int(answer[1], 16) if len(answer) > 1 else None

    def read(self, address, size=8):
        return self.do(f"read{ {1: 'b', 2: 'w', 4: 'l', 8: 'q'}[size]} {address:#x}")

    def write(self, address, value, size=8):
        self.do(f"write{ {1: 'b', 2: 'w', 4: 'l', 8: 'q'}[size]} {address:#x} {value:#x}")

    def pci_read(self, devfn, offset):
        self.do(f"outl 0xcf8 {0x80000000 | devfn << 8 | offset & ~3:#x}")
        return self.do("inl 0xcfc")

    def pci_write(self, devfn, offset, value):
        self.do(f"outl 0xcf8 {0x80000000 | devfn << 8 | offset & ~3:#x}")
        self.do(f"outl 0xcfc {value:#x}")

    def step(self, ns):
        """Advance the virtual clock and run its timers: with clock=STEPPED only."""
        self.do(f"clock_step {ns}")

    def end(self):
        self.qemu.kill()
        self.qemu.wait()


class Iommu:
    """The registers, one command ring, one device table."""

    def __init__(self, m):
        self.m, self.tail = m, 0
        m.write(BASE + 0x00, DEVTAB | 0x1FF)
        m.write(BASE + 0x08, RING | 8 << 56)
        m.write(BASE + 0x10, EVENTS | 8 << 56)
        m.write(BASE + 0x18, 1 | 1 << 2 | 1 << 12)  # IommuEn EventLogEn CmdBufEn

    def command(self, first, second=0):
        self.m.write(RING + self.tail, first)
        self.m.write(RING + self.tail + 8, second)
        self.tail = (self.tail + 16) % RING_BYTES
        self.m.write(BASE + 0x2008, self.tail)

    def attach(self, devid, root, domain):
        """Three levels, read and write; then the commands that make it count."""
        self.m.write(DEVTAB + devid * 32 + 8, domain)
        self.m.write(DEVTAB + devid * 32, 3 | 3 << 9 | root | 3 << 61)
        self.command(2 << 60 | devid)  # INVALIDATE_DEVTAB_ENTRY
        self.command(8 << 60)  # INVALIDATE_IOMMU_ALL

    def map(self, root, iova, pa):
        """A leaf below tables that lie in the two pages after the root."""
        self.m.write(root + (iova >> 30) * 8, root + 0x1000 | 1 | 2 << 9 | 3 << 61)
        self.m.write(root + 0x1000 + (iova >> 21 & 511) * 8, root + 0x2000 | 1 | 1 << 9 | 3 << 61)
        self.m.write(root + 0x2000 + (iova >> 12 & 511) * 8, pa | 1 | 3 << 61)


class Lsi:
    DEVFN, REGS = 0x80, 0xFE000000
    OPTION = "lsi53c895a,addr=10.0"

    def __init__(self, m):
        self.m = m
        m.pci_write(self.DEVFN, 0x14, self.REGS)
        m.pci_write(self.DEVFN, 0x04, 6)  # memory, bus master

    def run(self, bus, words, at):
        """The program goes to RAM at `at`, where the chip finds it as `bus`."""
        for i, word in enumerate(words):
            self.m.write(at + 4 * i, word, 4)
        self.m.write(self.REGS + 0x2C, bus, 4)  # DSP: start

    def dstat(self):
        return self.m.read(self.REGS + 0x0C, 1)


def move(source, target, size):
    return [0xC0000000 | size, source, target]


END = [0x98080000, 0]  # INT


def check(what, got, wanted):
    """State one observation; the script fails when QEMU no longer behaves so."""
    print(f"{what}: {got}")
    if got != wanted:
        sys.exit(f"changed: was {wanted}")
