#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 7.2.22, amd-iommu: after the last slot of the command ring has been
# executed COMMAND_HEAD (2000h) reads the size of the ring, not 0, until one
# more command has been executed.
#
# The tail register holds 0 then, so a driver that waits for head == tail waits
# for ever, once in 256 commands.  The command itself was executed: its store
# is there.  Wait for the store of a COMPLETION_WAIT instead.
set -eu
. "$(dirname "$0")/unpack"
qemu_7_2
PYTHONPATH=$here python3 - <<'END'
from qtest import *

WORD = 0x700000
m = Machine("amd-iommu")
iommu = Iommu(m)


def completion_wait(value):
    iommu.command(1 << 60 | WORD | 1, value)


for n in range(1, 256):
    completion_wait(n)
check("head after 255 of 256 slots", hex(m.read(BASE + 0x2000)), "0xff0")
completion_wait(256)
check("stored by the command in the last slot", m.read(WORD), 256)
check("tail", hex(m.read(BASE + 0x2008)), "0x0")
check("head", hex(m.read(BASE + 0x2000)), "0x1000")
completion_wait(257)
check("head after one more", hex(m.read(BASE + 0x2000)), "0x10")
m.end()
END
