#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 11.1.3, e1000 in PHY loopback: a frame that is sent within one second of
# virtual time after a write to RCTL is lost.  The transmit descriptor says that it was
# sent, no receive descriptor is used, and nothing is delivered when the second is over;
# it is counted as sent, and neither as received nor as missed.  Later a frame is
# received within the write to TDT.
#
# A driver that sets RCTL and sends at once, as a self-test does, finds the card broken;
# one that writes RCTL for each transfer never receives.
set -eu
. "$(dirname "$0")/unpack"
qemu_11_1
PYTHONPATH=$here python3 - <<'END'
from qtest import *

DEVFN, REGS = 0x80, 0xFE000000
TX, RX, FRAME, BUFFER = 0x800000, 0x801000, 0x802000, 0x803000
RCTL_ON = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26  # EN UPE MPE BAM SECRC, 2,048 bytes

m = Machine("e1000,netdev=n,romfile=,addr=10.0", clock=STEPPED,
            more=["-netdev", "hubport,id=n,hubid=0"])
m.pci_write(DEVFN, 0x10, REGS)
m.pci_write(DEVFN, 0x04, 6)


def reg(offset, value):
    m.write(REGS + offset, value, 4)


reg(0x0000, m.read(REGS, 4) | 1 << 6)  # CTRL.SLU
reg(0x0020, 0x04204000)  # MDIC: loopback in the PHY's register 0
reg(0x2800, RX), reg(0x2808, 128), reg(0x2810, 0), reg(0x2818, 7)
reg(0x3800, TX), reg(0x3808, 128), reg(0x3810, 0), reg(0x3818, 0)
reg(0x0400, 1 << 1)  # TCTL.EN
for i in range(8):
    m.write(RX + 16 * i, BUFFER + 2048 * i)
    m.write(TX + 16 * i, FRAME)
    m.write(TX + 16 * i + 8, 64 | 1 << 24 | 1 << 27)  # 64 bytes, EOP, RS
sent = 0


def look():
    tx = m.read(TX + 16 * (sent - 1) + 12, 1) & 1
    rx = sum(m.read(RX + 16 * i + 12, 1) & 1 for i in range(8))
    return f"sent {tx}, in the ring {rx}"


def send():
    global sent
    sent += 1
    reg(0x3818, sent)
    return look()


def counters():
    """Frames sent, received, missed: TPT, TPR, MPC; reading clears them."""
    return [m.read(REGS + r, 4) for r in (0x40D4, 0x40D0, 0x4010)]


reg(0x0100, RCTL_ON)
check("at once", send(), "sent 1, in the ring 0")
check("sent, received, missed", counters(), [1, 0, 0])
m.step(990_000_000)
check("after 0.99 s", send(), "sent 1, in the ring 0")
m.step(20_000_000)
check("1.01 s: what was sent before", look(), "sent 1, in the ring 0")
check("1.01 s", send(), "sent 1, in the ring 1")
check("sent, received, missed", counters(), [2, 1, 0])
reg(0x0100, RCTL_ON)
check("RCTL again, same value", send(), "sent 1, in the ring 1")
m.end()
END
