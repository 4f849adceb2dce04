# SPDX-License-Identifier: MIT
"""gdb commands for the second MMU, after kernel.py.

    k-dte BDF           a device's entry: 10.0 or 0x80
    k-iowalk BDF IOVA   the entries from the device's root to the leaf
    k-iotlb [BDF]       what an IOTLB may hold, as the tests' cache checker computes it
    k-ring [N]          the last N commands, and how many are not completed
    k-ksm               the scanner's counters
    k-notifiers [MM]    the notifiers of one mm, or of each mm that has some
"""
import gdb

DTE_V, DTE_TV, IR, IW = 1 << 0, 1 << 1, 1 << 61, 1 << 62
COMMANDS = {1: "COMPLETION_WAIT", 2: "INVALIDATE_DEVTAB_ENTRY", 3: "INVALIDATE_IOMMU_PAGES",
            4: "INVALIDATE_IOTLB_PAGES", 5: "INVALIDATE_INTERRUPT_TABLE",
            6: "PREFETCH_IOMMU_PAGES", 7: "COMPLETE_PPR_REQUEST", 8: "INVALIDATE_IOMMU_ALL"}
KINDS = ("leaf of domain", "leaf in TLB of device", "table of domain", "root of device")
CHUNK = 16  # bytes of a command


def unit():
    if not int(static("iommu/core/machine.c", "n_machines")):
        raise gdb.GdbError("no IOMMU is in use")
    return static("iommu/core/machine.c", "machines")[0]["iommu"]


def devid(text):
    """00:10.0, 10.0, or an expression of gdb's."""
    parts = text.replace(".", ":").split(":")
    if "." in text and all(all(c in "0123456789abcdef" for c in p) for p in parts):
        bus, slot, function = [0, *(int(p, 16) for p in parts)][-3:]
        return bus << 8 | slot << 3 | function
    return number(text)


def entry(iommu, bdf):
    if bdf >= int(iommu["devids"]):
        raise gdb.GdbError(f"device {bdf:#x}: the table has {int(iommu['devids']):#x}")
    return [int(iommu["table"][bdf]["w"][i]) for i in range(4)]


def io_rights(word):
    return "".join(c if word & bit else "-" for c, bit in (("r", IR), ("w", IW)))


class Dte(Command):
    """k-dte BDF: the device table entry, as words and decoded."""

    name = "k-dte"

    def run(self, argument):
        iommu, bdf = unit(), devid(argument)
        w = entry(iommu, bdf)
        yield f"device {bdf:#06x}: " + " ".join(f"{x:016x}" for x in w)
        if not w[0] & DTE_V:
            yield "not valid: everything passes"
        elif not w[0] & DTE_TV:
            yield "not translated: addresses pass as they are"
        else:
            root_at = w[0] & ADDRESS
            denied = root_at == int(iommu["empty"] - gdb.parse_and_eval("&frames[0]")) << 12
            yield (f"domain {w[1] & 0xffff}, root {root_at:#x}, {w[0] >> 9 & 7} levels, "
                   f"{io_rights(w[0])}{', denied: an empty table' if denied else ''}")


class IoWalk(Command):
    """k-iowalk BDF IOVA: the entries from the device's root to the leaf."""

    name = "k-iowalk"

    def run(self, argument):
        arguments = gdb.string_to_argv(argument)
        if len(arguments) != 2:
            raise gdb.GdbError("k-iowalk BDF IOVA")
        w, iova = entry(unit(), devid(arguments[0]))[0], number(arguments[1])
        if w & 3 != DTE_V | DTE_TV:
            raise gdb.GdbError("the device's addresses are not translated: see k-dte")
        level = w >> 9 & 7
        while level:
            at = (w & ADDRESS) + 8 * (iova >> 12 + 9 * (level - 1) & 511)
            w = physical(at)
            if not w & 1:
                yield f"level {level}: {w:016x} hole"
                return
            below = w >> 9 & 7
            what = "leaf" if below in (0, 7) else "table"
            yield f"level {level}: {w:016x} {what} {w & ADDRESS:#x} {io_rights(w)}"
            level = 0 if what == "leaf" else below


class Iotlb(Command):
    """k-iotlb [BDF]: what tests/checker/cache_checker.c computes to be cached."""

    name = "k-iotlb"

    def run(self, argument):
        only = devid(argument) if argument else None
        known = static("tests/checker/known.c", "all")
        for i in range(known.type.range()[1] + 1):
            k = known[i]
            if int(k["live"]) and only in (None, int(k["devid"])):
                yield (f"{KINDS[int(k['kind'])]} {int(k['tag']):#x}: {int(k['iova']):#x}"
                       f"+{1 << int(k['shift']):#x} -> {int(k['frame']):#x}, "
                       f"used by {int(k['devid']):#06x}")


class Ring(Command):
    """k-ring [N]: the last N (8) commands that were queued."""

    name = "k-ring"

    def run(self, argument):
        queue = unit()["queue"]
        size, tail = int(queue["size"]), int(queue["tail"])
        done = int(queue["done"].dereference()) if int(queue["done"]) else 0
        yield (f"tail {tail:#x} of {size:#x}, {int(queue['commands'])} commands, "
               f"{int(queue['waits'])} waits, queued up to {int(queue['seq'])}, done {done}")
        for back in range(min(number(argument) if argument else 8, size // CHUNK), 0, -1):
            at = (tail - back * CHUNK) % size
            w = [int(queue["ring"][at // CHUNK]["w"][i]) for i in range(2)]
            if w[0]:
                yield f"{at:#06x}: {w[0]:016x} {w[1]:016x} {COMMANDS.get(w[0] >> 60, '?')}"


class Ksm(Command):
    """k-ksm: all counters of `struct ksm`."""

    name = "k-ksm"

    def run(self, argument):
        ksm = gdb.parse_and_eval("ksm")
        for field in ksm.type.fields():
            kind = field.type.strip_typedefs()
            if kind.code == gdb.TYPE_CODE_INT:
                yield f"{field.name:16} {int(ksm[field.name])}"


class Notifiers(Command):
    """k-notifiers [MM]: the notifiers of an mm, newest first, and its open invalidations."""

    name = "k-notifiers"

    def run(self, argument):
        mm = number(argument) if argument else 0
        every = [mm] if mm else list(linked(static("mm/core/mm.c", "mm_list"), "link"))
        for at in every:
            subs = gdb.parse_and_eval(f"((struct mm *){at:#x})->subscriptions")
            if not int(subs):
                continue
            subs = subs.dereference()
            windows = len(list(linked(subs["invalidations"], "link")))
            yield f"mm {at:#x}: {int(subs['joined'])} ever registered, {windows} invalidations open"
            node = subs["list"]
            while int(node):
                n = node.dereference()
                ops = gdb.execute(f"info symbol {int(n['ops']):#x}", to_string=True).split()[0]
                yield f"  {int(node):#x} {ops} since {int(n['since'])} users {int(n['users'])}"
                node = n["next"]


def linked(head, link):
    """The addresses of a LIST's elements."""
    node = head["lh_first"]
    while int(node):
        yield int(node)
        node = node.dereference()[link]["le_next"]


for command in (Dte, IoWalk, Iotlb, Ring, Ksm, Notifiers):
    command()
