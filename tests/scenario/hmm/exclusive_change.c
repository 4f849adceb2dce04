/* SPDX-License-Identifier: MIT */
/*
 * exclusive_change.c - what ends a device's exclusive use of a page, and what leaves it: C64
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/rmap/migrate.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/fake/fake_device.h"
#include "tests/scenario/hmm/alone.h"

/* ---- everything else that may happen to the page -------------------------------- */

static struct mm *child;

static void forks(struct mm *mm)
{
	child = fork_of(mm);
}

static void protects(struct mm *mm)
{
	EXPECT_EQ(mm_protect(mm, P(1), P(2), PROT_R), 0);
}

static void protects_from_all(struct mm *mm)
{
	EXPECT_EQ(mm_protect(mm, P(1), P(2), PROT_NONE), 0);
	EXPECT_EQ(rd(mm, P(1)), BAD);
	EXPECT_EQ(mm_protect(mm, P(1), P(2), RW), 0);
}

static void moves(struct mm *mm)
{
	va_t to;

	EXPECT_EQ(mm_remap(mm, P(1), PAGE_SIZE, P(10), PAGE_SIZE, &to), 0);
	EXPECT_EQ(entry_state(entry_at(mm, P(10))), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(rd(mm, P(10)), 3);
	EXPECT_EQ(mm_remap(mm, P(10), PAGE_SIZE, P(1), PAGE_SIZE, &to), 0);
}

static void evicts(struct mm *mm)
{
	struct page *page = alone_page(mm, 1);

	EXPECT_EQ(swap_out(page), 0);
	EXPECT(swapped_at(mm, P(1)));
	page_put(page);
}

static void migrates(struct mm *mm)
{
	struct page *page = alone_page(mm, 1), *to = page_alloc();

	REQUIRE(to);
	EXPECT_EQ(migrate_page(page, to), 0);
	EXPECT_EQ(alone_state(mm, 1), STATE_EXCLUSIVE);
	EXPECT(entry_names(entry_at(mm, P(1)), to));
	page_put(page);
	page_put(to);
}

static void pins(struct mm *mm)
{
	struct page *pin;

	EXPECT_EQ(pin_pages(mm, P(1), 1, PIN_WRITE, &pin), 0);
	EXPECT_EQ(fixture_word(pin), 3);
	unpin_pages(&pin, 1);
}

/* Each ends it for page 1, which then holds the device's word. */
static void (*const changes[])(struct mm *mm) = {
	forks, protects, protects_from_all, moves, evicts, migrates, pins,
};

IOMMU_TEST(exclusive, every_change_ends_it,
	   "a fork, a lost right, a move, a swap-out, a migration and a pin "
	   "each take the page from the device before they change its entry, "
	   "and keep its word (C64)")
{
	swap_fixture_begin(4);
	for (unsigned k = 0; k < ARRAY_SIZE(changes); k++) {
		struct mm *mm = alone_begin(s);

		child = NULL;
		alone_add(s, 1);
		changes[k](mm);
		EXPECT(alone.notified && !alone_reaches(1));
		fixture_may_be_refused(s, 0);
		EXPECT_EQ(fixture_read(s, 0, IO(1)), BLOCKED);
		EXPECT_EQ(rd(mm, P(1)), 3);
		EXPECT_STR_NULL(mm_check());
		if (child)
			mm_put(child);
		alone_end(s, mm);
	}
	swap_fixture_end();
}

static void discards(struct mm *mm)
{
	EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
	EXPECT_EQ(rd(mm, P(1)), 0);
}

static void unmaps(struct mm *mm)
{
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	EXPECT_EQ(rd(mm, P(1)), BAD);
}

static void exits(struct mm *mm)
{
	mm_grab(mm);
	mm_put(mm);
}

static void (*const ends[])(struct mm *mm) = { discards, unmaps, exits };

IOMMU_TEST(exclusive, end_of_the_page_ends_it,
	   "a discard, an unmap and an exit take the page from the device, and "
	   "free it (C64)")
{
	for (unsigned k = 0; k < ARRAY_SIZE(ends); k++) {
		struct mm *mm = alone_begin(s);
		struct page *page;

		alone_add(s, 1);
		page = alone_page(mm, 1);
		ends[k](mm);
		EXPECT(alone.notified && !alone_reaches(1));
		EXPECT_EQ(page_count(page), PAGE_REF);
		page_put(page);
		fixture_may_be_refused(s, 0);
		EXPECT_EQ(fixture_read(s, 0, IO(1)), BLOCKED);
		if (ends[k] != exits) {
			alone_end(s, mm);
			continue;
		}
		hmm_driver_stop(&alone);
		mm_drop(mm);
		fixture_detach(s, 0);
	}
}

static void merges(struct mm *mm)
{
	REQUIRE(!ksm_mergeable(mm, P(0), P(PAGES)));
	ksm_scans(2);
	EXPECT_EQ(ksm_now().pages_sharing, 0);
}

static void looks(struct mm *mm)
{
	struct page *page = alone_page(mm, 1);

	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
}

/* None of these uses the page. */
static void (*const others[])(struct mm *mm) = { merges, looks };

IOMMU_TEST(exclusive, others_leave_it,
	   "KSM and a look at the accessed bit find no mapping, and leave the "
	   "page to the device")
{
	for (unsigned k = 0; k < ARRAY_SIZE(others); k++) {
		struct mm *mm = alone_begin(s);

		EXPECT_EQ(wr(mm, P(2), 2), 0); /* as page 1 */
		alone_add(s, 3);
		others[k](mm);
		EXPECT_EQ(alone_state(mm, 1), STATE_DEVICE_EXCLUSIVE);
		EXPECT(alone_reaches(1));
		EXPECT_EQ(fixture_read(s, 0, IO(1)), 2);
		EXPECT_EQ(rd(mm, P(1)), 2);
		alone_end(s, mm);
	}
	ksm_knobs_reset();
}

IOMMU_TEST(exclusive, migration_leaves_the_page,
	   "a migration to the memory of another device takes the page from "
	   "the device, and the page stays in RAM, as an evicted one does")
{
	struct fake_device *d = fake_device(0, 4);
	struct mm *mm = alone_begin(s);

	alone_add(s, 1);
	EXPECT_EQ(device_take(d, mm, 1, 1), 0);
	EXPECT_EQ(d->copies, 0);
	EXPECT(!alone_reaches(1) && alone_reaches(2));
	EXPECT_EQ(alone_state(mm, 1), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(rd(mm, P(1)), 3);
	EXPECT_EQ(device_take(d, mm, 1, 1), 1);
	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 3);
	hmm_driver_unlock(&alone);
	EXPECT_EQ(device_memory_used(&d->memory), 0);
	alone_end(s, mm);
	fake_device_end(d);
}

IOMMU_TEST(exclusive, accessed_and_dirty_come_back,
	   "a page that a device had comes back dirty, and accessed only if it "
	   "was so before or the CPU uses it")
{
	struct mm *mm = alone_begin(s);
	struct page *page = page_at(mm, P(1)), *to;

	for (unsigned accessed = 0; accessed < 2; accessed++) {
		uint64_t e;

		EXPECT_EQ(mm_fault(mm, P(1), PROT_W), 0);
		if (!accessed)
			page_referenced(page);
		alone_add(s, 1);
		/* Its entry comes back without an access of a CPU. */
		to = page_alloc();
		REQUIRE(to);
		EXPECT_EQ(migrate_page(page, to), 0);
		page_put(page);
		page = to;
		e = entry_at(mm, P(1));
		EXPECT(e & PTE_D);
		EXPECT_EQ(!!(e & PTE_A), accessed);
	}
	/* Without a device that has it mapped, too. */
	page_clear(page, PG_DIRTY);
	EXPECT_EQ(alone_ask(1, 2), 0);
	EXPECT_EQ(rd(mm, P(1)), 4);
	EXPECT(entry_at(mm, P(1)) & PTE_D);
	page_put(page);
	alone_end(s, mm);
}

/* ---- rights, copies ------------------------------------------------------------- */

IOMMU_TEST(exclusive, protected_page_is_not_written,
	   "after a protect to read-only the CPU reads the device's word and "
	   "cannot write, and the device cannot have the page again (C64)")
{
	struct mm *mm = alone_begin(s);

	alone_add(s, 1);
	protects(mm);
	EXPECT_EQ(wr(mm, P(1), 9), -EFAULT);
	EXPECT_EQ(rd(mm, P(1)), 3);
	EXPECT_EQ(hmm_driver_make_exclusive(&alone), -EFAULT);
	EXPECT_EQ(rd(mm, P(1)), 3);
	alone_end(s, mm);
}

IOMMU_TEST(exclusive, shared_page_is_copied_first,
	   "a page that a fork shares is copied for the device, and the other "
	   "side keeps its word; a fork of an exclusive page shares it, and "
	   "each side's write is its own (C64)")
{
	struct mm *mm = alone_begin(s);

	forks(mm);
	EXPECT_EQ(alone_ask(0, 1), -EBUSY); /* its own copy */
	alone_add(s, 0);
	EXPECT_EQ(rd(child, P(0)), 1);
	EXPECT_EQ(alone_state(mm, 0), STATE_DEVICE_EXCLUSIVE);
	mm_put(child);
	forks(mm);
	EXPECT_EQ(alone_state(mm, 0), STATE_EVICTED);
	EXPECT_EQ(alone_state(child, 0), STATE_EVICTED);
	EXPECT_EQ(wr(child, P(0), 50), 0);
	EXPECT_EQ(rd(mm, P(0)), 2);
	EXPECT_EQ(wr(mm, P(0), 60), 0);
	EXPECT_EQ(rd(child, P(0)), 50);
	mm_put(child);
	alone_end(s, mm);
}

IOMMU_TEST(exclusive, clean_slot_is_not_believed,
	   "a page whose swap slot has its content is written again after a "
	   "device wrote to it (B42)")
{
	struct mm *mm;

	swap_fixture_begin(4);
	mm = alone_begin(s);
	EXPECT_EQ(swap_out_at(mm, P(1)), 0);
	EXPECT_EQ(rd(mm, P(1)), 2); /* it is in the swap cache now, and clean */
	alone_add(s, 1);
	evicts(mm);
	EXPECT_EQ(rd(mm, P(1)), 3); /* clean again */
	EXPECT_EQ(wr(mm, P(1), 50), 0);
	EXPECT_EQ(alone_ask(1, 2), 0); /* nor is a CPU's write forgotten */
	evicts(mm);
	EXPECT_EQ(rd(mm, P(1)), 50);
	alone_end(s, mm);
	swap_fixture_end();
}
