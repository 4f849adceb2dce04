/* SPDX-License-Identifier: MIT */
/*
 * scn_window.c - a device that walks a process's table, at each step of a change
 *
 *   start   clear   flush CPUs   range   set, or free   end
 *             a         b          c          d          e
 *
 * The cast (scn_cast.c) shows for each kind of listener what holds at a to e;
 * here a bus master tries it, in the middle of the step, with pt_lock held: old
 * page until c, nobody's page between c and d, never a page that is free.
 */
#include "arch/layout.h"
#include "mm/gather.h"
#include "mm/pt.h"
#include "mm/zap.h"
#include "tests/cast.h"
#include "tests/gate.h"
#include "tests/oracle_device.h"
#include "tests/stand_mm.h"

/* What the hooks of a test know, and count. */
static struct {
	struct stand *s;
	struct mm *mm;
	struct page *page; /* that goes; no reference of ours              */
	unsigned calls, bad;
} w;

/* Page 0 of a new mm holds 'A', and device 0 has cached it, to write. */
static struct mm *begin(struct stand *s, unsigned n)
{
	struct mm *mm = stand_mm(s, n);

	STAND_NEEDS(s, caches);
	stand_bind_sva(s, 0, mm);
	REQUIRE(!stand_store(s, 0, P(0), 'A'));
	w.s = s;
	w.mm = mm;
	w.page = page_at(mm, P(0));
	w.calls = w.bad = 0;
	page_put(w.page);
	return mm;
}

/* The step has come, of our mm. */
static bool ours(uint64_t mm, uint64_t va)
{
	if (mm != (uint64_t)w.mm || va != P(0))
		return false;
	w.calls++;
	return true;
}

/* ---- a page that goes --------------------------------------------------- */

static void write_before_flush(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va))
		return;
	stand_write(w.s, 0, P(0), 'B');
	w.bad += stand_word(w.page) != 'B' || !page_maps(w.page);
}

static void write_after_flush(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va) || w.calls > 2)
		return; /* the tables' flush: the page is free */
	stand_write(w.s, 0, P(0), 'X');
	w.bad += stand_word(w.page) != 'B' || !page_maps(w.page);
}

IOMMU_TEST(window, cleared_page_is_still_ours,
	   "a write between clear and flush lands in the old page, which is "
	   "not free; a later one lands nowhere (C2, B2)")
{
	struct mm *mm = begin(s, 1);
	uint64_t freed;

	hook("pte_clear", write_before_flush, NULL);
	hook("range_flushed", write_after_flush, NULL);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	unhook("pte_clear");
	unhook("range_flushed");

	EXPECT(w.calls >= 2);
	EXPECT_EQ(w.bad, 0);
	canary_release();
	EXPECT_EQ(page_count(w.page), 0);
	freed = stand_word(w.page);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(stand_word(w.page), freed);
}

/* ---- many pages that go ------------------------------------------------- */

#define MANY (3 * GATHER_PAGES + 8)

static struct page *many[MANY];

/* The device writes everywhere; what is free must not change. */
static void write_all(uint64_t mm, uint64_t va, void *unused)
{
	static uint64_t before[MANY];

	if (mm != (uint64_t)w.mm)
		return;
	w.calls++;
	for (unsigned i = 0; i < MANY; i++)
		before[i] = page_count(many[i]) ? 0 : stand_word(many[i]);
	for (unsigned i = 0; i < MANY; i++)
		stand_write(w.s, 0, P(i), 'X');
	for (unsigned i = 0; i < MANY; i++)
		w.bad += before[i] && stand_word(many[i]) != before[i];
}

IOMMU_TEST(window, batches_free_behind_the_flush,
	   "an unmap of several batches under a device that writes to all of "
	   "it: no page that is free is hit (C4, B18)")
{
	struct mm *mm = begin(s, MANY);

	for (unsigned i = 0; i < MANY; i++) {
		REQUIRE(!stand_store(s, 0, P(i), 'A'));
		many[i] = page_at(mm, P(i));
		page_put(many[i]);
	}
	hook("pte_clear", write_all, NULL);
	hook("range", write_all, NULL);
	hook("range_flushed", write_all, NULL);
	hook("range_end", write_all, NULL);
	EXPECT_EQ(mm_unmap(mm, P(0), P(MANY)), 0);
	unhook("pte_clear");
	unhook("range");
	unhook("range_flushed");
	unhook("range_end");

	write_all((uint64_t)mm, 0, NULL);
	EXPECT(w.calls >= 10);
	EXPECT_EQ(w.bad, 0);
}

/* ---- a page that is replaced -------------------------------------------- */

/* The copy is made: the old page may differ from now on. */
static void mark_old(uint64_t mm, uint64_t va, void *unused)
{
	if (ours(mm, va))
		stand_fill(w.page, 'O');
}

static void reaches_neither(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va))
		return;
	w.bad += stand_read(w.s, 0, P(0)) != BLOCKED;
	stand_write(w.s, 0, P(0), 'X');
	w.bad += stand_word(w.page) != 'O';
}

static void reaches_the_new(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va))
		return;
	/* On the model a hole is cached, and nobody is told of what fills it:
	 * who asks by a fault is. */
	w.bad += stand_read(w.s, 0, P(0)) != (w.s->model ? BLOCKED : 'A');
}

IOMMU_TEST(
	window, no_step_of_a_copy_shows_two_pages,
	"from the flush to the new entry a device reaches neither page, then "
	"the new one, before the CPU has written to it (C20, C21, B14)")
{
	struct mm *mm = begin(s, 1), *child = stand_fork(mm);

	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	hook("cow_copied", mark_old, NULL);
	hook("range_flushed", reaches_neither, NULL);
	hook("pte_set", reaches_the_new, NULL);
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	unhook("cow_copied");
	unhook("range_flushed");
	unhook("pte_set");

	EXPECT_EQ(w.calls, 3);
	EXPECT_EQ(w.bad, 0);
	EXPECT_EQ(stand_load(s, 0, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'O');
}

IOMMU_TEST(window, zero_page_is_read_and_never_written,
	   "a device that has read the zero page reads what is written later, "
	   "and writes nothing into it (C22)")
{
	struct mm *mm = begin(s, 2);

	EXPECT_EQ(rd(mm, P(1)), 0);
	stand_load(s, 0, P(1));
	stand_write(s, 0, P(1), 'X');
	EXPECT_EQ(*(uint64_t *)page_va(zero_page), 0);
	EXPECT_EQ(wr(mm, P(1), 'B'), 0);

	EXPECT_EQ(stand_load(s, 0, P(1)), 'B');
	stand_write(s, 0, P(1), 'C');
	EXPECT_EQ(rd(mm, P(1)), 'C');
	EXPECT_EQ(*(uint64_t *)page_va(zero_page), 0);
}

IOMMU_TEST(window, last_owner_writes_in_place,
	   "a page whose other owner has left is not copied, and a device that "
	   "has cached it read-only writes to it without a fault (C30, H18)")
{
	struct mm *mm = begin(s, 1);

	stand_exit(stand_fork(mm));
	EXPECT_EQ(stand_load(s, 0, P(0)), 'A');
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);

	stand_write(s, 0, P(0), 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(stand_word(w.page), 'C');
}

/* ---- a page that moves -------------------------------------------------- */

/* Nothing but the family's lock is needed for it, and that is dropped. */
static void evict_moved(uint64_t mm, uint64_t va, void *unused)
{
	if (mm != (uint64_t)w.mm || w.calls++)
		return;
	w.bad += try_to_unmap(w.page) != 0;
	stand_fill(w.page, 'N');
	w.bad += stand_read(w.s, 0, P(0)) != BLOCKED;
	stand_write(w.s, 0, P(0), 'X');
	w.bad += stand_word(w.page) != 'N';
}

IOMMU_TEST(window, moved_page_is_gone_before_it_can_be_freed,
	   "a move under a writing device: as soon as others can take the page "
	   "by its new address, the old one is dead (C28, H36, B19)")
{
	struct mm *mm = begin(s, 1);
	struct page *page = page_at(mm, P(0));
	va_t at;

	hook("range_end", evict_moved, NULL);
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
	unhook("range_end");

	EXPECT(w.calls > 0);
	EXPECT_EQ(w.bad, 0);
	EXPECT_EQ(stand_load(s, 0, P(8)), 'N');
	page_put(page);
}

/* ---- tables ------------------------------------------------------------- */

/* The table of P(0), which we keep from being anybody's, becomes data: words
 * that a walker would take for leaves. */
static void becomes_data(struct page *table, struct page *canary)
{
	uint64_t *word = page_va(table);

	page_set_kind(table, PAGE_DMA);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		WRITE_ONCE(word[i], page_pa(canary) | entry_rights(RW, true));
}

static void tables_go(struct stand *s, bool announced)
{
	struct mm *mm = begin(s, 4);
	struct page *canary = stand_page(s, 'C'), *table;
	struct recorder r;

	REQUIRE(!stand_store(s, 0, P(3), 'A'));
	table = pt_table_page(pt_slot(&mm->pt, P(0), 0, false));
	page_get(table);
	record(&r, mm);
	if (announced) {
		EXPECT_EQ(mm_unmap(mm, P(0), P(4)), 0);
		EXPECT_HEARD(&r, "start unmap 0-4; range 0-4; range 0-4; "
				 "end 0-4");
	} else {
		oracles_forgive(); /* they want a window around each change */
		rw_write_lock(&mm->lock);
		zap_range(mm, P(0), P(4));
		rw_write_unlock(&mm->lock);
		EXPECT_HEARD(&r, "range 0-4; range 0-4");
	}
	EXPECT_EQ(page_refs(table), 1);
	becomes_data(table, canary);

	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(stand_read(s, 0, P(i)), BLOCKED);
		stand_write(s, 0, P(i), 'X');
	}
	EXPECT_EQ(stand_word(canary), 'C');
	EXPECT(!s->model ||
	       !model_names_table(s->model, page_pa(table), NULL, 0));
	page_put(table);
	record_end(&r);
}

IOMMU_TEST(window, freed_table_leads_nowhere,
	   "a table that goes with the last page of an unmap, and becomes data "
	   "full of entries, is walked by no device (C7, B3)")
{
	tables_go(s, true);
}

IOMMU_TEST(window, flush_comes_without_a_window_too,
	   "tables freed outside any start and end are flushed all the same, "
	   "and the device obeys (C8)")
{
	tables_go(s, false);
}

/* ---- two who fault ------------------------------------------------------ */

static void cpu_writes_first(void *mm)
{
	EXPECT_EQ(wr(mm, P(1), 'C'), 0);
}

/* The CPU's store to page 1 is stopped at the step, with a page of its own; the
 * device's comes, faults and lands; then the CPU's goes on. */
static void both_store(struct stand *s, struct mm *mm, const char *step)
{
	struct page *page;
	struct task cpu;
	struct gate g;

	gate_close(&g, step, mm);
	spawn(&cpu, cpu_writes_first, mm);
	gate_await(&g);
	EXPECT_EQ(stand_store(s, 0, P(1) + 8, 'D'), 0);
	page = page_at(mm, P(1));
	gate_open(&g);
	join(&cpu);

	EXPECT_EQ(rd(mm, P(1)), 'C');
	EXPECT_EQ(rd(mm, P(1) + 8), 'D');
	EXPECT_EQ(stand_word(page), 'C'); /* no other has come since */
	page_put(page);
}

IOMMU_TEST(window, cpu_and_device_fault_one_page,
	   "a CPU and a device that fault one page together get one page, and "
	   "both stores are in it, whether it was absent, zero or parked (B44, "
	   "C73, H47)")
{
	struct mm *mm = begin(s, 2);
	struct page *page;

	both_store(s, mm, "fault_fresh");
	change(mm, 1, 2);
	EXPECT_EQ(rd(mm, P(1)), 0);
	both_store(s, mm, "range_started");
	page = page_at(mm, P(1));
	for (unsigned i = 1; i < 4; i++) { /* under pt_lock: no step */
		EXPECT_EQ(try_to_unmap(page), 0);
		EXPECT_EQ(stand_store(s, 0, P(1) + 8 * (i & 1), i), 0);
		EXPECT_EQ(wr(mm, P(1) + 8 * !(i & 1), i), 0);
		EXPECT_EQ(rd(mm, P(1)), i);
		EXPECT_EQ(rd(mm, P(1) + 8), i);
	}
	page_put(page);
}

/* ---- where and whose ---------------------------------------------------- */

IOMMU_TEST(window, edges_of_an_address_space,
	   "in a process a device finds nothing at 0, in holes, behind the end "
	   "and in the kernel's half, and half of what crosses an edge (C123, "
	   "B35)")
{
	struct mm *mm = begin(s, 2);
	/* QEMU's chips say 32 bits: of these they send the lower half. */
	const va_t nowhere[] = { 0,
				 PAGE_SIZE,
				 P(0) - 8,
				 P(2),
				 P(512),
				 UINT64_C(0xfffff000),
				 USER_END - 8,
				 USER_END,
				 (va_t)page_va(w.page),
				 KERNEL_BASE,
				 UINT64_MAX - 7 };

	REQUIRE(!stand_store(s, 0, P(1), 'B'));
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		if (!s->model && nowhere[i] >> 32)
			continue;
		EXPECT_EQ(stand_load(s, 0, nowhere[i]), BLOCKED);
		EXPECT(stand_store(s, 0, nowhere[i], 'X') < 0);
		stand_write(s, 0, nowhere[i], 'X');
	}
	stand_write(s, 0, P(2) - 4, ~UINT64_C(0));

	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(2) - 8), UINT64_C(0xffffffff) << 32);
	EXPECT_EQ(stand_read(s, 0, P(2) - 4) >> 32, 0);
	EXPECT_EQ(rd(mm, P(2)), BAD);
}

IOMMU_TEST(window, every_device_of_a_process_forgets,
	   "two devices in a process lose a page together; what a device has "
	   "cached of another process stays (C125)")
{
	struct mm *mm = begin(s, 2), *other = stand_mm(s, 1);
	struct page *page;

	stand_bind_sva(s, 1, mm);
	EXPECT_EQ(stand_load(s, 1, P(0)), 'A');
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(stand_read(s, i, P(0)), BLOCKED);

	stand_unbind(s, 1);
	stand_bind_sva(s, 1, other);
	REQUIRE(!stand_store(s, 1, P(0), 'O'));
	page = page_at(other, P(0));
	REQUIRE(!stand_store(s, 0, P(1), 'B'));
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT(!s->model || stand_names(s, page));
	EXPECT_EQ(stand_read(s, 1, P(0)), 'O');
	EXPECT_EQ(stand_read(s, 0, P(1)), BLOCKED);
	page_put(page);
}
