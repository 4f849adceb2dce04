/* SPDX-License-Identifier: MIT */
/*
 * ksm_device_dirt.c - pages that only devices write, and frames that are pinned
 * for them: B33, B47, C94, C105
 *
 * A device sets no D.  The scanner takes "no D since the checksum" for "unchanged"
 * (mm/ksm/KSM.md), and so must not do that where a device may have written: by the
 * mm's table, by one of its own, or to a frame that is pinned for it.
 */
#include "mm/core/entry.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"

/* Makes n mergeable pages of 'A', with a checksum and without D, and attaches
 * device 0, which may write them and has not. */
static struct mm *summed(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A' + i));
	ksm_scans(1);
	for (unsigned i = 0; i < n; i++)
		EXPECT(!(entry_at(mm, P(i)) & PTE_D));
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(fixture_load(s, 0, P(i)), 'A' + i);
	return mm;
}

USER_TEST(ksm_dirt, written_by_a_device_only_is_volatile,
	  "a page that only a device writes gets a checksum at every scan and "
	  "is not merged (B33)")
{
	struct mm *mm = summed(s, 3);

	for (unsigned i = 1; i < 20; i++) {
		fixture_write(s, 0, P(0), 100 + i);
		fixture_write(s, 0, P(1), 100 + i);
		ksm_scans(1);
		EXPECT_KSM(0, 0, 1, 2);
		EXPECT_KSM_SOUND();
		EXPECT_EQ(rd(mm, P(0)), 100 + i);
		EXPECT_EQ(rd(mm, P(1)), 100 + i);
	}
	ksm_scans(1);
	EXPECT_KSM(1, 1, 1, 0);
	fixture_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(mm, P(0)), 119);
	EXPECT_EQ(fixture_load(s, 0, P(1)), 119);
}

USER_TEST(ksm_dirt, write_between_two_scans_is_noticed,
	  "the write of a device that was attached and detached between two "
	  "scans is noticed (B33)")
{
	struct mm *mm = summed(s, 3);

	fixture_write(s, 0, P(0), 'W');
	fixture_write(s, 0, P(1), 'W');
	fixture_unbind(s, 0);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 1, 2);
	ksm_scans(1);
	EXPECT_KSM(1, 1, 1, 0);
	EXPECT_EQ(rd(mm, P(0)), 'W');
	EXPECT_EQ(rd(mm, P(1)), 'W');
	EXPECT_KSM_SOUND();
}

static struct {
	struct iommu_fixture *s;
	struct mm *mm;
	unsigned times;
} both;

/* The first page is in the unstable tree, the second has its checksum. */
static void write_both(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)both.mm || va != P(1) || both.times++)
		return;
	fixture_write(both.s, 0, P(0), 'C');
	fixture_write(both.s, 0, P(1), 'C');
}

USER_TEST(ksm_dirt, both_pages_change_after_their_checksums,
	  "two pages that a device changes alike after their checksums are "
	  "not merged under the old checksum (B33, B46)")
{
	struct mm *mm = summed(s, 2);

	fixture_write(s, 0, P(1), 'A');
	ksm_scans(1);
	both.s = s;
	both.mm = mm;
	both.times = 0;
	hook("ksm_checksummed", write_both, NULL);
	ksm_scans(1);
	unhook("ksm_checksummed");
	EXPECT_EQ(both.times, 1);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(rd(mm, P(1)), 'C');
}

/* Device 0 swaps the contents of two pages; `tag` records them. */
static void swap(struct iommu_fixture *s, uint64_t *tag, unsigned a, unsigned b)
{
	uint64_t t = tag[a];

	tag[a] = tag[b];
	tag[b] = t;
	EXPECT_EQ(fixture_store(s, 0, P(a), tag[a]), 0);
	EXPECT_EQ(fixture_store(s, 0, P(b), tag[b]), 0);
}

USER_TEST(ksm_dirt, contents_swapped_between_steps,
	  "a device swaps pages between any two steps of the scanner: each "
	  "holds what was written last, and equal ones merge in the end")
{
	struct mm *mm = summed(s, 4);
	uint64_t tag[] = { 'A', 'B', 'A', 'B' };

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(fixture_store(s, 0, P(i), tag[i]), 0);
	for (unsigned n = 0; n < 48; n++) {
		EXPECT(ksm_scan(1 + n / 16) >= 0);
		swap(s, tag, n % 4, (n + 1 + n / 4 % 3) % 4);
		for (unsigned i = 0; i < 4; i++) {
			EXPECT_EQ(rd(mm, P(i)), tag[i]);
			EXPECT_EQ(fixture_load(s, 0, P(i)), tag[i]);
		}
		EXPECT_KSM_SOUND();
		EXPECT_STR_NULL(fixture_check(0));
	}
	ksm_scans(3);
	EXPECT_KSM(2, 2, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(fixture_load(s, 0, P(i)), tag[i]);
}

/* ---- pinned frames ------------------------------------------------------- */

/* Makes two equal pages that the next pass would merge, and attaches device 0 to a
 * domain of its own. */
static struct mm *pair(struct iommu_fixture *s, struct domain **d)
{
	struct mm *mm = fixture_mm(s, 2);

	REQUIRE(!ksm_mergeable(mm, VA, P(2)));
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(1), 'A'));
	ksm_scans(1);
	*d = fixture_domain(s);
	fixture_attach(s, 0, *d);
	return mm;
}

IOMMU_TEST(ksm_dirt, pinned_page_is_not_scanned,
	   "a pinned page that a device writes does not merge, and after the "
	   "unpin its last content gets the checksum (B33, B47)")
{
	struct domain *d;
	struct mm *mm = pair(s, &d);
	struct page *page;

	fixture_refused(s, 0); /* the write after the unmap */
	REQUIRE(!pin_pages(mm, P(1), 1, PIN_WRITE, &page));
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));
	for (unsigned i = 1; i < 10; i++) {
		ksm_scans(1);
		fixture_write(s, 0, IOVA, i % 2 ? 'B' : 'A');
		EXPECT_EQ(rd(mm, P(1)), i % 2 ? 'B' : 'A');
		EXPECT(!is_merged(mm, P(1)));
		EXPECT_KSM(0, 0, 1, 0);
	}
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 1, 1); /* a new rmap_item, of 'B' */
	REQUIRE(!wr(mm, P(0), 'B'));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'B');
}

/* Pins and maps the second page at a step of a pass, which continues. */
static struct page *pin_at(const char *step, struct mm *mm, struct domain *d)
{
	struct page *page = NULL;
	struct sync_point g;
	struct task t;
	int ret = -1;

	sync_point_set(&g, step, mm);
	spawn(&t, ksm_pass, &ret);
	sync_point_await(&g);
	EXPECT_EQ(pin_pages(mm, P(1), 1, PIN_WRITE, &page), 0);
	EXPECT_EQ(domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW), 0);
	sync_point_release(&g);
	join(&t);
	EXPECT_EQ(ret, 0);
	return page;
}

IOMMU_TEST(ksm_dirt, pin_at_each_step_keeps_the_frame,
	   "a page that is pinned for a device at any step of a merge keeps "
	   "its frame, and the CPU reads what the device writes (C94, B47)")
{
	static const char *const steps[] = { "ksm_batch_end", "ksm_checksummed",
					     "ksm_converted" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct domain *d;
		struct mm *mm = pair(s, &d);
		struct page *page;

		REQUIRE(!wr(mm, P(0), 'B')); /* needs a new checksum */
		REQUIRE(!wr(mm, P(1), 'B'));
		ksm_scans(1);
		REQUIRE(!wr(mm, P(0), 'B'));
		REQUIRE(!wr(mm, P(1), 'B'));
		page = pin_at(steps[i], mm, d);
		REQUIRE(page);
		EXPECT(!is_merged(mm, P(1)));
		fixture_write(s, 0, IOVA, 'D');
		EXPECT_EQ(rd(mm, P(1)), 'D');
		EXPECT_EQ(rd(mm, P(0)), 'B');
		EXPECT_KSM_SOUND();
		EXPECT_STR_NULL(iommu_check(s->iommu));
		REQUIRE(!domain_unmap(d, IOVA, IO(1)));
		unpin_pages(&page, 1);
		fixture_detach(s, 0);
		fixture_exit(mm);
	}
}

IOMMU_TEST(ksm_dirt, reference_after_the_write_protection,
	   "a frame on which a driver took a reference before the flush is "
	   "not merged, and the CPU reads what its device writes (C94)")
{
	static const char *const steps[] = { "ksm_write_protect",
					     "ksm_write_protected" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct domain *d;
		struct mm *mm = pair(s, &d);
		struct page *held = ksm_scan_held(mm, steps[i]);

		REQUIRE(held);
		EXPECT(!is_merged(mm, P(1)));
		REQUIRE(!domain_map(d, IOVA, page_pa(held), PAGE_SIZE, IO_RW));
		fixture_write(s, 0, IOVA, 'D');
		EXPECT_EQ(rd(mm, P(1)), 'D');
		EXPECT_EQ(rd(mm, P(0)), 'A');
		EXPECT_KSM_SOUND();
		REQUIRE(!domain_unmap(d, IOVA, IO(1)));
		page_put(held);
		fixture_detach(s, 0);
		fixture_exit(mm);
	}
}

IOMMU_TEST(ksm_dirt, read_pin_shows_what_the_cpu_writes,
	   "a read-only long-term pin of a merged page makes it private "
	   "first, and its device reads what the CPU writes (C105)")
{
	struct domain *d;
	struct mm *mm = pair(s, &d);
	struct page *page;

	ksm_scans(1);
	EXPECT_KSM(1, 1, 0, 0);
	REQUIRE(!pin_pages(mm, P(1), 1, 0, &page));
	EXPECT_KSM(1, 0, 0, 0);
	EXPECT_EQ(page_kind(page), PAGE_ANON);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, PROT_R));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	ksm_scans(2);
	EXPECT(!is_merged(mm, P(1)));
	REQUIRE(!wr(mm, P(1), 'N'));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'N');
	EXPECT_EQ(rd(mm, P(0)), 'A');
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(rd(mm, P(1)), 'N');
	EXPECT_STR_NULL(iommu_check(s->iommu));
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
	REQUIRE(!wr(mm, P(1), 'A'));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
}
