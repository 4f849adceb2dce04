#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 11.1.3, amd-iommu: an event log base that is written while STATUS.EventLogInt
# is set reads back, but nothing else happens: events go on to the old ring, and head
# and tail are not reset, although the log is off.  Written again after the bit was
# cleared, the same value counts.
#
# A driver that sets up a log as it was left (a second kernel, a restart) clears STATUS
# before it writes the base, or its first events land in memory that it no longer owns.
set -eu
. "$(dirname "$0")/unpack"
qemu_11_1
PYTHONPATH=$here python3 - <<'END'
from qtest import *

PROGRAM, OTHER = 0x800000, 0x630000  # the LSI's program; another ring
CONTROL, HEAD, TAIL, STATUS = BASE + 0x18, BASE + 0x2010, BASE + 0x2018, BASE + 0x2020
ON = 1 | 1 << 2 | 1 << 3 | 1 << 12  # IommuEn EventLogEn EventIntEn CmdBufEn

m = Machine("amd-iommu,dma-remap=on", Lsi.OPTION)
lsi, iommu = Lsi(m), Iommu(m)
iommu.attach(Lsi.DEVFN, 0x420000, 1)
iommu.map(0x420000, 0x10000, PROGRAM)
m.write(CONTROL, ON)


def events():
    """A move between two addresses that are not mapped; how many events are where."""
    lsi.run(0x10000, move(0x20000, 0x30000, 4) + END, PROGRAM)
    lsi.dstat()
    counts = [sum(m.read(ring + 16 * i) != 0 for i in range(8)) for ring in (EVENTS, OTHER)]
    return f"{counts[0]} and {counts[1]}, tail {m.read(TAIL):#x}"


def move_log():
    """Log off, all entries read, another base, log on; head and tail before it is on."""
    m.write(CONTROL, ON & ~(1 << 2))
    m.write(HEAD, m.read(TAIL))
    m.write(BASE + 0x10, OTHER | 8 << 56)
    seen = f"base {m.read(BASE + 0x10) & (1 << 52) - 1:#x}"
    seen += f", head {m.read(HEAD):#x}, tail {m.read(TAIL):#x}"
    m.write(CONTROL, ON)
    return seen


check("events in the first and the second ring", events(), "2 and 0, tail 0x20")
check("STATUS.EventLogInt", m.read(STATUS) >> 1 & 1, 1)
check("base moved while it is set", move_log(), "base 0x630000, head 0x20, tail 0x20")
check("events", events(), "4 and 0, tail 0x40")
m.write(STATUS, 2)
check("base moved after it was cleared", move_log(), "base 0x630000, head 0x0, tail 0x0")
check("events", events(), "4 and 2, tail 0x20")
m.end()
END
