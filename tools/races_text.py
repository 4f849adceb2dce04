# SPDX-License-Identifier: MIT
"""The texts of docs/races.md; tools/races puts in what a run prints."""

HEAD = """# Races: what breaks when another MMU is notified late

<!-- Made by `tools/races`, which runs them: edit its text in tools/races_text.py. -->

This page shows twenty-eight races between the CPU's page table and a device that holds copies of its entries, and
[seven](#14-a-guest-that-is-not-kicked) between it and a guest that does. Each race is an
experiment that is run in two orders with the same steps. The **wrong** order ends with wrong data: its test passes only if a page
holds, or a device reads, bytes that it must not. The **right** order ends with the right data. mm does the same in both orders; the
difference is the client of the notifier chain, which in the wrong order flushes in the wrong callback
([race.h](../tests/race/race.h)); in races 23, 25 and 31 it is a fault or a split, which the test makes step by step in the wrong order. Where the device walks the process's own tables the right client is the kernel's,
[sva.h](../iommu/sva/sva.h). The device is QEMU's LSI behind QEMU's IOMMU; every experiment runs on the strict model of the IOMMU
too, where commands complete late.

The orders are deterministic. Hooks and sync points at probes ([sync_point.h](../tests/fixture/mm/sync_point.h)) run one step in the
middle of another, each thread has a CPU of its own, and the tables below print what the probes recorded: a row for each step, a
column for each thread (T is the test's own thread), device, and the IOMMU. A and B are pages of process P. "page 1" is the frame
that A maps at first. A page holds 10 at the beginning; 77 is what a page's next owner has written; 66 is what the device writes
after its right to write has ended. The tables were the same with 2 CPUs and 4, in parallel and under icount, with the tests
shuffled, and on QEMU 7.2.22 and 10.0.2.

To see them: `make run T='race.*' SMP=4 APPEND=explain`, the menu's *Race gallery*, or `run race.* explain` in the shell. A test that
fails prints its table, too.

{contents}
"""

# (number, title, what breaks and its source, wrong test, text, right test, text, mutants)
RACES = [
    ("1", "Flushed only in start",
     """What breaks: a device writes to a page that belongs to another process. `invalidate_range_start()` is called "when all pages
are still mapped", and a hardware TLB "can't make sure that no new TLB entries in the given range are established between" start and
end (mmu_notifier: Add mmu_notifier_invalidate_range(), 2014).""",
     "flush_in_start_is_too_early",
     "The client flushes in start ({invalidate_range_start A}). The device reads A ({DMA read A = 10:2}) before the entry is cleared ({clear PTE A}), which caches the entry again. No later flush removes it, and the device writes to a page of another process.",
     "flush_comes_after_the_clear",
     "The client flushes in `invalidate_range()`, under the page-table lock ({INVALIDATE_IOMMU_PAGES}): after the clear and before the free. The entry that was cached in between is gone.",
     "race-sva-no-flush"),
    ("2", "Flushed only in end",
     """What breaks: a device writes to a page after it was freed. `invalidate_range_end()` is called "when all pages are unmapped and
potentially freed" (the same).""",
     "flush_in_end_is_too_late",
     "Between the free ({free page 1}) and the flush in end ({INVALIDATE_IOMMU_PAGES}) the page has a new owner, and the device still writes to it.",
     "flush_comes_before_the_free",
     "The flush ({INVALIDATE_IOMMU_PAGES}) comes before the free ({free page 1}).",
     "race-sva-no-flush"),
    ("3", "The empty table",
     """What breaks: a device that did nothing wrong enters its failure state. Before 2014 AMD IOMMUv2 gave the device an empty table
between start and end: "every page-table walk [...] will cause a page-fault", the handler "just reports back SUCCESS to the device and
let it refault", and the device "after a certain number of faults for the same address [...] enters a failure state" (the same).
`race.empty_table_faults_everywhere` counts the faults: in 16 operations on one of four pages, with the device reading all four in the
middle of each, 64 with the empty table and 0 with invalidate_range.""",
     "empty_table_ends_in_failure_state",
     "B is discarded, and the device reads A, which does not change. Each fault is answered SUCCESS although nothing was mapped; at its limit, 4 here, the device stops for good ({FAILURE STATE}).",
     "no_fault_outside_the_change",
     "With `invalidate_range()` the device reads A without a fault while the invalidation is open. B, which was changed, costs one fault.",
     "race-table-not-empty, race-served-in-vain"),
    ("4", "Two addresses",
     """What breaks: the order of two writes. T2 writes A; T3 reads that and then writes B. So a reader that has the new B must get the new
A. The wrong client does nothing in `invalidate_range`: it flushes in `invalidate_range_end`, which would come after the last row. The figure
of mmu_notifier.rst has these four CPU threads and two device threads, and says: "the device see the new value for addrB before seeing the
new value for addrA. This break total memory ordering for the device." The strict model runs the figure unchanged
(`race.new_b_before_new_a.model`). QEMU's IOMMU drops a whole domain for any flush, so a flush for B would drop the stale translation of A
too: on QEMU device 1 has not read B before, and T1 does not reach its end before both devices have read.
`race.both_devices_agree_at_every_step` lets both devices read at each of twelve steps of both copies.""",
     "new_b_before_new_a",
     "T2 writes A; T3 reads that, then writes B. Device 1 reads the new B, and after that device 0 reads the old A.",
     "new_b_after_new_a",
     "The old translation of A is flushed ({INVALIDATE_IOMMU_PAGES d0 A}) before the new entry is set ({set PTE A}): a device that has read the new B reads the new A.",
     "race-copy-no-flush, race-sva-no-flush"),
    ("5", "set_pte_at_notify",
     """What breaks: the CPU and a device read different values at one address. "The process will access on the new page, but the
secondary MMU still access on the old page, the memory is inconsistent between them" (set_pte_at_notify, 2012): the CPU's entry was set
first. The device has a table of its own here, and its client has only the callback `change_pte()`, which KSM called outside of any
invalidation.""",
     "cpu_entry_set_before_change_pte",
     "The client defers `change_pte()` to end. T1 writes 21 and reads it back; the device still reads 10.",
     "cpu_entry_set_after_change_pte",
     "The device's entry is changed inside `change_pte()`, before the CPU's entry is set.",
     "race-change-pte-after-set, race-change-pte-at-once"),
    ("6", "Range valid",
     """What breaks: a fault installs a page that was freed after the lookup. HMM's ranges had a flag `valid`, false from start to end.
"hmm_mirror's handling of ranges does not use a sequence count which results in this bug" (mm/hmm, 2019): a whole invalidation fits
between a lookup and the test of the flag. The kernel's own mirror uses a count and a sequence; `mirror.overtaken_fault_retries`
runs the same race on it.""",
     "valid_flag_misses_a_change",
     "T0 looks A up. T1's invalidation begins and ends, and T2 gets the page. The flag is set again, and T0 installs the page of T2's process.",
     "sequence_shows_every_change",
     "The same with the sequence of an interval notifier: T0 sees the change and looks A up again, and the device gets the page that A maps now.",
     "race-sequence-kept, race-retry-blind"),
    ("7a", "A page-table page",
     """What breaks: a device walks data as if they were page-table entries. The notifiers "only catch the moment when page mappings
are released, but not page-table pages. But this is necessary for managing external TLBs when the page-table is shared with the CPU"
(cover letter, 2014). QEMU's IOMMU caches no directories ([limits.md](limits.md)), so this runs on the model only; QEMU does cache the
root, and `race.freed_root_is_walked` (7b) runs on QEMU.""",
     "freed_table_is_walked",
     "The table of A and B is freed, and becomes a page of data. The flush removed the cached leaves but not the directories; for B the device walks into the data.",
     "freed_table_is_flushed",
     "One flush for the page and its table, with directories ({COMPLETION_WAIT}), comes before the free ({free page 1}).",
     "race-directories-kept, race-leaves-with-tables"),
    ("7b", "The root",
     """What breaks: a device of a process that has exited writes to the memory of another process. The root is the last page-table
page to be freed; `release()` is the last callback in which the device can be denied.""",
     "freed_root_is_walked",
     "The device is not denied when P exits. Q gets P's root page as its own root, and the device writes to Q's memory.",
     "freed_root_is_not_walked",
     "`release()` denies the device before anything of P is freed.",
     "race-exit-undenied"),
    ("8a", "Freed inside release",
     """What breaks: the walk of the notifier list follows freed memory. The walk "iterates over the list of mmu notifiers and don't
expect the release callback function to remove itself from the list" (mmu_notifier_call_srcu, 2014). Freed memory may hold anything;
here its next owner has a pointer in the same place.""",
     "notifier_freed_inside_release",
     "The first notifier frees itself. The walk follows the bytes of the next owner: a notifier that was never registered is called, the device's notifier is not, and the device still writes.",
     "notifier_freed_after_release",
     "The object is freed by `call_srcu()` and exists until the walk has ended; the device is denied.",
     "race-srcu-at-once, race-freed-unchanged"),
    ("8b", "Exit with a fault in flight",
     """What breaks: a fault maps a page of a process that has exited. "Currently we take a page_count pin on every page mapped by
sptes" (mmu-notifiers, 2008): without the pin, a fault that has looked a page up holds nothing when the process exits. The kernel's own
clients hold the process, or refuse: `race.exit_waits_for_a_lookup` (mirror.c, stopped at the same step) and
`race.exit_answers_every_fault` (both clients, two devices).""",
     "fault_installs_after_exit",
     "The driver has looked up A's page ({looks up}) when P exits; it installs the page ({installs}) when another process owns it.",
     "exit_denies_faults_in_flight",
     "Before it installs the page, the driver checks under the lock that `release()` takes whether P has exited, and answers INVALID.",
     "race-exit-unchecked, race-exit-checked"),
    ("9", "Protect",
     """What breaks: a device writes to memory after mprotect() has made it read-only. "If what happens on the primary MMU is a
protection downgrade (from writeable to wrprotect) the secondary MMU mappings will be invalidated" (2008).""",
     "device_writes_after_protect",
     "The client flushes only in start. The device caches the entry with its right to write again while the invalidation is open, and writes after mprotect has returned.",
     "protect_stops_device_writes",
     "The client flushes after the entry has changed. What the device wrote before that, 12, is kept.",
     "race-protect-no-flush"),
    ("10", "Evicted without a pin",
     """What breaks: a page changes after it was written to the disk. Pins mean that "the pages can't be swapped whenever they're
mapped by any spte"; with notifiers "100% reliable swapping" (2008). `race.pinned_page_is_not_evicted` shows a pin that keeps a page for
as long as the device likes. The test needs no swap store: `try_to_unmap()` replaces the mapping by an evicted entry, and the test reads at
once what would be written to the disk.""",
     "evicted_page_is_still_written",
     "Two devices cache the page again while the invalidation is open. The page is written to the disk, and then changed by the devices: the disk has the old bytes.",
     "evicted_page_is_not_reached",
     "A CPU and two devices use the page, none of them holds a pin, and the page is evicted at the first attempt.",
     "race-evict-no-flush, race-pins-ignored"),
    ("11", "Aging",
     """What breaks: a page that a device uses is evicted before one that is idle. "We also need to check the young bits on the
secondary pagetables" (clear_flush_young, 2008): a device's use does not set the CPU's accessed bit. Only the device uses A, and nothing
uses B; a reclaimer evicts the first page that looks idle. `mirror.page_used_by_the_device_only_is_young` shows the right order on the kernel's own
mirror.""",
     "device_use_is_not_seen",
     "The client has no `clear_flush_young()`: A looks idle ({A is idle}), and is evicted although the device uses it.",
     "device_use_is_young",
     "In `clear_flush_young()` the client removes its entry and reports that there was one; the device's next use is a fault, which stands in for an accessed bit. B is evicted.",
     "race-young-not-called, race-young-called"),
    ("12", "A late flush of a write-protect",
     """What breaks: a page changes after it was compared. "When changing a pte to write protect [...] it is fine to delay the
mmu_notifier_invalidate_range call to mmu_notifier_invalidate_range_end()" (mmu_notifier.rst). `race.write_protect_flush_may_be_late`
shows that this holds: what the device writes until end is in the page, and no write follows. But code that *relies* on the page's
content before end, as KSM does when it compares, relies on bytes that still change.""",
     "late_flush_breaks_a_comparison",
     "The page is compared between the unlock and end, and is equal; then the device writes to it.",
     "compared_page_does_not_change",
     "The flush is made under the page-table lock; a page that is compared after it does not change.",
     "race-protect-no-flush, race-end-is-right"),
    ("13", "Fork",
     """What breaks: a device's write in the parent appears in the child. Fork takes the right to write from the parent's entries, and
from then on both processes share the page. The flush may be delayed until fork returns, but not longer (race 12 says why).""",
     "fork_leaks_into_the_child",
     "12 and 13 are written before fork has returned, and both processes read them. 66 is written afterwards, in the parent, and the child reads it.",
     "fork_keeps_what_was_written",
     "Both processes read what was written before fork has returned, and the child reads nothing later. The device's next write sends a page request, which copies the page.",
     "race-fork-no-flush"),
    ("21", "A page that moves",
     """What breaks: a device's write is in a frame that is no longer the page, and no thread reads it. A migration copies the page, and then
maps the new frame; a flush in end is late enough only if the copy comes after it ([MIGRATE.md](../mm/rmap/MIGRATE.md)).""",
     "moved_page_loses_a_write",
     "The client flushes in start, and the device caches the entry again before the clear ({clear PTE A}). It still has the old frame when that has been copied ({page 1 is copied}), and its write ({DMA write A = 66}) is lost ({read A = 11}).",
     "moved_page_keeps_every_write",
     "No translation is left when the page is copied ({page 1 is copied}). The device's write ({DMA write A = 66}) reaches the new frame ({read A = 66}).",
     "race-move-no-flush, race-start-is-right"),
    ("22", "A page that goes to a device",
     """What breaks: a DMA engine writes to a frame that is free, or another process's, since its page has gone to the memory of a device
([HMM.md](../mm/hmm/HMM.md)). `migrate_vma_setup()` cleared the entries, and flushed after it had dropped the page-table lock (Linux 60bae7370896, 2022).""",
     "flush_before_the_copy_is_too_early",
     "The client flushes in start, and the engine caches the entry again before the clear ({clear PTE A}). Its write ({DMA write A = 66}) reaches the frame's next owner ({its owner reads 66}); the process reads what was copied ({read A = 11:2}).",
     "flush_under_the_lock_precedes_the_copy",
     "The flush comes before the lock is dropped, so before the copy ({page 1 is copied}) and the free. The frame's next owner reads what it wrote ({its owner reads 77}). The write is refused.",
     "race-collect-no-flush, race-start-is-right"),
    ("23", "A page of a device that two threads fault",
     """What breaks: a thread reads the memory of another process. The page is in the memory of a device, and two threads fault it. The first
found it in the entry and dropped the lock, without a reference; the second brought it back, and the device's page was freed (Linux
16ce101db85d, CVE-2022-3523).""",
     "fault_without_a_mark_reads_another_process",
     "T0 finds the page ({finds page 1 of the device}). T1's load brings it back ({read A = 10}), and a page of Q goes to the same place ({page 77 of process Q}). T0 copies that ({copies page 1}), and P reads 77, by a CPU and by a DMA engine.",
     "fault_with_a_mark_is_waited_for",
     "T0 has marked the page in the same hold of the lock, and has a reference. T1 waits without one; Q's page goes to another place ({page 77 of process Q}). Both read 10.",
     "race-device-no-reference, race-copy-not-mapped"),
    ("24", "A word that a device adds to",
     """What breaks: a CPU's store is undone. A device reads a word, adds, and writes it: two accesses. A mirror of the page gives it the right
to both, and gives the CPU the right to store in between ([HMM.md](../mm/hmm/HMM.md#a-frame-that-one-device-has-alone)).""",
     "addition_beside_a_store_loses_it",
     "77 is stored ({write A = 77}) after the device has read 10, and the device writes 11 over it ({DMA write A = 11}).",
     "addition_alone_loses_no_store",
     "`make_device_exclusive()` has taken the CPU's entry away ({clear PTE A}). The store faults, and waits in start ({invalidate_range_start A:2}) for the driver's lock, which is free after the device's write ({DMA write A = 11}).",
     "race-exclusive-not-told, race-adds-at-once"),
    ("25", "An exclusive page that goes during the fault",
     """What breaks: a process maps a frame that is another's. A fault on a device-exclusive entry has to wait for the device, without the
page-table lock; what it found before may be freed meanwhile (Linux 7c7b962938dd, 2023: the page had no reference).""",
     "fault_without_a_second_look_maps_a_freed_page",
     "T0 finds page 1 ({finds page 1}). T1 discards A, and page 1 has a new owner ({page 1 is allocated again}). T0 maps it ({maps page 1}), and P reads 77.",
     "fault_with_a_second_look_maps_nothing",
     "The fault reads the entry again under the lock, after start ({invalidate_range_start A:3}), and finds a hole: P reads 0.",
     "race-exclusive-blind, race-looks-again"),
    ("26", "A page that is swapped out",
     """What breaks: a device writes to a frame that is another owner's, and its write is not in the page that comes back. A swap-out writes the
page to the store and frees its frame; both are safe only after the flush of every MMU ([RECLAIM.md](../mm/swap/RECLAIM.md)).""",
     "swapped_page_is_still_written",
     "The client flushes in start, and the device caches the entry again before the clear ({clear PTE A}). It still has the frame when that is another's ({page 1 is allocated again}): its write ({DMA write A = 66}) is in the new owner's data ({its owner reads 66}), and not in the page ({read A = 11:2}).",
     "swapped_page_is_not_reached",
     "No translation is left when the page is stored ({page 1 is in the store}). The device's write is refused, and the frame's owner reads what it wrote ({its owner reads 77}).",
     "race-swap-no-flush, race-start-is-right"),
    ("27", "A batch whose flush is pending",
     """What breaks: a device reads what its process has discarded. Reclaim clears many entries and flushes once; Linux drops the page-table lock
in between, so that each later change has to look whether a flush is pending (`flush_tlb_batched_pending()`; mprotect did not: 3ea277194daa, 2017). Here the
lock is held from the first clear to the flush ([RECLAIM.md](../mm/swap/RECLAIM.md#one-flush-for-a-batch)).""",
     "discard_beside_a_pending_flush",
     "The client flushes the batch in end, after the unlock, and nothing else: so would a discard that finds nothing mapped and flushes nothing. The process writes 7 to a new page ({write A = 7}), and the device reads the old one ({DMA read A = 11}), and still writes to the frame of B ({DMA write B = 66}).",
     "discard_beside_a_batch",
     "The flush precedes the unlock, and so the discard: the device reads the new page ({DMA read A = 7}), and its write to B is refused.",
     "race-batch-no-flush, race-batch-in-time"),
    ("28", "Two threads that bring one page back",
     """What breaks: what a thread has written is lost. Two threads fault one swapped page. Each reads the slot into a frame of its own, and the
second maps its frame over the first (Linux 13ddaf26be32, CVE-2024-26759: two reads past the swap cache).""",
     "two_that_bring_a_page_back_lose_a_write",
     "T1 has read the slot ({reads the slot}). T0's store brings the page back and writes 11 ({write A = 11}); then T1 maps its own page ({maps page 2}), and 10 is read.",
     "two_that_bring_a_page_back_meet",
     "T1's frame is in the swap cache from before its read. T0 finds it there and waits; both map it, and the store ({write A = 11}) is kept.",
     "race-read-not-awaited, race-entry-looked-at"),
    ("29", "A collapse that copies before the flush",
     """What breaks: a device's write is in a frame that is no longer the page. A collapse copies 512 pages into a block of 2 MiB
([HUGE.md](../mm/huge/HUGE.md#collapse)); what reaches the old pages after the copy is lost. A flush in end comes after it.""",
     "collapse_before_the_flush_loses_a_write",
     "The pages are copied ({512 pages are copied}) while the device still has one of them. Its write is accepted ({DMA write A = 66}) and lost ({read A = 11}).",
     "collapse_after_the_flush_keeps_every_write",
     "The flush ({INVALIDATE_IOMMU_PAGES}) comes before the copy ({512 pages are copied}), in which the device is refused ({DMA read A}). It tries again, and its write ({DMA write A = 66}) is in the huge page.",
     "race-collapse-no-flush, race-end-is-right"),
    ("30", "A table that a collapse takes away",
     """What breaks: a device writes to another page of the process. A collapse replaces the entry that led to a table by a huge one; the table is
used for other pages then (Linux: khugepaged did not notify the secondary MMUs, 2022). As 7a this needs cached directories, and runs on the model only.""",
     "collapsed_table_is_walked",
     "The flush removes the leaves, but not the directory that leads to the table of A and B. For B the device walks it, where the entry of Z is now ({the table of A and B}), and its write ({DMA write B = 66}) is in Z ({read Z = 66}).",
     "collapsed_table_is_flushed",
     "The flush of 2 MiB names the directories too ({INVALIDATE_IOMMU_PAGES}). The write of B ({DMA write B = 66}) goes by the huge entry.",
     "race-collapse-no-flush, race-leaves-with-tables"),
    ("31", "A split that gives a right back",
     """What breaks: a process writes to its child's memory. A split makes 512 entries of one, and the entry may change until it is replaced: a
fork or a protect takes W from it, a CPU sets A and D. So it is read under the page-table lock, and replaced by a compare-and-swap. (A split that
loses D, or a right that the entry still has, makes no wrong data here: no copy in the store could be believed in the place of a block's frame, and
an access without a right is a fault. The mutants `huge-split-loses-d` and `huge-split-loses-w` are killed by a look at the entries.)""",
     "split_by_an_old_entry_gives_a_right_back",
     "T0 reads the entry ({finds the entry of 2 MiB}). T1 forks, which takes W from it. T0 splits by what it has read ({splits it}), and the device writes to the page that the child shares ({DMA write A = 66}).",
     "split_under_the_lock_keeps_the_right_away",
     "The split ({split 2 MiB at A}) reads the entry as the fork has left it, and the device's write is refused.",
     "race-split-loses-nothing, race-split-looks-again"),
    ("32", "A flush of 4 KiB for 2 MiB",
     """What breaks: a device writes to memory that is read-only, or freed. One entry is changed, and the flush is of one page: of the other 511 the
device keeps what it has cached. QEMU's IOMMU drops the whole domain at any flush, so this runs on the model only.""",
     "flush_of_one_page_leaves_the_others",
     "The client flushes the page at which the changed entry begins ({INVALIDATE_IOMMU_PAGES}); E lies behind it, and is written after mprotect ({DMA write E = 66}).",
     "flush_of_two_mib_takes_all_parts",
     "The flush is of the 2 MiB that the notifier names ({INVALIDATE_IOMMU_PAGES}).",
     "race-protect-flush-4k, race-first-is-all"),
    ("33", "An entry that is set before the old one is gone",
     """What breaks: two MMUs have two pages for one address. A migration or a replacement gives an entry another frame; if it stores the new
value over the old one, and flushes afterwards, a CPU may use the new frame while a device uses the old one ([B9](invariants.md#b9)).""",
     "entry_set_before_the_clear",
     "The process writes 12 to page 2 ({write A = 12}), and the device still reads page 1 ({DMA read A = 11}). Only the flush ends that ({invalidate_range A}).",
     "entry_set_after_the_clear",
     "Between the clear ({clear PTE A}) and the set ({set PTE A}) no MMU has a page; after it all have page 2.",
     "race-replace-no-flush, race-clears-first"),
]

# The same of a guest; last the form whose tables are shown, and without a right order of its own
# that of the number.
GUESTS = [
    ("14", "A guest that is not kicked",
     """What breaks: a guest reads and writes the memory of another process. A CPU in guest mode uses the translations that it has cached
until it leaves guest mode: the flush of a guest's MMU is the kick, an interrupt of all CPUs that are in guest mode for it, waited for
(Linux: `kvm_flush_remote_tlbs()`). The guest has a nested table of its own here: `invalidate_range_start()` empties its entry, and then kicks. "kick of 1 CPU": so many were interrupted.""",
     "without_a_kick_it_reads_the_next_owner",
     "The entry is cleared and the page freed, and no CPU is interrupted ({kick of no CPU}): the guest reads the word of the page's next owner ({read A = 77}).",
     "kick_ends_stale_translations",
     "The guest is kicked out of guest mode ({kick of 1 CPU}) before the page is freed ({free page 1}). Whenever it reads after that, it faults.",
     "guest-no-kick, guest-kick-of-nobody, guest-not-in-guest-mode", "own"),
    ("15", "A guest that is kicked before the clear",
     """What breaks: the same. The guest walks the process's own tables here, and is kicked when `invalidate_range_start()` is called: the
entry is still there.""",
     "kick_before_the_clear_is_too_early",
     "The guest is kicked in start ({kick of 1 CPU}), and reads A at once ({read A = 100:2}), which caches the entry again. After the clear ({clear PTE A}) nothing removes that.",
     "kick_ends_stale_translations",
     "The kick is `invalidate_range()` ({kick of 1 CPU}): after the clear ({clear PTE A}) and before the free ({free page 1}).",
     "guest-kick-first, guest-shared-no-kick", "shared"),
    ("16", "A guest that is kicked in end",
     """What breaks: the same, for as long as the invalidation is open.""",
     "kick_in_the_end_is_too_late",
     "Between the free ({free page 1}) and the kick that is made in end ({kick of 1 CPU}) the page has a new owner, whose word the guest reads ({read A = 77}). After it, it faults.",
     None, "14", "guest-kick-after-unlock", "own"),
    ("17", "One of two vCPUs",
     """What breaks: the same, on the CPU that was not interrupted. Two vCPUs of one guest are in guest mode on two CPUs, and both have read A.""",
     "kick_of_one_vcpu_is_not_enough",
     "One CPU is interrupted ({kick of 1 CPU}). The other vCPU reads the next owner's word ({read A = 77}).",
     "kick_reaches_every_vcpu",
     "Both are interrupted ({kick of 2 CPUs}), and both fault.",
     "guest-kick-of-one", "own"),
    ("18", "A nested fault in flight",
     """What breaks: the guest's table holds a page that belongs to another process, for good: no flush removes what is in the table. A nested
fault looks A up, and before it fills the entry a whole invalidation begins and ends. Race 6 of a device is the same; the sequence that tells
the fault is one code for both ([shadow.h](../mm/notifier/shadow.h)). It needs one CPU only.""",
     "fault_without_a_sequence_maps_a_freed_page",
     "The fault does not see that the sequence has moved ({sees no change}), fills the entry with the page that it has found, and the guest reads 77.",
     "fault_with_a_sequence_retries",
     "It sees that ({sees a change}), and looks A up again: a new page.",
     "guest-fault-blind", "own"),
    ("19", "A guest whose process has exited",
     """What breaks: a guest reads every page of another process, for ever, without any stale translation. nCR3 of a guest of this form is the
process's root, which is freed at the exit, and becomes the root of the next process.""",
     "without_release_it_reads_the_next_process",
     "As if `release()` did nothing: the guest is entered, and walks the root of another process ({read A = 77}).",
     "release_keeps_it_out_of_the_next_process",
     "`release()` ({release}) lets no vCPU enter any more, and kicks those that are in guest mode.",
     "guest-shared-no-release, guest-dead-not-set", "shared"),
    ("20", "Aging of what a guest uses",
     """What breaks: a page that a guest uses all the time is evicted as idle. Nested walks set A, but only a walk does: while the translation
is cached a cleared A stays 0 ([limits.md](limits.md#svm), `accessed_once`).""",
     "aging_without_a_kick_misses_a_use",
     "A is cleared without a kick ({kick of no CPU}). The guest reads the page, and the next aging finds it idle ({A is idle}).",
     "aging_with_a_kick_sees_every_use",
     "The guest is kicked when A is cleared ({kick of 1 CPU}); its next read walks the table, and the page is young ({A is young}).",
     "guest-ages-without-a-kick", "own"),
]

TAIL = """## Where each order is run

| | wrong order | on QEMU's device | on the model | right order | on QEMU's device | on the model |
|---|---|---|---|---|---|---|
{table}

"not here": QEMU's IOMMU does not cache what the race needs ([limits.md](limits.md)). [tests/README.md](../tests/README.md) says which
half of the faulting device (races 3 and 8b) is QEMU's and which is ours. Each right order has a mutant that breaks it, and each wrong
order a mutant that corrects it: `tools/mutants 'race-*'`.

| | wrong order | own nested table | the process's table | right order | own nested table | the process's table |
|---|---|---|---|---|---|---|
{guests}

Each right order of a guest is run 20 times in a run of the suite, and 1,000 times with `APPEND=stress=50`, as `make test-full` does: 0 of
1,000 went wrong.
"""
