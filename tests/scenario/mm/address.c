/* SPDX-License-Identifier: MIT */
/*
 * address.c - addresses outside the user half
 *
 * Every function that takes a user address is called with addresses of the
 * kernel's half, non-canonical ones and ranges that wrap: each is refused, and
 * changes nothing.  A walker that masked the address would find an entry.
 */
#include "kernel/err.h"
#include "mm/kernel/kmap_priv.h"
#include "mm/ksm/ksm.h"
#include "mm/notifier/interval_notifier.h"
#include "mm/space/fault.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/snapshot.h"

#define HALF (UINT64_C(1) << 47)

/* No [start, end) lies in the user half, though a part of it may. */
static const struct {
	const char *what;
	va_t start, end;
} ranges[] = {
	{ "the first page after the user half", HALF, HALF + PAGE_SIZE },
	{ "across the end of the user half", HALF - PAGE_SIZE,
	  HALF + PAGE_SIZE },
	{ "from memory to beyond the user half", VA, HALF + PAGE_SIZE },
	{ "a user's address with bit 47", HALF + VA, HALF + VA + PAGE_SIZE },
	{ "a user's address with bit 48", 2 * HALF + VA,
	  2 * HALF + VA + PAGE_SIZE },
	{ "the last page that is not canonical", DIRECT_BASE - PAGE_SIZE,
	  DIRECT_BASE },
	{ "the direct map", DIRECT_BASE + VA, DIRECT_BASE + VA + PAGE_SIZE },
	{ "the kernel's stacks", VMAP_BASE, VMAP_BASE + PAGE_SIZE },
	{ "the kernel's image", KERNEL_BASE + 0x200000,
	  KERNEL_BASE + 0x201000 },
	{ "the last page, to 2^64", -PAGE_SIZE, 0 },
	{ "the last page and the first", -PAGE_SIZE, PAGE_SIZE },
	{ "from memory all the way around", P(1), P(0) },
	{ "all addresses", 0, 0 },
};

/* ---- ranges: -EINVAL ---------------------------------------------------- */

static int try_map(struct mm *mm, va_t start, va_t end)
{
	return start ? mm_map(mm, start, end - start, RW, MAP_REPLACE, NULL, 0,
			      NULL)
		     : -EINVAL; /* 0 means anywhere */
}

static int try_remap_from(struct mm *mm, va_t start, va_t end)
{
	return mm_remap(mm, start, end - start, P(50), PAGE_SIZE, NULL);
}

static int try_remap_to(struct mm *mm, va_t start, va_t end)
{
	return start ? mm_remap(mm, P(0), PAGE_SIZE, start, end - start, NULL)
		     : -EINVAL; /* likewise */
}

static int try_protect(struct mm *mm, va_t start, va_t end)
{
	return mm_protect(mm, start, end, PROT_R);
}

static int try_remap_object(struct mm *mm, va_t start, va_t end)
{
	return mm_remap_object(mm, start, end, 0);
}

static int try_take_written(struct mm *mm, va_t start, va_t end)
{
	return mm_take_written(mm, start, end, NULL);
}

static const struct {
	const char *name;
	int (*call)(struct mm *mm, va_t start, va_t end);
} of_range[] = {
	{ "mm_map", try_map },
	{ "mm_unmap", mm_unmap },
	{ "mm_protect", try_protect },
	{ "mm_remap from", try_remap_from },
	{ "mm_remap to", try_remap_to },
	{ "mm_remap_object", try_remap_object },
	{ "mm_track_writes", mm_track_writes },
	{ "mm_take_written", try_take_written },
	{ "mm_untrack_writes", mm_untrack_writes },
	{ "mm_discard", mm_discard },
	{ "ksm_mergeable", ksm_mergeable },
	{ "ksm_unmergeable", ksm_unmergeable },
};

TEST(address, ranges_outside_the_user_half_are_refused,
     "each function that takes a range refuses one that leaves the user half "
     "or wraps")
{
	struct mm *mm = mm_fixture(2);

	REQUIRE(!wr(mm, P(0), 'A'));
	snapshot_take(SNAP_STATE);
	for (unsigned f = 0; f < ARRAY_SIZE(of_range); f++)
		for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
			int ret = of_range[f].call(mm, ranges[i].start,
						   ranges[i].end);

			if (ret != -EINVAL)
				test_fail(__FILE__, __LINE__,
					  "%s of %s: returns %d",
					  of_range[f].name, ranges[i].what,
					  ret);
		}
	EXPECT_STR_NULL(snapshot_changed());
	mm_put(mm);
}

/* ---- single addresses, and what counts from one on: -EFAULT ------------- */

static int try_read(struct mm *mm, va_t va)
{
	return rd(mm, va) == BAD ? -EFAULT : 0;
}

static int try_write(struct mm *mm, va_t va)
{
	return wr(mm, va, 'B');
}

static int try_fault(struct mm *mm, va_t va)
{
	return mm_fault(mm, va, PROT_R);
}

static int try_fault_write(struct mm *mm, va_t va)
{
	return mm_fault(mm, va, PROT_W);
}

static int pin(struct mm *mm, va_t va, unsigned n, unsigned flags)
{
	struct page *pages[2];
	int ret = pin_pages(mm, va, n, flags, pages);

	if (!ret)
		unpin_pages(pages, n);
	return ret;
}

static int try_pin(struct mm *mm, va_t va)
{
	return pin(mm, va, 1, 0);
}

static int try_pin_write(struct mm *mm, va_t va)
{
	return pin(mm, va, 1, PIN_WRITE);
}

static int try_pin_force(struct mm *mm, va_t va)
{
	return pin(mm, va, 1, PIN_WRITE | PIN_FORCE);
}

static const struct {
	const char *name;
	int (*call)(struct mm *mm, va_t va);
} of_address[] = {
	{ "a load", try_read },
	{ "a store", try_write },
	{ "mm_fault to read", try_fault },
	{ "mm_fault to write", try_fault_write },
	{ "mm_fault_unshare", mm_fault_unshare },
	{ "pin_pages", try_pin },
	{ "pin_pages to write", try_pin_write },
	{ "pin_pages by force", try_pin_force },
};

static const va_t addresses[] = {
	0,
	HALF,
	HALF + VA,
	2 * HALF + VA,
	DIRECT_BASE - PAGE_SIZE,
	DIRECT_BASE + VA,
	VMAP_BASE,
	KERNEL_BASE + 0x200000,
	-PAGE_SIZE,
	-UINT64_C(1),
};

TEST(address, addresses_outside_the_user_half_are_refused,
     "each function that takes an address refuses one outside the user half")
{
	struct mm *mm = mm_fixture(2);

	REQUIRE(!wr(mm, P(0), 'A'));
	snapshot_take(SNAP_STATE);
	for (unsigned f = 0; f < ARRAY_SIZE(of_address); f++)
		for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
			int ret = of_address[f].call(mm, addresses[i]);

			if (ret != -EFAULT)
				test_fail(__FILE__, __LINE__,
					  "%s at %lx: returns %d",
					  of_address[f].name, addresses[i],
					  ret);
		}
	EXPECT_STR_NULL(snapshot_changed());
	mm_put(mm);
}

TEST(address, pin_that_leaves_the_user_half_pins_nothing,
     "a pin of several pages that leaves the user half pins none of them")
{
	struct mm *mm = mm_fixture(1);
	struct page *pages[2];
	va_t last = USER_END - PAGE_SIZE;

	REQUIRE(!mm_map(mm, last, PAGE_SIZE, RW, 0, NULL, 0, NULL));
	REQUIRE(!wr(mm, last, 'A'));
	snapshot_take(SNAP_STATE);
	EXPECT_EQ(pin_pages(mm, last, 2, PIN_WRITE, pages), -EFAULT);
	EXPECT_EQ(pin_pages(mm, last, UINT32_MAX, 0, pages), -EFAULT);
	EXPECT_EQ(pin_pages(mm, -PAGE_SIZE, 2, 0, pages), -EFAULT);
	EXPECT_STR_NULL(snapshot_changed());
	EXPECT_EQ(pin(mm, last, 1, PIN_WRITE), 0);
	mm_put(mm);
}

TEST(address, kernel_frame_is_not_pinned,
     "a frame that only the kernel's half maps is not pinned, although its "
     "page is marked exclusive")
{
	struct mm *mm = mm_fixture(1);
	uint64_t word = 0;
	va_t va = ALIGN_DOWN((va_t)&word, PAGE_SIZE);
	/* This thread's stack: leaves of 4 KiB, as the direct map has where it
	 * shows the first 2 MiB. */
	struct page *page =
		page_of_pa(pt_pa(*pt_slot(&kernel_pt, va, 0, false)));
	struct page *pinned;

	REQUIRE(page_kind(page) == PAGE_STACK);
	page_set_exclusive(page);
	EXPECT_EQ(pin_pages(mm, va, 1, PIN_WRITE, &pinned), -EFAULT);
	EXPECT_EQ(pin_pages(mm, va & (2 * HALF - 1), 1, PIN_WRITE, &pinned),
		  -EFAULT);
	page_clear_exclusive(page);
	EXPECT_EQ(page_pins(page), 0);
	mm_put(mm);
}

static void walk_beyond(void *mm)
{
	(void)pt_slot(&((struct mm *)mm)->pt, (va_t)&mm, 0, false);
}

static void walk_beyond_large(void *mm)
{
	(void)pt_slot(&((struct mm *)mm)->pt, (va_t)&mm, 1, false);
}

/* It has the key of the page that was found last. */
static void map_beyond(void *mm)
{
	EXPECT(!pt_map(&((struct mm *)mm)->pt, P(0) | BIT(48), 0, PAGE_SIZE,
		       PROT_R, false));
}

static void unmap_beyond(void *mm)
{
	(void)pt_unmap_one(&((struct mm *)mm)->pt, P(0) | BIT(48),
			   P(1) | BIT(48));
}

TEST(address, slot_outside_a_tree_panics,
     "a slot beyond the bounds of a tree is a panic, and not another address's "
     "entry")
{
	static char why[160];
	struct mm *mm;

	CHECKED_ONLY("looks at the bounds");
	mm = mm_fixture(1);
	REQUIRE(!wr(mm, P(0), 'A'));
	EXPECT(panic_catch(walk_beyond, mm, why, sizeof(why)));
	EXPECT(panic_catch(walk_beyond_large, mm, why, sizeof(why)));
	EXPECT(panic_catch(map_beyond, mm, why, sizeof(why)));
	EXPECT(panic_catch(unmap_beyond, mm, why, sizeof(why)));
	mm_put(mm);
}

/* ---- devices ------------------------------------------------------------ */

USER_TEST(address, device_fault_outside_the_user_half_is_refused,
	  "a device's fault outside the user half is refused, and maps nothing")
{
	struct mm *mm = fixture_mm(s, 2);

	fixture_bind(s, 0, mm);
	snapshot_take(SNAP_STATE);
	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		EXPECT_EQ(fixture_fault(0, addresses[i], PROT_R), -EFAULT);
		EXPECT_EQ(fixture_fault(0, addresses[i], PROT_W), -EFAULT);
	}
	EXPECT_STR_NULL(snapshot_changed());
	REQUIRE(!wr(mm, P(0), 'A'));
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
}

static bool notified(struct mmu_interval_notifier *mni,
		     const struct mmu_notifier_range *range, uint64_t seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

TEST(address, interval_that_wraps_is_refused,
     "an interval that wraps around is refused, and no notifier is inserted")
{
	static const struct mmu_interval_notifier_ops ops = { notified };
	struct mmu_interval_notifier mni;
	struct mm *mm = mm_fixture(1);

	snapshot_take(SNAP_STATE);
	EXPECT_EQ(
		mmu_interval_notifier_insert(&mni, mm, P(1), -PAGE_SIZE, &ops),
		-EOVERFLOW);
	EXPECT_EQ(mmu_interval_notifier_insert(&mni, mm, -PAGE_SIZE,
					       2 * PAGE_SIZE, &ops),
		  -EOVERFLOW);
	EXPECT_EQ(mmu_interval_notifier_insert(&mni, mm, P(0), 0, &ops),
		  -EOVERFLOW);
	EXPECT_STR_NULL(snapshot_changed());
	EXPECT(!mm_has_notifiers(mm));
	mm_put(mm);
}
