# SPDX-License-Identifier: MIT
"""gdb commands: k-pt ADDRESS (walk the loaded table), k-page PFN, k-threads."""
import gdb

DIRECT = 0xffff800000000000


def word(pa):
    return int(gdb.parse_and_eval(f"*(unsigned long *){DIRECT + pa}"))


class Walk(gdb.Command):
    """k-pt ADDRESS: the entries from CR3 down to the leaf."""

    def __init__(self):
        super().__init__("k-pt", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        va = int(gdb.parse_and_eval(argument)) & (1 << 64) - 1
        table = int(gdb.parse_and_eval("$cr3")) & ~0xfff
        for level in range(3, -1, -1):
            entry = word(table + 8 * (va >> 12 + 9 * level & 511))
            print(f"level {level}: {entry:016x}")
            if not entry & 1 or entry & 0x80:
                return
            table = entry & 0x000ffffffffff000


class Page(gdb.Command):
    """k-page PFN: references, mappings, pins and kind of a frame."""

    def __init__(self):
        super().__init__("k-page", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        page = gdb.parse_and_eval(f"frames[{argument}]")
        count = int(page["count"])
        kind = gdb.parse_and_eval(f"(enum page_kind){int(page['flags']) & 15}")
        print(f"{kind}: refs {count & 0xffffffff}, maps {count >> 32}, pins {page['pins']}, "
              f"mapping {int(page['mapping']):#x}, index {int(page['index']):#x}")


class Threads(gdb.Command):
    """k-threads: every thread, its state and what it holds."""

    def __init__(self):
        super().__init__("k-threads", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        threads = gdb.parse_and_eval("threads")
        for i in range(threads.type.range()[1] + 1):
            t = threads[i]
            if int(t["state"]):
                print(f"{t['id']} {t['name'].string()} {t['state']} on_cpu {t['on_cpu']} "
                      f"locks {t['n_held']}")


Walk()
Page()
Threads()
