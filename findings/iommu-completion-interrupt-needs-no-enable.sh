#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 7.2.22, amd-iommu: a COMPLETION_WAIT with its i bit sends the IOMMU's
# MSI although CONTROL.ComWaitIntEn is 0, and STATUS.ComWaitInt, which then
# reads 1, cannot be cleared by writing 1.
#
# A handler that decides by STATUS what to do finds the bit set for ever after
# the first such command.
set -eu
. "$(dirname "$0")/unpack"
qemu_7_2
PYTHONPATH=$here python3 - <<'END'
from qtest import *

TARGET = 0x700000  # the MSI is sent to RAM, where it can be seen
m = Machine("amd-iommu")
DEVFN = next(d for d in range(256) if m.pci_read(d, 8) >> 16 == 0x0806)
iommu = Iommu(m)
at = m.pci_read(DEVFN, 0x34) & 0xFF
while at and m.pci_read(DEVFN, at) & 0xFF != 5:
    at = m.pci_read(DEVFN, at) >> 8 & 0xFF
m.pci_write(DEVFN, 0x04, 6)
m.pci_write(DEVFN, at + 4, TARGET)
m.pci_write(DEVFN, at + 8, 0)
m.pci_write(DEVFN, at + 12, 0x77)
m.pci_write(DEVFN, at, m.pci_read(DEVFN, at) | 1 << 16)
check("ComWaitIntEn (CONTROL bit 4)", m.read(BASE + 0x18) >> 4 & 1, 0)
iommu.command(1 << 60)
check("COMPLETION_WAIT without i: message", hex(m.read(TARGET, 4)), "0x0")
iommu.command(1 << 60 | 2)
check("COMPLETION_WAIT with i: message", hex(m.read(TARGET, 4)), "0x77")
check("STATUS.ComWaitInt", m.read(BASE + 0x2020) >> 2 & 1, 1)
m.write(BASE + 0x2020, 4)
check("STATUS.ComWaitInt after 1 was written", m.read(BASE + 0x2020) >> 2 & 1, 1)
m.end()
END
