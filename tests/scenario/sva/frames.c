/* SPDX-License-Identifier: MIT */
/*
 * frames.c - drivers that give a device the frames of a process
 *
 *   pinned   the frames stay where they are, whatever the process does
 *   userptr  nothing is pinned: an interval notifier waits for the transfer
 *            that is under way, and takes the frames from the device
 *
 * The device's addresses are its driver's (IOVA), not those of the process.
 */
#include "drivers/edu.h"
#include "drivers/pci.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/notifier/flush.h"
#include "tests/checker/canary.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- pinned ------------------------------------------------------------- */

/* Page 0 of mm is pinned and device 0 reaches it at IOVA. */
static struct page *pin(struct iommu_fixture *s, struct mm *mm,
			struct domain **d)
{
	struct page *page;

	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &page));
	*d = fixture_domain(s);
	fixture_attach(s, 0, *d);
	REQUIRE(!domain_map(*d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));
	return page;
}

IOMMU_TEST(frames, pinned_page_stays_the_parents,
	   "with a device's pin on a page, the parent and the device keep one "
	   "page through fork, writes and reclaim, and the child gets its own "
	   "(C25, B41)")
{
	struct mm *mm = fixture_mm(s, 1), *child;
	struct domain *d;
	struct page *page;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	page = pin(s, mm, &d);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A'); /* cached */
	child = fixture_fork(mm);
	EXPECT_EQ(wr(mm, P(0), 'B'), 0);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
	fixture_write(s, 0, IOVA, 'C');
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(try_to_unmap(page), -EBUSY);
	EXPECT_EQ(wr(child, P(0), 'K'), 0);
	fixture_write(s, 0, IOVA + 8, 'D');

	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(rd(mm, P(0) + 8), 'D');
	EXPECT_EQ(rd(child, P(0)), 'K');
	EXPECT_EQ(rd(child, P(0) + 8), 0);
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
}

IOMMU_TEST(frames, driver_frees_after_its_own_unmap,
	   "a frame that a pin keeps after its process has exited is freed by "
	   "the driver after the device's unmap, and the device does not reach "
	   "it (H37)")
{
	struct mm *mm = fixture_mm(s, 1);
	struct domain *d;
	struct page *page;
	uint64_t freed;

	EXPECT_EQ(wr(mm, P(0), 'A'), 0);
	page = pin(s, mm, &d);
	fixture_exit(mm);
	EXPECT_EQ(page_maps(page), 0);
	fixture_write(s, 0, IOVA, 'B');
	EXPECT_EQ(fixture_word(page), 'B'); /* the pin's */

	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
	canary_release();
	EXPECT_EQ(page_count(page), 0);
	freed = fixture_word(page);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	EXPECT_EQ(fixture_word(page), freed);
	EXPECT(!fixture_names(s, page));
}

/* ---- a driver's memory in a process ------------------------------------- */

static struct {
	struct object *object;
	struct mm *mm;
	unsigned calls, bad;
} lent;

/* As long as a TLB may hold the page the driver finds its mapping. */
static void is_found(uint64_t mm, uint64_t va, void *unused)
{
	if (mm != (uint64_t)lent.mm || va != P(1))
		return;
	lent.calls++;
	lent.bad += itree_empty(&lent.object->regions);
}

IOMMU_TEST(frames, driver_memory_is_mapped_until_the_flush,
	   "a driver that frees memory which a process has mapped finds the "
	   "mapping until it is flushed (H37)")
{
	struct object *o = object_create(1);
	struct mm *mm = fixture_mm(s, 1);
	struct page *page;
	uint64_t freed;

	REQUIRE(o);
	REQUIRE(!mm_map(mm, P(1), PAGE_SIZE, RW, 0, o, 0, NULL));
	fixture_bind_sva(s, 0, mm);
	EXPECT_EQ(fixture_store(s, 0, P(1), 'A'), 0);
	page = page_at(mm, P(1));
	page_put(page);
	lent.object = o;
	lent.mm = mm;
	lent.calls = lent.bad = 0;
	hook("pte_clear", is_found, NULL);
	hook("range_flushed", is_found, NULL);
	EXPECT_EQ(mm_unmap(mm, P(1), P(2)), 0);
	unhook("pte_clear");
	unhook("range_flushed");
	EXPECT(lent.calls >= 2);
	EXPECT_EQ(lent.bad, 0);

	EXPECT(itree_empty(&o->regions));
	object_put(o);
	canary_release();
	EXPECT_EQ(page_count(page), 0);
	freed = fixture_word(page);
	fixture_write(s, 0, P(1), 'X');
	EXPECT_EQ(fixture_read(s, 0, P(1)), BLOCKED);
	EXPECT_EQ(fixture_word(page), freed);
}

/* ---- frames that an entry only remembers -------------------------------- */

#define ENCODINGS 64u

/* Make a non-present entry whose bits name the page: evicted, without access, swapped (the
 * number of its slot read as a frame), of a device, or a device's alone, with bits that
 * the CPU may have left in it. */
static uint64_t not_present(struct page *page, unsigned i)
{
	uint64_t e = i & 1 ? entry_make_evicted(page)
			   : page_pa(page) | entry_rights(PROT_NONE, false);

	if (i & 8)
		e = page_pa(page) | entry_make_swapped(0, i & 16);
	if (i & 32)
		e = i & 1 ? entry_make_device_exclusive(page, i & 8 ? PTE_A : 0)
			  : entry_make_evicted(page) | ENTRY_DEVICE;
	return e | (i & 2 ? PTE_D : 0) | (i & 4 ? PTE_A : 0);
}

IOMMU_TEST(frames, nonpresent_entries_translate_nothing,
	   "a device reads and writes none of 64 frames that non-present "
	   "entries name (C121, B34)")
{
	struct mm *mm = fixture_mm(s, 2);
	uint64_t *slot;

	fixture_bind_sva(s, 0, mm);
	EXPECT_EQ(fixture_store(s, 0, P(1), 'A'), 0); /* makes the table */
	slot = pt_slot(&mm->pt, P(0), 0, false);
	for (unsigned i = 0; i < ENCODINGS; i++) {
		struct page *canary = fixture_page(s, 'C');
		uint64_t e = not_present(canary, i);

		EXPECT(!(e & PTE_P) && (e & PTE_ADDR) == page_pa(canary));
		spin_lock(&mm->pt_lock);
		pte_write(slot, e);
		tlb_flush_range(mm, P(0), P(1));
		EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
		fixture_write(s, 0, P(0), 'X');
		pte_write(slot, 0);
		tlb_flush_range(mm, P(0), P(1));
		spin_unlock(&mm->pt_lock);
		EXPECT_EQ(fixture_word(canary), 'C');
	}
	EXPECT_EQ(fixture_read(s, 0, P(1)), 'A');
}

/* ---- userptr ------------------------------------------------------------ */

#define BYTES 1024

/* One page of a process, for edu at IOVA.  Key: (L) lock */
static struct userptr {
	struct mmu_interval_notifier mni;
	struct rwsem lock; /* RANK_TRANSFER, sleeping: a submit, or a change */
	struct domain *domain;
	bool mapped; /* (L)                                            */
} u;

static bool userptr_invalidate(struct mmu_interval_notifier *mni,
			       const struct mmu_notifier_range *range,
			       uint64_t seq)
{
	if (!range->blockable && edu_busy())
		return false;
	rw_write_lock(&u.lock);
	if (edu_busy())
		EXPECT_EQ(edu_wait(), 0);
	mmu_interval_set_seq(mni, seq);
	if (u.mapped)
		EXPECT_EQ(domain_unmap(u.domain, IOVA, IO(1)), 0);
	u.mapped = false;
	rw_write_unlock(&u.lock);
	return true;
}

static const struct mmu_interval_notifier_ops userptr_ops = {
	.invalidate = userptr_invalidate,
};

static void userptr_open(struct mm *mm, struct iommu *iommu)
{
	u = (struct userptr){ .domain = domain_create(iommu) };
	rw_init(&u.lock, RANK_TRANSFER, "userptr");
	REQUIRE(u.domain);
	REQUIRE(!domain_attach(u.domain, edu_devid(), 0));
	REQUIRE(!mmu_interval_notifier_insert(&u.mni, mm, P(0), PAGE_SIZE,
					      &userptr_ops));
}

static void userptr_close(void)
{
	mmu_interval_notifier_remove(&u.mni);
	EXPECT_EQ(domain_detach(u.domain, edu_devid()), 0);
	domain_destroy(u.domain);
}

/* Let edu reach the page as it is now, and start; 100 ms from now it moves. */
static int userptr_submit(enum edu_way way)
{
	uint64_t seq = mmu_interval_read_begin(&u.mni);
	struct mm *mm = u.mni.mm;
	struct page *page;
	int ret = mm_fault(mm, P(0), PROT_W);

	if (ret)
		return ret;
	page = page_at(mm, P(0));
	if (!page)
		return -EAGAIN;
	rw_write_lock(&u.lock);
	if (mmu_interval_read_retry(&u.mni, seq))
		ret = -EAGAIN;
	else if (!u.mapped)
		ret = domain_map(u.domain, IOVA, page_pa(page), PAGE_SIZE,
				 IO_RW);
	if (!ret) {
		u.mapped = true;
		ret = edu_start(way, IOVA, 0, BYTES);
	}
	rw_write_unlock(&u.lock);
	page_put(page);
	return ret;
}

/* Every word that was transferred. */
static bool whole(const struct page *page, uint64_t tag)
{
	const uint64_t *word = page_va(page);

	for (unsigned i = 0; i < BYTES / sizeof(*word); i++)
		if (READ_ONCE(word[i]) != tag)
			return false;
	return true;
}

static unsigned busy_at_clear;

static void count_busy(uint64_t mm, uint64_t va, void *unused)
{
	busy_at_clear += edu_busy();
}

TEST(frames, userptr_start_waits_for_the_transfer,
     "start waits for a transfer of 100 ms in its range, whose data are whole, "
     "and a nonblocking start is refused (C42, B23)")
{
	struct iommu *iommu = need_edu();
	struct mm *mm = mm_fixture(1);
	struct page *page;

	EXPECT_EQ(wr(mm, P(0), 1), 0);
	page = page_at(mm, P(0));
	userptr_open(mm, iommu);
	fixture_fill(page, 'D');
	EXPECT_EQ(userptr_submit(EDU_TAKE), 0);
	hook("pte_clear", count_busy, NULL);
	busy_at_clear = 0;
	change(mm, 0, 1); /* read under the device */
	fixture_fill(page, 'S');
	EXPECT(!edu_busy());
	page_put(page);

	EXPECT_EQ(wr(mm, P(0), 2), 0);
	page = page_at(mm, P(0));
	EXPECT_EQ(userptr_submit(EDU_GIVE), 0);
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
	EXPECT_EQ(page_maps(page), 1);
	EXPECT_EQ(mm_unmap(mm, P(0), P(1)), 0); /* written under it */
	EXPECT(!edu_busy());
	EXPECT_EQ(busy_at_clear, 0);
	unhook("pte_clear");
	EXPECT(whole(page, 'D'));
	EXPECT_EQ(page_refs(page), 1); /* ours: nothing was pinned */
	EXPECT_EQ(userptr_submit(EDU_GIVE), -EFAULT);
	page_put(page);
	userptr_close();
	mm_put(mm);
}
