#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 7.2.22, amd-iommu: INVALIDATE_IOMMU_PAGES for one 4 KiB page (S = 0)
# drops every cached translation of the domain, whatever address it names.
#
# AMD 48882 lets an IOMMU drop more than it is told to, so this is no fault.
# But a driver that flushes the wrong address, or too few pages, passes every
# test that runs on this device.  A test of the range needs another witness:
# the command itself, or INVALIDATE_IOTLB_PAGES, which does look at the address.
set -eu
. "$(dirname "$0")/unpack"
qemu_7_2
PYTHONPATH=$here python3 - <<'END'
from qtest import *

ROOT, PROGRAM, SINK, A, B = 0x800000, 0x900000, 0x901000, 0xA00000, 0xA01000
DOMAIN = 5
m = Machine("amd-iommu", Lsi.OPTION)
iommu, lsi = Iommu(m), Lsi(m)
for iova, pa in ((0x1000, PROGRAM), (0x2000, SINK), (0x10000, A), (0x11000, A)):
    iommu.map(ROOT, iova, pa)
m.write(A, 0xAAAA, 4)
m.write(B, 0xBBBB, 4)
iommu.attach(Lsi.DEVFN, ROOT, DOMAIN)


def load(iova):
    lsi.run(0x1000, move(iova, 0x2000, 4) + END, PROGRAM)
    lsi.dstat()
    return hex(m.read(SINK, 4))


def flush(iova, domain):
    iommu.command(3 << 60 | domain << 32, iova)


check("page 10h, mapped to A", load(0x10000), "0xaaaa")
iommu.map(ROOT, 0x10000, B)
check("entry changed to B, no command: a stale read", load(0x10000), "0xaaaa")
flush(0x10000, DOMAIN + 1)
check("the page flushed in another domain: still stale", load(0x10000), "0xaaaa")
flush(0x11000, DOMAIN)
check("one other page of the domain flushed: page 10h is gone too", load(0x10000), "0xbbbb")
m.end()
END
