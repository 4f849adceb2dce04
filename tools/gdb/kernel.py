# SPDX-License-Identifier: MIT
"""gdb commands for this kernel; they only read memory, and call no function of it.

    k-pt ADDRESS [MM]   the entries from the root of MM (or CR3) to the leaf
    k-page PFN          kind, references, mappings and pins of a frame
    k-threads           every thread and its state
    k-lock              every held lock and its thread (checking build)
    k-trace [N]         the last N probes of all CPUs, oldest first

Tables are read by physical address, so that k-pt works in the middle of boot
and on a table that maps nothing.  tools/gdb/check.py runs every command.
"""
import struct

import gdb

ULONG = 1 << 64
DIRECT_BASE = 0xffff800000000000  # arch/layout.h
ADDRESS = 0x000ffffffffff000


def number(expression):
    """The value as 64 bits; control registers are no integers to gdb."""
    return int(gdb.parse_and_eval(f"(unsigned long)({expression})")) % ULONG


def static(file, name):
    """A static variable of that file."""
    return gdb.parse_and_eval(f"'{file}'::{name}")


def physical(pa):
    """The word at a physical address; only QEMU's gdb server can do this."""
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        return struct.unpack("<Q", gdb.selected_inferior().read_memory(pa, 8).tobytes())[0]
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)


def rights(entry):
    """rwxugd: read, write, execute, user, global, dirty; - is none."""
    bits = (entry & 1, entry & 2, not entry >> 63, entry & 4, entry & 0x100, entry & 0x40)
    return "".join(c if bit else "-" for c, bit in zip("rwxugd", bits))


def root(mm):
    if mm:
        return number(f"((struct mm *)({mm}))->pt.root") - DIRECT_BASE
    if not number("$cr0") & 1 << 31:
        raise gdb.GdbError("paging is off on this CPU")
    return number("$cr3") & ADDRESS


class Command(gdb.Command):
    """A command `name` that prints run(argument), or why there is nothing."""

    def __init__(self):
        super().__init__(self.name, gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        try:
            for line in self.run(argument):
                print(line)
        except gdb.MemoryError as e:
            raise gdb.GdbError(f"{e}: not mapped yet, or not on this CPU") from e


class Walk(Command):
    """k-pt ADDRESS [MM]: the entries from the root of MM (or CR3) to the leaf.
Each argument is one expression; quote it if it has spaces."""

    name = "k-pt"

    def run(self, argument):
        arguments = gdb.string_to_argv(argument)
        if len(arguments) not in (1, 2):
            raise gdb.GdbError("k-pt ADDRESS [MM]")
        va = number(arguments[0])
        table = root(arguments[1] if len(arguments) == 2 else None)
        for level in range(3, -1, -1):
            entry = physical(table + 8 * (va >> 12 + 9 * level & 511))
            leaf = level == 0 or entry & 0x80
            if not entry & 1:
                yield f"level {level}: {entry:016x} hole"
                return
            span = (1 << 12 + 9 * level) - 1
            pa = (entry & ADDRESS & ~span) + (va & span) if leaf else entry & ADDRESS
            yield (f"level {level}: {entry:016x} {'leaf' if leaf else 'table'} {pa:#x} "
                   f"{rights(entry)}")
            if leaf:
                return
            table = pa


class Page(Command):
    """k-page PFN: kind, references, mappings and pins of a frame."""

    name = "k-page"

    def run(self, argument):
        pfn = number(argument)
        if pfn >= number("frames_end"):
            raise gdb.GdbError(f"frame {pfn:#x}: there are {number('frames_end'):#x}")
        page = gdb.parse_and_eval(f"frames[{pfn}]")
        count = int(page["count"])
        kind = gdb.parse_and_eval(f"(enum page_kind){int(page['flags']) & 15}")
        yield (f"{kind} refs {count & 0xffffffff} maps {count >> 32} pins {int(page['pins'])} "
               f"flags {int(page['flags']):#x} mapping {int(page['mapping']['next']):#x} "
               f"index {int(page['index']):#x}")


def all_threads():
    """(thread id, or cpuN of an idle thread; thread) of every thread, the idle ones last."""
    for array, idle in ((static("kernel/thread.c", "threads"), False),
                        (static("kernel/thread.c", "idle"), True)):
        for i in range(array.type.range()[1] + 1):
            if int(array[i]["state"]):
                yield f"cpu{i}" if idle else f"{int(array[i]['id'])}", array[i]


class Threads(Command):
    """k-threads: every thread, its state and how many locks it holds."""

    name = "k-threads"

    def run(self, argument):
        for label, t in all_threads():
            state = "RUNNING" if t["on_cpu"] else str(t["state"]).replace("THREAD_", "")
            yield (f"{label} {t['name'].string()} {state} locks {int(t['n_held'])} "
                   f"mm {int(t['mm']):#x} sp {int(t['sp']):#x}")


class Lock(Command):
    """k-lock: every lock that a thread holds or waits for, outermost first.
The last lock of a blocked thread is the one that it waits for."""

    name = "k-lock"

    def run(self, argument):
        for label, t in all_threads():
            for i in range(int(t["n_held"])):
                h = t["held"][i]
                yield (f"{label} {t['name'].string()} {h['rank']} {h['name'].string()} "
                      f"{'spinning' if h['spinning'] else 'sleeping'} {int(h['lock']):#x}")


class Trace(Command):
    """k-trace [N]: the last N (20) probes of all CPUs, oldest first."""

    name = "k-trace"

    def run(self, argument):
        want = number(argument) if argument else 20
        rings = static("kernel/probe.c", "rings")
        hits = []
        for cpu in range(rings.type.range()[1] + 1):
            ring, end = rings[cpu]["hits"], int(rings[cpu]["next"])
            size = ring.type.range()[1] + 1
            hits += [ring[k % size] for k in range(max(0, end - min(want, size)), end)]
        hits.sort(key=lambda hit: int(hit["tsc"]))
        for hit in hits[-want:] if want else []:
            point = hit["point"].dereference()
            yield (f"{int(hit['tsc'])} cpu{int(hit['cpu'])} thread {int(hit['thread'])} "
                   f"{point['name'].string()} {int(hit['a']):#x} {int(hit['b']):#x} "
                   f"{point['file'].string()}:{int(point['line'])}")


for command in (Walk, Page, Threads, Lock, Trace):
    command()
