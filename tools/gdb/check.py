# SPDX-License-Identifier: MIT
"""make gdb-test: run every command of kernel.py and compare what it prints.

The guest is stopped in the middle of a copy-on-write: parent and child share
page 1, and the parent's entry of page 0 is cleared but not flushed yet.  What
must be printed follows from that, from the arguments of the probe where the guest
stopped and from the layout of the image; no recorded output is compared.
It is stopped again at the end of the run, for the rings of both CPUs.
"""
import re
import traceback

import gdb

KERNEL_BASE, DIRECT_BASE = 0xffffffff80000000, 0xffff800000000000
PAGE = 4096
checks = 0


def value(expression):
    return int(gdb.parse_and_eval(f"(unsigned long)({expression})")) % (1 << 64)


def say(command):
    try:
        return gdb.execute(command, to_string=True).splitlines()
    except gdb.error as e:
        return [str(e)]


def expect(command, *patterns, last=False):
    """The lines (last: the last lines) that it prints match these, one each."""
    global checks
    checks += 1
    lines = say(command)
    got = lines[-len(patterns):] if last else lines
    if len(got) != len(patterns) or not all(map(re.match, patterns, got)):
        raise AssertionError("\n".join([f"{command}: wanted", *patterns, "got", *lines]))


def leaf(va, mm=""):
    """(physical address, rights) that k-pt ends with."""
    line = say(f"k-pt {va:#x} {mm}")[-1]
    found = re.match(r"level [012]: [0-9a-f]{16} leaf (0x[0-9a-f]+) ([a-z-]{6})$", line)
    if not found:
        raise AssertionError(f"k-pt {va:#x} {mm}: no leaf: {line}")
    return int(found[1], 16), found[2]


def expect_leaf(va, pa, rights, mm=""):
    global checks
    checks += 1
    got = leaf(va, mm)
    if got[0] != pa or not re.match(rights, got[1]):
        raise AssertionError(f"k-pt {va:#x} {mm}: got {got[0]:#x} {got[1]}, "
                             f"wanted {pa:#x} {rights}")


def before_boot():
    expect("k-pt 0", "paging is off")
    expect("k-threads", "Cannot access memory .*: not mapped yet")
    expect("k-page 0", "frame 0x0: there are 0x0|Cannot access memory")


def image():
    """The image lies at KERNEL_BASE + pa; its sections have their rights."""
    for symbol, rights in (("tests_main", "r-x-"), ("kind_names", "r---"), ("frames", "rw--")):
        va = value(f"&{symbol}")
        expect_leaf(va, va - KERNEL_BASE, rights)
        expect(f"k-page {va - KERNEL_BASE >> 12:#x}", "PAGE_RESERVED ")
    expect_leaf(DIRECT_BASE + 0x1234567, 0x1234567, "rw--")
    guard = value("((struct guard *)&guards_start)->page")
    expect(f"k-pt {guard:#x}", *[r"level \d: .* table "] * 3, "level 0: 0{16} hole")


def copy_on_write(mm, va):
    table = r"level \d: [0-9a-f]{16} table 0x[0-9a-f]+000 rwxu"
    for command in (f"k-pt {va:#x}", f"k-pt {va:#x} {mm:#x}"):
        expect(command, table, table, table, "level 0: 0{16} hole")
    shared, rights = leaf(va + PAGE)
    expect_leaf(va + PAGE, shared, rights, f"{mm:#x}")
    if not re.match("r--u-", rights):
        raise AssertionError(f"the shared page is {rights}")
    expect(f"k-page {shared >> 12:#x}", "PAGE_ANON refs 2 maps 2 pins 0 ")
    expect("k-page frames_end", "frame 0x")
    expect("k-page $cr3>>12", "PAGE_TABLE refs 1 maps 0 ")
    expect("k-page zero_page-frames", "PAGE_ZERO ")


def threads_and_locks(mm, va):
    thread = "parent_and_child_keep_their_own_writes"
    locks = [line.split() for line in say("k-lock")]
    if {lock[1] for lock in locks} != {thread} or \
            [lock[2:5] for lock in locks if lock[2] in ("RANK_MM", "RANK_PT")] != \
            [["RANK_MM", "mm", "sleeping"], ["RANK_PT", "pt", "spinning"]] or \
            f"{mm:#x}" not in locks[0]:
        raise AssertionError(f"k-lock: only the test thread holds locks, mm and then pt: {locks}")
    lines = say("k-threads")
    for wanted in (r"\d+ main BLOCKED locks 0 mm 0x0 ",
                   rf"\d+ {thread} RUNNING locks {len(locks)} mm {mm:#x} ",
                   r"cpu0 idle (READY|RUNNING) locks 0 ", r"cpu1 idle (READY|RUNNING) locks 0 "):
        if sum(bool(re.match(wanted, line)) for line in lines) != 1:
            raise AssertionError("\n".join([f"k-threads: not once: {wanted}", *lines]))
    if sum(" RUNNING " in line for line in lines) != 2:
        raise AssertionError("\n".join(["k-threads: not two threads that run, on two CPUs", *lines]))
    step = rf"\d+ cpu[01] thread \d+ %s {mm:#x} {va:#x} mm/[\w/]+\.c:\d+$"
    expect("k-trace 1", step % "pte_clear")
    if not any(re.match(step % "cow_copied", line) for line in say("k-trace")):
        raise AssertionError("\n".join(["k-trace: no cow_copied", *say("k-trace")]))
    expect("k-trace 0")


def device_in_a_process():
    """A device has read a page of a process: both MMUs lead to the same frame."""
    bdf, iova = value("a") >> 48, value("a") & (1 << 48) - 1
    domain, table = (int(x, 0) for x in re.match(
        r"domain (\d+), root (0x[0-9a-f]+), 4 levels, rw$", say(f"k-dte {bdf:#x}")[1]).groups())
    levels = [rf"level {n}: [0-9a-f]{{16}} table 0x[0-9a-f]+000 rw$" for n in (4, 3, 2)]
    expect(f"k-iowalk {bdf:#x} {iova:#x}", *levels, r"level 1: [0-9a-f]{16} leaf 0x[0-9a-f]+000 rw$")
    frame = say(f"k-iowalk {bdf:#x} {iova:#x}")[-1].split()[4]
    seen = say(f"k-iotlb {bdf:#x}")
    for line in (f"leaf of domain {domain:#x}: {iova:#x}+0x1000 -> {frame}, used by {bdf:#06x}",
                 f"root of device {bdf:#x}: 0x0+0x1000000000000 -> {table:#x}, used by {bdf:#06x}"):
        if line not in seen:
            raise AssertionError("\n".join([f"k-iotlb: no line {line}", *seen]))
    if say("k-iotlb 1f.7"):
        raise AssertionError("k-iotlb 1f.7: no such device has accessed memory")
    mm, ops = re.match(r"mm (0x[0-9a-f]+): 1 ever registered, 0 invalidations open\|  0x[0-9a-f]+ (\w+) since",
                       "|".join(say("k-notifiers"))).groups()
    expect(f"k-notifiers {mm}", f"mm {mm}: ", f"  0x[0-9a-f]+ {ops} since ")
    expect_leaf(iova, int(frame, 16), "rw-u", mm)
    expect("k-dte 0", "device 0x0000: ", "domain 0, root .*, 1 levels, --, denied: an empty table")
    expect("k-iowalk 0 0x1000", "level 1: 0{16} hole")
    expect("k-dte 0x10000", r"device 0x10000: the table has 0x[0-9a-f]+$")
    head, *commands = say("k-ring 4")
    tail, waits, queued, done = (int(x, 0) for x in re.match(
        r"tail (0x[0-9a-f]+) of 0x[0-9a-f]+, \d+ commands, (\d+) waits, queued up to (\d+), "
        r"done (\d+)$", head).groups())
    if len(commands) != 4 or waits != queued or queued != done or not re.match(
            rf"{tail - 16:#06x}: 1[0-9a-f]{{15}} {done:016x} COMPLETION_WAIT$", commands[-1]):
        raise AssertionError("\n".join(["k-ring: the last is not the wait that is done", head, *commands]))
    expect("k-ksm", *[r"\w+ +\d+$"] * len(say("k-ksm")))
    if not any(re.match("full_scans +0$", line) for line in say("k-ksm")):
        raise AssertionError("\n".join(["k-ksm: no full_scans", *say("k-ksm")]))


def rings_merged():
    """Both CPUs have hits now; none is lost, and they are in order of time."""
    ring = "'kernel/probe.c'::rings[%d].next"
    hits = [value(ring % cpu) for cpu in range(2)]
    if not all(hits):
        raise AssertionError(f"the CPUs have {hits} hits: not enough to compare")
    lines = say("k-trace 100000")
    times = [int(line.split()[0]) for line in lines]
    if len(lines) != sum(min(n, 512) for n in hits) or times != sorted(times):
        raise AssertionError(f"k-trace: {len(lines)} lines of {hits} hits, or out of order")
    if say("k-trace") != lines[-20:]:
        raise AssertionError("k-trace: not the last 20")


def main():
    before_boot()
    # Two steps of the protocol, by their names; then out of the probe's code.
    gdb.execute('break probe_record if $_streq(point->name, "cow_copied")')
    gdb.execute("continue")
    gdb.execute('condition 1 $_streq(point->name, "pte_clear")')
    gdb.execute("continue")
    mm, va = value("a"), value("b")
    gdb.execute("finish")
    image()
    copy_on_write(mm, va)
    threads_and_locks(mm, va)
    gdb.execute("delete")
    gdb.execute('break probe_record if $_streq(point->name, "device_read")')
    gdb.execute("continue")
    device_in_a_process()
    gdb.execute("delete")
    gdb.execute("break ktap_end")
    gdb.execute("continue")
    rings_merged()
    print(f"ok gdb: {checks} outputs")


try:
    main()
except Exception:  # pylint: disable=broad-except
    traceback.print_exc()
    gdb.execute("quit 1")
