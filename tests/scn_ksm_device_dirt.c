/* SPDX-License-Identifier: MIT */
/*
 * scn_ksm_device_dirt.c - pages that only devices write, and frames that they
 * hold: B33, B47, C94, C105
 *
 * No device sets D.  The scanner takes "no D since the checksum" for "unchanged"
 * (mm/KSM.md): so it must not where a device may have written, by the mm's table,
 * by one of its own, or by a frame that somebody pinned for it.
 */
#include "mm/entry.h"
#include "tests/ksm_world.h"
#include "tests/stand_mm.h"

/* n mergeable pages of 'A', summed and without D before device 0 comes, which
 * may write them and has never done so. */
static struct mm *summed(struct stand *s, unsigned n)
{
	struct mm *mm = stand_mm(s, n);

	REQUIRE(!ksm_mergeable(mm, VA, P(n)));
	for (unsigned i = 0; i < n; i++)
		REQUIRE(!wr(mm, P(i), 'A' + i));
	ksm_scans(1);
	for (unsigned i = 0; i < n; i++)
		EXPECT(!(entry_at(mm, P(i)) & PTE_D));
	stand_bind(s, 0, mm);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(stand_load(s, 0, P(i)), 'A' + i);
	return mm;
}

USER_TEST(ksm_dirt, written_by_a_device_only_is_volatile,
	  "a page that a device writes from pass to pass, and nobody else, is "
	  "summed at each look and merges with none (B33)")
{
	struct mm *mm = summed(s, 3);

	for (unsigned i = 1; i < 20; i++) {
		stand_write(s, 0, P(0), 100 + i);
		stand_write(s, 0, P(1), 100 + i);
		ksm_scans(1);
		EXPECT_KSM(0, 0, 1, 2);
		EXPECT_KSM_SOUND();
		EXPECT_EQ(rd(mm, P(0)), 100 + i);
		EXPECT_EQ(rd(mm, P(1)), 100 + i);
	}
	ksm_scans(1);
	EXPECT_KSM(1, 1, 1, 0);
	stand_write(s, 0, P(0), 'X');
	EXPECT_EQ(rd(mm, P(0)), 119);
	EXPECT_EQ(stand_load(s, 0, P(1)), 119);
}

USER_TEST(ksm_dirt, written_while_nobody_looked,
	  "what a device wrote that came after a checksum, and left before the "
	  "next look, is seen (B33)")
{
	struct mm *mm = summed(s, 3);

	stand_write(s, 0, P(0), 'W');
	stand_write(s, 0, P(1), 'W');
	stand_unbind(s, 0);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 1, 2);
	ksm_scans(1);
	EXPECT_KSM(1, 1, 1, 0);
	EXPECT_EQ(rd(mm, P(0)), 'W');
	EXPECT_EQ(rd(mm, P(1)), 'W');
	EXPECT_KSM_SOUND();
}

static struct {
	struct stand *s;
	struct mm *mm;
	unsigned times;
} both;

/* The second page's checksum is known, and the first one waits in the tree. */
static void write_both(uint64_t mm, uint64_t va, void *arg)
{
	if (mm != (uint64_t)both.mm || va != P(1) || both.times++)
		return;
	stand_write(both.s, 0, P(0), 'C');
	stand_write(both.s, 0, P(1), 'C');
}

USER_TEST(ksm_dirt, both_change_behind_their_checksums,
	  "two pages that a device makes equal to each other, and to no "
	  "checksum, are not put where their old content would be (B33, B46)")
{
	struct mm *mm = summed(s, 2);

	stand_write(s, 0, P(1), 'A');
	ksm_scans(1);
	both.s = s;
	both.mm = mm;
	both.times = 0;
	hook("ksm_summed", write_both, NULL);
	ksm_scans(1);
	unhook("ksm_summed");
	EXPECT_EQ(both.times, 1);
	EXPECT(!is_merged(mm, P(0)));
	EXPECT_KSM_SOUND();
	EXPECT_STR_NULL(iommu_check(s->iommu));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	EXPECT_EQ(rd(mm, P(0)), 'C');
	EXPECT_EQ(rd(mm, P(1)), 'C');
}

/* Two pages change places, by device 0: `tag` is the model. */
static void swap(struct stand *s, uint64_t *tag, unsigned a, unsigned b)
{
	uint64_t t = tag[a];

	tag[a] = tag[b];
	tag[b] = t;
	EXPECT_EQ(stand_store(s, 0, P(a), tag[a]), 0);
	EXPECT_EQ(stand_store(s, 0, P(b), tag[b]), 0);
}

USER_TEST(ksm_dirt, contents_change_places_between_steps,
	  "a device swaps pages between any two steps of the scanner: each "
	  "holds what was written last, and equal ones meet in the end")
{
	struct mm *mm = summed(s, 4);
	uint64_t tag[] = { 'A', 'B', 'A', 'B' };

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(stand_store(s, 0, P(i), tag[i]), 0);
	for (unsigned n = 0; n < 48; n++) {
		EXPECT(ksm_scan(1 + n / 16) >= 0);
		swap(s, tag, n % 4, (n + 1 + n / 4 % 3) % 4);
		for (unsigned i = 0; i < 4; i++) {
			EXPECT_EQ(rd(mm, P(i)), tag[i]);
			EXPECT_EQ(stand_load(s, 0, P(i)), tag[i]);
		}
		EXPECT_KSM_SOUND();
		EXPECT_STR_NULL(stand_check(0));
	}
	ksm_scans(3);
	EXPECT_KSM(2, 2, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(stand_load(s, 0, P(i)), tag[i]);
}

/* ---- frames that are held ------------------------------------------------ */

/* Two equal pages that the next pass would merge, and device 0 in a domain of
 * its own. */
static struct mm *pair(struct stand *s, struct domain **d)
{
	struct mm *mm = stand_mm(s, 2);

	REQUIRE(!ksm_mergeable(mm, VA, P(2)));
	REQUIRE(!wr(mm, P(0), 'A'));
	REQUIRE(!wr(mm, P(1), 'A'));
	ksm_scans(1);
	*d = stand_domain(s);
	stand_attach(s, 0, *d);
	return mm;
}

IOMMU_TEST(ksm_dirt, pinned_for_a_device_is_not_looked_at,
	   "a device that writes a pinned page: it does not merge, and when it "
	   "is unpinned its last content is what is summed (B33, B47)")
{
	struct domain *d;
	struct mm *mm = pair(s, &d);
	struct page *page;

	REQUIRE(!pin_pages(mm, P(1), 1, PIN_WRITE, &page));
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));
	for (unsigned i = 1; i < 10; i++) {
		ksm_scans(1);
		stand_write(s, 0, IOVA, i % 2 ? 'B' : 'A');
		EXPECT_EQ(rd(mm, P(1)), i % 2 ? 'B' : 'A');
		EXPECT(!is_merged(mm, P(1)));
		EXPECT_KSM(0, 0, 1, 0);
	}
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
	ksm_scans(1);
	EXPECT_KSM(0, 0, 1, 1); /* new, as it is now: 'B' */
	REQUIRE(!wr(mm, P(0), 'B'));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(rd(mm, P(1)), 'B');
	EXPECT_EQ(rd(mm, P(0)), 'B');
}

/* The second page is pinned and mapped at a step of a pass, which goes on. */
static struct page *pin_at(const char *step, struct mm *mm, struct domain *d)
{
	struct page *page = NULL;
	struct gate g;
	struct task t;
	int ret = -1;

	gate_close(&g, step, mm);
	spawn(&t, ksm_pass, &ret);
	gate_await(&g);
	EXPECT_EQ(pin_pages(mm, P(1), 1, PIN_WRITE, &page), 0);
	EXPECT_EQ(domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW), 0);
	gate_open(&g);
	join(&t);
	EXPECT_EQ(ret, 0);
	return page;
}

IOMMU_TEST(ksm_dirt, pin_at_each_step_keeps_the_frame,
	   "a frame that is pinned for a device at any step of a merge stays "
	   "the page's, and what the device writes the CPU reads (C94, B47)")
{
	static const char *const steps[] = { "ksm_looked", "ksm_summed",
					     "ksm_converted" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct domain *d;
		struct mm *mm = pair(s, &d);
		struct page *page;

		REQUIRE(!wr(mm, P(0), 'B')); /* something to sum */
		REQUIRE(!wr(mm, P(1), 'B'));
		ksm_scans(1);
		REQUIRE(!wr(mm, P(0), 'B'));
		REQUIRE(!wr(mm, P(1), 'B'));
		page = pin_at(steps[i], mm, d);
		REQUIRE(page);
		EXPECT(!is_merged(mm, P(1)));
		stand_write(s, 0, IOVA, 'D');
		EXPECT_EQ(rd(mm, P(1)), 'D');
		EXPECT_EQ(rd(mm, P(0)), 'B');
		EXPECT_KSM_SOUND();
		EXPECT_STR_NULL(iommu_check(s->iommu));
		REQUIRE(!domain_unmap(d, IOVA, IO(1)));
		unpin_pages(&page, 1);
		stand_detach(s, 0);
		stand_exit(mm);
	}
}

IOMMU_TEST(ksm_dirt, reference_behind_the_write_protection,
	   "a frame that a driver has got hold of by the flush is not merged; "
	   "its device writes it, and the CPU reads that (C94)")
{
	static const char *const steps[] = { "ksm_protect", "ksm_frozen" };

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		struct domain *d;
		struct mm *mm = pair(s, &d);
		struct page *held = ksm_scan_held(mm, steps[i]);

		REQUIRE(held);
		EXPECT(!is_merged(mm, P(1)));
		REQUIRE(!domain_map(d, IOVA, page_pa(held), PAGE_SIZE, IO_RW));
		stand_write(s, 0, IOVA, 'D');
		EXPECT_EQ(rd(mm, P(1)), 'D');
		EXPECT_EQ(rd(mm, P(0)), 'A');
		EXPECT_KSM_SOUND();
		REQUIRE(!domain_unmap(d, IOVA, IO(1)));
		page_put(held);
		stand_detach(s, 0);
		stand_exit(mm);
	}
}

IOMMU_TEST(ksm_dirt, read_pin_is_what_the_cpu_writes,
	   "a read-only long-term pin of a merged page takes it out first: its "
	   "device reads what the CPU writes, and changes nothing (C105)")
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
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	ksm_scans(2);
	EXPECT(!is_merged(mm, P(1)));
	REQUIRE(!wr(mm, P(1), 'N'));
	EXPECT_EQ(stand_read(s, 0, IOVA), 'N');
	EXPECT_EQ(rd(mm, P(0)), 'A');
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(rd(mm, P(1)), 'N');
	EXPECT_STR_NULL(iommu_check(s->iommu));
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	unpin_pages(&page, 1);
	REQUIRE(!wr(mm, P(1), 'A'));
	ksm_scans(2);
	EXPECT_KSM(1, 1, 0, 0);
}
