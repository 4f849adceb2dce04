#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU 7.2.22, lsi53c895a: one write to DSP runs at most 100 SCRIPTS instructions
# synchronously; what is left runs later, from a timer of the virtual clock.
#
# A driver that counts on "the write returns when the program is over" is right
# for 99 moves and an INT, and wrong for 100: DSTAT has no SIR yet, and the last
# bytes have not moved.  (QEMU 10 runs 500.)
set -eu
. "$(dirname "$0")/unpack"
qemu_7_2
PYTHONPATH=$here python3 - <<'END'
from qtest import *

PROGRAM, FROM, TO = 0x800000, 0x900000, 0x901000


def run(moves):
    m = Machine(Lsi.OPTION)
    lsi = Lsi(m)
    for i in range(moves):
        m.write(FROM + i, i + 1, 1)
    lsi.run(PROGRAM, sum((move(FROM + i, TO + i, 1) for i in range(moves)), []) + END, PROGRAM)
    moved = sum(m.read(TO + i, 1) == i + 1 for i in range(moves))
    sir = lsi.dstat() >> 2 & 1
    m.end()
    return f"{moved} bytes moved, SIR {sir}"


check("99 moves of a byte and INT", run(99), "99 bytes moved, SIR 1")
check("100 moves of a byte and INT", run(100), "100 bytes moved, SIR 0")
check("130 moves of a byte and INT", run(130), "100 bytes moved, SIR 0")
END
