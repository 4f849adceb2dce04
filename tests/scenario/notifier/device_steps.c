/* SPDX-License-Identifier: MIT */
/*
 * device_steps.c - a device that walks a process's table, at each step of a change
 *
 *   start   clear   flush CPUs   range   set, or free   end
 *             a         b          c          d          e
 *
 * tests/scenario/notifier/fakes.c checks for each kind of fake MMU what holds at a
 * to e.  Here a bus master accesses memory in the middle of the step, with pt_lock
 * held: it reaches the old page until c, no page between c and d, and never a page
 * that is free.
 */
#include "arch/layout.h"
#include "mm/pt/pt.h"
#include "mm/space/gather.h"
#include "mm/space/zap.h"
#include "tests/checker/device_checker.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* What the hooks of a test use and count. */
static struct {
	struct iommu_fixture *s;
	struct mm *mm;
	struct page *page; /* that goes; no reference of ours              */
	unsigned calls, bad;
} w;

/* Create an mm whose page 0 holds 'A', and let device 0 cache it to write. */
static struct mm *begin(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	FIXTURE_NEEDS(s, caches);
	fixture_bind_sva(s, 0, mm);
	REQUIRE(!fixture_store(s, 0, P(0), 'A'));
	w.s = s;
	w.mm = mm;
	w.page = page_at(mm, P(0));
	w.calls = w.bad = 0;
	page_put(w.page);
	return mm;
}

/* Return whether the step is one of the test's mm and page. */
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
	fixture_write(w.s, 0, P(0), 'B');
	w.bad += fixture_word(w.page) != 'B' || !page_maps(w.page);
}

static void write_after_flush(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va) || w.calls > 2)
		return; /* the tables' flush: the page is free */
	fixture_write(w.s, 0, P(0), 'X');
	w.bad += fixture_word(w.page) != 'B' || !page_maps(w.page);
}

IOMMU_TEST(device_steps, write_before_the_flush_hits_the_old_page,
	   "a device's write between clear and flush goes to the old page, "
	   "which is not free, and a later write reaches nothing (C2, B2)")
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
	fixture_refused(s, 0);
	freed = fixture_word(w.page);
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(fixture_word(w.page), freed);
}

/* ---- many pages that go ------------------------------------------------- */

#define MANY (3 * GATHER_PAGES + 8)

static struct page *many[MANY];

/* Let the device write to all pages; a free page must not change. */
static void write_all(uint64_t mm, uint64_t va, void *unused)
{
	static uint64_t before[MANY];

	if (mm != (uint64_t)w.mm)
		return;
	w.calls++;
	for (unsigned i = 0; i < MANY; i++)
		before[i] = page_count(many[i]) ? 0 : fixture_word(many[i]);
	for (unsigned i = 0; i < MANY; i++)
		fixture_write(w.s, 0, P(i), 'X');
	for (unsigned i = 0; i < MANY; i++)
		w.bad += before[i] && fixture_word(many[i]) != before[i];
}

IOMMU_TEST(device_steps, batches_are_freed_after_the_flush,
	   "an unmap of several batches under a device that writes to all "
	   "pages lets it write to no free page (C4, B18)")
{
	struct mm *mm = begin(s, MANY);

	for (unsigned i = 0; i < MANY; i++) {
		REQUIRE(!fixture_store(s, 0, P(i), 'A'));
		many[i] = page_at(mm, P(i));
		page_put(many[i]);
	}
	fixture_refused(s, 0);
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

/* Mark the old page after the copy: from now on the two differ. */
static void mark_old(uint64_t mm, uint64_t va, void *unused)
{
	if (ours(mm, va))
		fixture_fill(w.page, 'O');
}

static void reaches_neither(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va))
		return;
	w.bad += fixture_read(w.s, 0, P(0)) != BLOCKED;
	fixture_write(w.s, 0, P(0), 'X');
	w.bad += fixture_word(w.page) != 'O';
}

static void reaches_the_new(uint64_t mm, uint64_t va, void *unused)
{
	if (!ours(mm, va))
		return;
	/* The model caches the non-present entry, and setting an entry notifies
	 * no client; a device that faults is flushed. */
	w.bad += fixture_read(w.s, 0, P(0)) != (w.s->model ? BLOCKED : 'A');
}

IOMMU_TEST(device_steps, no_step_of_a_copy_shows_two_pages,
	   "from the flush to the new entry a device reaches neither page, "
	   "then the new one, before the CPU has written to it (C20, C21, B14)")
{
	struct mm *mm = begin(s, 1), *child = fixture_fork(mm);

	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	hook("cow_copied", mark_old, NULL);
	hook("range_flushed", reaches_neither, NULL);
	hook("pte_set", reaches_the_new, NULL);
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	unhook("cow_copied");
	unhook("range_flushed");
	unhook("pte_set");

	EXPECT_EQ(w.calls, 3);
	EXPECT_EQ(w.bad, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'B');
	EXPECT_EQ(rd(child, P(0)), 'O');
}

IOMMU_TEST(device_steps, zero_page_is_read_and_never_written,
	   "a device that has read the zero page reads what is written later, "
	   "and never writes to the zero page (C22)")
{
	struct mm *mm = begin(s, 2);

	fixture_may_be_refused(s, 0); /* what it reads is 0 */
	EXPECT_EQ(rd(mm, P(1)), 0);
	fixture_load(s, 0, P(1));
	fixture_write(s, 0, P(1), 'X');
	EXPECT_EQ(*(uint64_t *)page_va(zero_page), 0);
	EXPECT_EQ(wr(mm, P(1), 'B'), 0);

	EXPECT_EQ(fixture_load(s, 0, P(1)), 'B');
	fixture_write(s, 0, P(1), 'C');
	EXPECT_EQ(rd(mm, P(1)), 'C');
	EXPECT_EQ(*(uint64_t *)page_va(zero_page), 0);
}

IOMMU_TEST(
	device_steps, last_owner_writes_in_place,
	"a page whose other owner has exited is not copied, and a device that "
	"has cached it read-only writes to it without a fault (C30, H18)")
{
	struct mm *mm = begin(s, 1);

	fixture_exit(fixture_fork(mm));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);

	fixture_write(s, 0, P(0), 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(fixture_word(w.page), 'C');
}

/* ---- a page that moves -------------------------------------------------- */

/* An eviction needs only the lock of the anon_vma root, which is dropped. */
static void evict_moved(uint64_t mm, uint64_t va, void *unused)
{
	if (mm != (uint64_t)w.mm || w.calls++)
		return;
	w.bad += try_to_unmap(w.page) != 0;
	fixture_fill(w.page, 'N');
	w.bad += fixture_read(w.s, 0, P(0)) != BLOCKED;
	fixture_write(w.s, 0, P(0), 'X');
	w.bad += fixture_word(w.page) != 'N';
}

IOMMU_TEST(device_steps, moved_page_is_gone_before_it_can_be_freed,
	   "a device that writes during a move cannot reach the old address "
	   "when the page can be freed by its new one (C28, H36, B19)")
{
	struct mm *mm = begin(s, 1);
	struct page *page = page_at(mm, P(0));
	va_t at;

	hook("range_end", evict_moved, NULL);
	EXPECT_EQ(mm_remap(mm, P(0), PAGE_SIZE, P(8), PAGE_SIZE, &at), 0);
	unhook("range_end");

	EXPECT(w.calls > 0);
	EXPECT_EQ(w.bad, 0);
	EXPECT_EQ(fixture_load(s, 0, P(8)), 'N');
	page_put(page);
}

/* ---- tables ------------------------------------------------------------- */

/* Fill the table of P(0), on which the test holds a reference, with data that
 * look like leaf entries. */
static void becomes_data(struct page *table, struct page *canary)
{
	uint64_t *word = page_va(table);

	page_set_kind(table, PAGE_DMA);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		WRITE_ONCE(word[i], page_pa(canary) | entry_rights(RW, true));
}

static void tables_go(struct iommu_fixture *s, bool announced)
{
	struct mm *mm = begin(s, 4);
	struct page *canary = fixture_page(s, 'C'), *table;
	struct recorder r;

	REQUIRE(!fixture_store(s, 0, P(3), 'A'));
	table = pt_table_page(pt_slot(&mm->pt, P(0), 0, false));
	page_get(table);
	record(&r, mm);
	if (announced) {
		EXPECT_EQ(mm_unmap(mm, P(0), P(4)), 0);
		EXPECT_RECORDED(&r, "start unmap 0-4; range 0-4; end 0-4");
	} else {
		device_checkers_allow_errors(); /* each change needs an invalidation */
		rw_write_lock(&mm->lock);
		zap_range(mm, P(0), P(4));
		rw_write_unlock(&mm->lock);
		EXPECT_RECORDED(&r, "range 0-4");
	}
	EXPECT_EQ(page_refs(table), 1);
	becomes_data(table, canary);

	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(fixture_read(s, 0, P(i)), BLOCKED);
		fixture_write(s, 0, P(i), 'X');
	}
	EXPECT_EQ(fixture_word(canary), 'C');
	EXPECT(!s->model ||
	       !model_names_table(s->model, page_pa(table), NULL, 0));
	page_put(table);
	record_end(&r);
}

IOMMU_TEST(device_steps, freed_table_is_never_walked,
	   "a page-table page that is freed with the last page of an unmap, "
	   "and then holds data that look like entries, is walked by no device "
	   "(C7, B3)")
{
	tables_go(s, true);
}

IOMMU_TEST(device_steps, flush_outside_an_invalidation_reaches_devices,
	   "page-table pages that are freed outside of any invalidation are "
	   "flushed, and the device does not walk them (C8)")
{
	tables_go(s, false);
}

/* ---- a CPU and a device fault ------------------------------------------- */

static void cpu_writes_first(void *mm)
{
	EXPECT_EQ(wr(mm, P(1), 'C'), 0);
}

/* Stop the CPU's store to page 1 at the step, with a page allocated; let the
 * device's store fault and complete; then let the CPU continue. */
static void both_store(struct iommu_fixture *s, struct mm *mm, const char *step)
{
	struct page *page;
	struct task cpu;
	struct sync_point g;

	sync_point_set(&g, step, mm);
	spawn(&cpu, cpu_writes_first, mm);
	sync_point_await(&g);
	EXPECT_EQ(fixture_store(s, 0, P(1) + 8, 'D'), 0);
	page = page_at(mm, P(1));
	sync_point_release(&g);
	join(&cpu);

	EXPECT_EQ(rd(mm, P(1)), 'C');
	EXPECT_EQ(rd(mm, P(1) + 8), 'D');
	EXPECT_EQ(fixture_word(page), 'C'); /* no other has come since */
	page_put(page);
}

IOMMU_TEST(device_steps, cpu_and_device_fault_one_page,
	   "a CPU and a device that fault one page together get one page, and "
	   "both stores are in it, whether it was absent, zero or evicted "
	   "(B44, C73, H47)")
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
		EXPECT_EQ(fixture_store(s, 0, P(1) + 8 * (i & 1), i), 0);
		EXPECT_EQ(wr(mm, P(1) + 8 * !(i & 1), i), 0);
		EXPECT_EQ(rd(mm, P(1)), i);
		EXPECT_EQ(rd(mm, P(1) + 8), i);
	}
	page_put(page);
}

/* ---- edges, and several devices ----------------------------------------- */

IOMMU_TEST(device_steps, edges_of_an_address_space,
	   "a device of a process reaches nothing at 0, in holes, after the "
	   "end and in the kernel's half, and half of an access that crosses "
	   "an edge (C123, B35)")
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

	REQUIRE(!fixture_store(s, 0, P(1), 'B'));
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		if (!s->model && nowhere[i] >> 32)
			continue;
		EXPECT_EQ(fixture_load(s, 0, nowhere[i]), BLOCKED);
		EXPECT(fixture_store(s, 0, nowhere[i], 'X') < 0);
		fixture_write(s, 0, nowhere[i], 'X');
	}
	fixture_write(s, 0, P(2) - 4, ~UINT64_C(0));

	EXPECT_EQ(rd(mm, P(0)), 'A');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(2) - 8), UINT64_C(0xffffffff) << 32);
	EXPECT_EQ(fixture_read(s, 0, P(2) - 4) >> 32, 0);
	EXPECT_EQ(rd(mm, P(2)), BAD);
}

IOMMU_TEST(device_steps, every_device_of_a_process_is_flushed,
	   "two devices of a process lose a page together, and a device keeps "
	   "what it has cached of another process (C125)")
{
	struct mm *mm = begin(s, 2), *other = fixture_mm(s, 1);
	struct page *page;

	fixture_bind_sva(s, 1, mm);
	EXPECT_EQ(fixture_load(s, 1, P(0)), 'A');
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0);
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(fixture_read(s, i, P(0)), BLOCKED);

	fixture_unbind(s, 1);
	fixture_bind_sva(s, 1, other);
	REQUIRE(!fixture_store(s, 1, P(0), 'O'));
	page = page_at(other, P(0));
	REQUIRE(!fixture_store(s, 0, P(1), 'B'));
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	EXPECT(!s->model || fixture_names(s, page));
	EXPECT_EQ(fixture_read(s, 1, P(0)), 'O');
	EXPECT_EQ(fixture_read(s, 0, P(1)), BLOCKED);
	page_put(page);
}
