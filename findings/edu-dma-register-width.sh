#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 7.2.22, edu: the 64-bit DMA registers (80h source, 88h target, 90h count)
# cannot be read or written in two halves: a 4-byte read of the upper half gives
# all ones, and a 4-byte write to the lower half clears the upper one.
#
# The device's document says that registers from 80h on take 4 or 8 bytes.  Code
# for a 32-bit bus that writes low, then high, programs an address below 4 GiB.
set -eu
. "$(dirname "$0")/unpack"
qemu_7_2
PYTHONPATH=$here python3 - <<'END'
from qtest import *

DEVFN, REGS = 0x90, 0xFE100000
m = Machine("edu,addr=12.0,dma_mask=0xffffffffffffffff")
m.pci_write(DEVFN, 0x10, REGS)
m.pci_write(DEVFN, 0x04, 2)
m.write(REGS + 0x80, 0x1122334455667788)
check("8 bytes at 80h, after a write of 8", hex(m.read(REGS + 0x80)), "0x1122334455667788")
check("4 bytes at 80h", hex(m.read(REGS + 0x80, 4)), "0x55667788")
check("4 bytes at 84h", hex(m.read(REGS + 0x84, 4)), "0xffffffff")
m.write(REGS + 0x80, 0x99AABBCC, 4)
check("8 bytes at 80h, after a write of 4", hex(m.read(REGS + 0x80)), "0x99aabbcc")
m.write(REGS + 0x84, 0x11223344, 4)
check("8 bytes at 80h, after 4 more at 84h", hex(m.read(REGS + 0x80)), "0x99aabbcc")
m.end()
END
