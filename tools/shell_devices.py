# SPDX-License-Identifier: MIT
"""The part of tools/shell_test about devices, and the examples of `help COMMAND`."""
import re

from shell_pipe import Shell, check

VA, PAGE = 0x10000000, 4096


def devices(shell):
    """A device in an address space: by its table and by a mirror, over fork, unmap and exit."""
    table = shell.expect("device", *[r"(\w+) +\w+\.\d  (\d+)-bit addresses, denied"] * 4)
    check(table[::2] == ["lsi0", "lsi1", "edu", "e1000"] and table[1] == "32", str(table))
    shell.expect("iotlb", "no device is bound, and nothing is cached: .*")
    for kind, shows in (("sva", "the table of"), ("mirror", "a mirror of")):
        mm, = shell.expect("new", r"mm (\d+)")
        shell.expect(f"bind lsi0 {mm} {kind}")
        d, = shell.expect("device", rf"lsi0 .*, domain (\d+): {shows} mm {mm}", "lsi1 .* denied",
                          "edu .*", "e1000 .*")
        shell.expect("dte lsi0", "device 0x80: [0-9a-f ]{67}",
                     rf"domain {d}, root 0x[0-9a-f]+, [34] levels, rw")
        shell.ask("timeline")
        shell.expect(f"dma lsi0 write {VA:#x} 7", f"lsi0 asks for {VA:#x} to write: mapped")
        shell.expect(f"read {mm} {VA:#x}", "0x7")
        shell.expect(f"write {mm} {VA + 8:#x} 9")
        shell.expect(f"dma lsi0 read {VA + 8:#x}", "0x9")
        cached(shell, d, VA, True)
        shell.expect(f"unmap {mm} {VA:#x} {VA + PAGE:#x}")
        cached(shell, d, VA, False)
        shell.expect(f"dma lsi0 read {VA:#x}", f"lsi0 asks for {VA:#x} to read: refused")
        steps = [line[4:].strip() for line in shell.ask("timeline")]
        wanted = [f"DMA write {VA:#x} = 7", f"DMA read {VA + 8:#x} = 9", f"clear PTE {VA:#x}"]
        # A table of its own is emptied at the start, before the CPU's entry is cleared.
        wanted.insert(3 if kind == "sva" else 2, f"INVALIDATE_IOMMU_PAGES {d} {VA:#x} PDE")
        check(in_order(wanted, steps), f"{wanted} not in this order in {steps}")
        shell.expect("timeline", "no steps since the last timeline")
        lines = shell.ask("ring")
        check(any("INVALIDATE_IOMMU_PAGES" in line for line in lines) and
              re.search(r"completed (\d+) of \1$", lines[1]), str(lines))
        child = fork_and_write(shell, mm)
        shell.expect(f"drop {mm}")
        shell.expect("device", f"lsi0 .*, domain {d}: {shows} mm {mm}, which has exited: denied",
                     "lsi1 .*", "edu .*", "e1000 .*")
        shell.expect("dte lsi0", ".*", "domain 0, root .*, 1 levels, --, denied: an empty table")
        shell.expect(f"dma lsi0 read {VA + PAGE:#x}", "lsi0 asks for .* to read: refused")
        shell.expect("unbind lsi0")
        shell.expect(f"drop {child}")
    two_devices(shell)
    log = r"\w+ log: \d+ entries fit, head \w+, tail \w+; \d+ entries, 0 lost, 0 restarts"
    shell.expect("ppr", "PPR " + log[4:], "event " + log[4:])


def in_order(wanted, steps):
    """Do steps contain the wanted ones, in this order?"""
    steps = iter(steps)
    return all(any(w == s for s in steps) for w in wanted)


def cached(shell, domain, va, yes):
    """Does the list of what may be cached have the page, with the right number of lines?"""
    *lines, last = shell.ask("iotlb")
    check(last == f"{len(lines)} entries may be cached", f"{lines} {last}")
    found = [l for l in lines if re.match(rf"domain {domain}: {va:#x} -> frame 0x[0-9a-f]+ rw-$", l)]
    check(len(found) == yes, f"{va:#x} in {lines}: wanted {yes}")


def fork_and_write(shell, mm):
    """After a fork the parent's device writes to the parent's page only."""
    va = VA + PAGE
    shell.expect(f"dma lsi0 write {va:#x} 3", f"lsi0 asks for {va:#x} to write: mapped")
    child, = shell.expect(f"fork {mm}", r"mm (\d+)")
    shell.expect(f"dma lsi0 write {va:#x} 4", f"lsi0 asks for {va:#x} to write: mapped")
    shell.expect(f"read {mm} {va:#x}", "0x4")
    shell.expect(f"read {child} {va:#x}", "0x3")
    return child


def two_devices(shell):
    """Two devices in one address space, and what is refused."""
    mm, = shell.expect("new", r"mm (\d+)")
    shell.expect(f"dma lsi0 read {VA:#x}", "lsi0 is denied, it is not bound: bind lsi0 MM sva")
    shell.expect("unbind lsi0", "lsi0 is not bound: bind lsi0 MM sva")
    shell.expect(f"bind lsi0 {mm} sva")
    shell.expect(f"bind lsi1 {mm} mirror")
    shell.expect(f"dma lsi0 write {VA:#x} 5", ".* mapped")
    shell.expect(f"dma lsi1 read {VA:#x}", ".* mapped", "0x5")
    shell.expect(f"bind lsi0 {mm} mirror", f"lsi0 is bound to mm {mm}: unbind lsi0")
    shell.expect("run cow.*", "a device is bound, which tests would use: unbind it")
    for word in ("bind lsi9 1 sva", "dma lsi9 read 0x10000000", "unbind lsi9", "dte lsi9"):
        shell.expect(word, "there is no device lsi9: `device` lists them")
    shell.expect(f"bind edu {mm} sva", "edu has no programs in an address space: lsi0 and lsi1 do")
    for va in ("0x10000001", "0x100000000"):
        shell.expect(f"dma lsi0 read {va}", "VA is a multiple of 8, of at most 32 bits")
    shell.expect("unbind lsi0")
    shell.expect("unbind lsi1")
    shell.expect("bind lsi0 999 sva", "there is no mm 999")
    shell.expect(f"drop {mm}")
    # The shell's end unbinds what is bound.
    mm, = shell.expect("new", r"mm (\d+)")
    shell.expect(f"bind lsi0 {mm} sva")
    shell.expect(f"drop {mm}")
    shell.expect("unbind lsi0")


WRONG = re.compile(r"usage: |unknown command|there is no|the shell|.* is not bound|.* refused")


def examples(shell, table):
    """`help NAME` has an example of each command, whose lines work."""
    for name in sorted(table - {"quit"}):
        lines = shell.ask(f"help {name}")
        check(lines[0].startswith(f"usage: {name} ") and lines[2] == "for example", str(lines))
        typed = [line.strip() for line in lines[3:]]
        check(any(line.split()[0] == name for line in typed), f"{name} is not in its example")
        type_example(shell, name, typed)
    shell.expect("help fokr", "unknown command `fokr`: did you mean `fork`[?]")


def type_example(shell, name, lines):
    """The example's address spaces are 1, 2, ..., and PFN is the frame that was shown last."""
    made, pfn = [], ""
    for line in lines:
        words = [made[int(w) - 1] if w in ("1", "2") and int(w) <= len(made) else w
                 for w in line.replace("PFN", pfn).split()]
        got = shell.ask(" ".join(words))
        check(words[0] == "help" or not any(WRONG.match(g) for g in got),
              f"help {name}: {words}: {got}")
        made += re.findall(r"^mm (\d+)$", "\n".join(got), re.M) if words[0] in ("new", "fork") else []
        pfn = next(iter(re.findall(r"^frame (0x\w+) ", "\n".join(got), re.M)), pfn)
    for device in {w.split()[1] for w in lines if w.startswith("bind")} - {
            w.split()[1] for w in lines if w.startswith("unbind")}:
        shell.expect(f"unbind {device}")
    for mm in made:
        shell.ask(f"drop {mm}")


def no_devices():
    """Without an IOMMU, and without devices, each command says so."""
    shell = Shell("DEVICES=-iommu")
    shell.ask("new")
    for line in ("device", "bind lsi0 1 sva", "iotlb", "dte lsi0", "ring", "ppr"):
        shell.expect(line, "this machine has no IOMMU: .*")
    shell.expect("dma lsi0 read 0x10000000", "lsi0 is denied, it is not bound: .*")
    shell.end(b"quit\n", 0)
    shell = Shell("DEVICES=iommu")
    shell.expect("device", "this machine has no device that does DMA")
    shell.expect("bind lsi0 1 sva", "there is no device lsi0: `device` lists them")
    shell.end(b"quit\n", 0)
