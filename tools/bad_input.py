# SPDX-License-Identifier: MIT
"""Cases of make test: wrong settings, machines that lack something, wrong firmware tables.

case(name, command, status, says) is that of tools/test."""
import os
import stat
import tempfile

from cases import case_of_its_own


@case_of_its_own
def qemus_that_misbehave(case):
    with tempfile.TemporaryDirectory() as folder:
        old = os.path.join(folder, "qemu")
        with open(old, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho QEMU emulator version 4.2.1\n")
        os.chmod(old, os.stat(old).st_mode | stat.S_IXUSR)
        case("too old QEMU", f"make -s run QEMU={old}", 2, "too old")
        for name, body, says in (("dies", "echo KTAP version 1; exit 1", "could not run"),
                                 ("resets", "exit 0", "triple fault"),
                                 ("hangs", "exec sleep 30", "silent for 2 s")):
            with open(old, "w", encoding="ascii") as f:
                f.write("#!/bin/sh\ncase $* in --version) echo QEMU version 7.2;; *,help) ;; "
                        f"*) {body};; esac\n")
            case(f"a QEMU that {name} is a failure", f"tools/run QEMU={old} SILENCE=2", 1, says)


def bad_input(case):
    case("unknown value", "make -s run MODE=icont", 2, "did you mean MODE=icount")
    case("unknown number of CPUs", "make -s run SMP=9", 2, "did you mean SMP=8")
    case("no such setting", "make -s run SPM=4", 2, "did you mean `SMP`")
    case("no such configuration", "make -s all RELEASE=2", 2, "RELEASE=2 is not one of 0 1")
    case("no such compiler", "make -s all CC=gcx", 2, "CC=gcx: there is no such compiler")
    case("no size", "make -s run MEM=lots", 2, "write MEM=512M")
    case("a size of nothing", "make -s run MEM=0M", 2, "write MEM=512M")
    case("unknown test", "make -s run T=page.copy_is_hole", 2,
         ["did you mean `page.copy_is_whole`", "Error 39"])
    case("a word too long for the command line", f"make -s run T={'x' * 260}", 2,
         ["at most 255 characters", "Error 39"])
    case("globs that match no test", "make -s run T='cow.*,-cow.*'", 2,
         ["leaves no test to run", "Error 39"])
    case("unknown lie=", "make -s run APPEND=lie=mcgf", 2, "did you mean `lie=mcfg`")
    case("a failed allocation fails the test, not the kernel",
         "make -s run T=fault.store_is_read_back APPEND=fail=alloc:nth=1", 2,
         ["0 passed, 1 failed", "Error 35"])
    case("a suite without its star", "make -s run T=cow", 2, ["did you mean `cow.*`", "Error 39"])
    case("quotes in a setting", "make -s run T=\"a'b\"", 2, ["no test matches `a'b`", "Error 39"])
    case("unknown word", "make -s run APPEND=shufle", 2, ["did you mean `shuffle`", "Error 39"])
    case("a part of a stress run, wrongly specified",
         "make -s run T='stress.*' APPEND=ops=0:9-3", 2, "ascending")
    case("an order of exploration, badly written", "make -s run T='explore.*' APPEND=sched=3", 2,
         ["wants choice:alternative", "Error 39"])
    case("more preemptions than are explored", "make -s run T='explore.*' APPEND=explore=5", 2,
         ["from 0 to 4", "Error 39"])
    case("too long a stress", "make -s stress STRESS=99999", 2,
         ["`stress=99999` wants a decimal number from 1 to 1200", "Error 39"])
    case("a stress run that passes", "make -s stress-shrink T=stress.mm_against_model", 2,
         "nothing to shrink")
    case("no such suite", "tools/qemu-backport Trixie", 1, "is no suite of Debian")
    case("no QEMU", "make -s run QEMU=/nonexistent/qemu", 2, "make doctor")
    qemus_that_misbehave(case)
    case("the shell runs no test by itself", "make -s run T='page.*' APPEND=shell", 2,
         "type `run page.*`")
    for size in ("1M", "2M"):
        case(f"MEM={size}", f"make -s run MEM={size}", 2, ["needs 64 MiB", "Error 1"])
    case("16 MiB of memory", "make -s run MEM=16M", 2, ["needs 64 MiB", "Error 41"])
    case("a fixed pool larger than memory", "make -s run T='page.*' APPEND=hugepages=1000000", 0,
         ["hugepages=1000000: memory has only", "0 failed"])
    case("a wrong memory map", "make -s run APPEND=lie=map", 2, ["wraps around", "Error 41"])
    case("a MADT with a bad checksum", "make -s run SMP=4 T='page.*' APPEND=lie=madt", 0,
         "bad checksum: only this CPU")
    case("an MCFG with a bad checksum", "make -s run T='pci.*' APPEND=lie=mcfg", 0,
         "bad checksum: PCI by ports")
    case("an MCFG that points elsewhere", "make -s run T='pci.*' APPEND=lie=window", 0,
         "does not show the bus: by ports")
    case("unknown device", "make -s run DEVICES=-edo", 2, "did you mean `edu`")
    case("a disk that is kept", "rm -f build/disk; make -s run DISK=build/disk T='ivshmem.*' && "
         "grep -a -o 'visavis wrote this by DMA' build/disk", 0, "visavis wrote this by DMA")
    case("no devices", "make -s run DEVICES=none "
         "T='pci.*,msi.*,dma.*,lsi.*,edu.*,ivshmem.*'", 0,
         "SKIP no edu on this machine's bus 0")
    without = ["map_makes_reachable.qemu # SKIP this machine has no IOMMU",
               "ok 2 map_makes_reachable.model", "ok 1 dma", " 0 failed, "]
    for name, word, says in (
            ("an IVRS with a bad checksum", "APPEND=lie=ivrs", "ACPI table has a bad checksum"),
            ("an IVRS block beyond the table", "APPEND=lie=ivhd", "block runs out of the table"),
            ("IOMMU registers in RAM", "APPEND=lie=mmio", "would be in RAM"),
            ("no IOMMU", "DEVICES=-iommu", "the ACPI root table lists no table `IVRS`")):
        case(f"{name}: said, its tests skipped, the rest green",
             f"make -s run T='reach.m*,dma.*' {word}", 0, ["# no IOMMU: ", says, *without])
    case("no IOMMU: nothing is probed", "make -s run DEVICES=-iommu T='quirks.*'", 0,
         "not probed: no IOMMU on this machine")
    case("no nested paging: nothing of SVM is probed, and its tests say so",
         "make -s run CPU=qemu64 SMP=2 APPEND=quirks T='svm_quirks.*,guest.aging*,page.*'", 0,
         ["# svm: not probed: no SVM with nested paging", "SKIP needs SVM with nested paging",
          " 0 failed"])
    case("an IOMMU that remaps no interrupts: said, its tests skipped",
         "make -s run T='interrupts.*,edu.*' EXTRA='-global amd-iommu.intremap=off'", 0,
         ["names no IOAPIC: interrupts are not remapped", "SKIP the ACPI IVRS names no IOAPIC"])
    case("no LSI: nothing is probed", "make -s run DEVICES=-lsi0,-lsi1 T='quirks.*'", 0,
         "not probed: no lsi0 on this machine's bus 0")
    case("an IOMMU that translates nothing", "make -s run APPEND=lie=passes T='page.*'", 2,
         ["the IOMMU translates nothing: start QEMU with -device amd-iommu,", "Error 41"])
    for mode in ("icount", "mttcg"):
        case(f"firmware that leaves bus masters running: refused at every phase, {mode}",
             f"make -s run SMP=4 T='phases.*' MODE={mode} APPEND=lie=master", 0,
             ["lsi tried at 8 phases, and reached", "e1000 tried at 8 phases, and reached",
              "write at 8 phases, and reached nothing", " 0 failed, "])
    case("an RSDP with a bad checksum", "make -s run SMP=4 T='page.*' APPEND=lie=rsdp", 0,
         "RSDP has a bad checksum")
    case("1 CPU where a test asks for 4", "make -s run SMP=1 T='smp.*'", 0, "SKIP needs")
