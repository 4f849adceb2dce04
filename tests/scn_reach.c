/* SPDX-License-Identifier: MIT */
/*
 * scn_reach.c - what a device reaches, and what it does not any more
 */
#include "iommu/pt_amdv1.h"
#include "mm/pmm.h"
#include "tests/stand.h"

/* One domain with device 0 in it and one page mapped. */
static struct domain *one_page(struct stand *s, struct page *page,
			       enum prot prot)
{
	struct domain *d = stand_domain(s);

	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, prot));
	return d;
}

IOMMU_TEST(reach, map_makes_reachable, "what is mapped is read and written")
{
	struct page *page = stand_page(s, 'A');

	one_page(s, page, IO_RW);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_write(s, 0, IOVA, 'B');
	EXPECT_EQ(stand_word(page), 'B');
}

IOMMU_TEST(reach, nothing_by_default, "a device without a domain gets nothing")
{
	struct page *page = stand_page(s, 'A');

	EXPECT_EQ(stand_read(s, 0, page_pa(page)), BLOCKED);
	stand_write(s, 0, page_pa(page), 'B');

	EXPECT_EQ(stand_word(page), 'A');
}

IOMMU_TEST(reach, unmap_makes_unreachable,
	   "when unmap returns the device gets nothing, cached or not (C1)")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A'); /* now it is cached */
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));

	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'A');
	EXPECT(!stand_names(s, page));
}

IOMMU_TEST(reach, read_only_stays_so,
	   "a read-only page is read and not written")
{
	struct page *page = stand_page(s, 'A');

	one_page(s, page, PROT_R);

	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'A');
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'A');
}

IOMMU_TEST(reach, lost_right_is_gone,
	   "when protect to read-only returns no write arrives (C13)")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	stand_write(s, 0, IOVA, 'B'); /* the right to write is cached */
	REQUIRE(!domain_protect(d, IOVA, IO(1), PROT_R));

	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'B');
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(
	reach, gained_right_arrives,
	"a device that has cached read-only may write after the upgrade (C14)")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = one_page(s, page, PROT_R);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_protect(d, IOVA, IO(1), IO_RW));

	stand_write(s, 0, IOVA, 'B');
	EXPECT_EQ(stand_word(page), 'B');
}

IOMMU_TEST(reach, hole_becomes_page,
	   "what was missing is found once mapped (C15)")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = stand_domain(s);

	stand_attach(s, 0, d);
	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
}

IOMMU_TEST(reach, neighbours_stay, "unmapping [1, 9) of 10 leaves 0 and 9 (C5)")
{
	struct page *page[10];
	struct domain *d = stand_domain(s);

	stand_attach(s, 0, d);
	for (unsigned i = 0; i < 10; i++) {
		page[i] = stand_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	}
	/* All are cached: on QEMU each map has taken away the others. */
	for (unsigned i = 0; i < 10; i++)
		EXPECT_EQ(stand_read(s, 0, IO(i)), 'A' + i);
	REQUIRE(!domain_unmap(d, IO(1), IO(9)));

	for (unsigned i = 0; i < 10; i++) {
		bool gone = i >= 1 && i < 9;

		/* The model's cache first: a read would fill it again. */
		EXPECT(!s->model || stand_names(s, page[i]) != gone);
		EXPECT_EQ(stand_read(s, 0, IO(i)), gone ? BLOCKED : 'A' + i);
	}
}

IOMMU_TEST(reach, holes_in_between,
	   "address 0, the edges and the holes lead nowhere (C123)")
{
	static const iova_t nowhere[] = {
		0, PAGE_SIZE, IOVA - 8, IO(1), IO(512), UINT64_C(0xfffff000)
	};
	struct page *page = stand_page(s, 'A');

	one_page(s, page, IO_RW);
	EXPECT_EQ(stand_read(s, 0, IO(1) - 8), 'A');

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		EXPECT_EQ(stand_read(s, 0, nowhere[i]), BLOCKED);
		stand_write(s, 0, nowhere[i], 'X');
	}
	EXPECT_EQ(stand_word(page), 'A');
}

IOMMU_TEST(reach, crossing_stops_at_the_edge,
	   "a transfer over the edge moves the mapped part and no more (C123)")
{
	struct page *page = stand_page(s, 'A'), *next = stand_page(s, 'N');

	one_page(s, page, IO_RW);
	/* Four bytes in the page, four behind it. */
	EXPECT_EQ(stand_read(s, 0, IO(1) - 4) >> 32, 0);
	stand_write(s, 0, IO(1) - 4, ~UINT64_C(0));

	EXPECT_EQ(((uint32_t *)page_va(page))[1023], 0xffffffffu);
	EXPECT_EQ(stand_word(next), 'N');
}

IOMMU_TEST(reach, two_domains_never_meet,
	   "at one address two devices see two pages, and none of the other's")
{
	struct page *page[2] = { stand_page(s, 'A'), stand_page(s, 'B') };
	struct domain *d[2] = { stand_domain(s), stand_domain(s) };

	for (unsigned i = 0; i < 2; i++) {
		stand_attach(s, i, d[i]);
		REQUIRE(!domain_map(d[i], IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		REQUIRE(!domain_map(d[i], IO(9), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	}

	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(stand_read(s, i, IO(i)), 'A' + i);
		EXPECT_EQ(stand_read(s, i, IO(!i)), BLOCKED);
		stand_write(s, i, IO(!i), 'X');
	}
	EXPECT_EQ(stand_read(s, 0, IO(9)), 'A');
	EXPECT_EQ(stand_read(s, 1, IO(9)), 'B');
	EXPECT_EQ(stand_word(page[0]), 'A');
	EXPECT_EQ(stand_word(page[1]), 'B');
}

IOMMU_TEST(reach, one_domain_is_shared,
	   "two devices of a domain see one page, and lose it together (C125)")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	stand_attach(s, 1, d);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_write(s, 1, IOVA, 'B');
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');

	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(stand_read(s, i, IOVA), BLOCKED);
		stand_write(s, i, IOVA, 'X');
	}
	EXPECT_EQ(stand_word(page), 'B');
}

IOMMU_TEST(reach, other_domain_is_left_alone,
	   "a flush of one domain takes nothing from another (C125)")
{
	struct page *page[2] = { stand_page(s, 'A'), stand_page(s, 'B') };
	struct domain *d[2] = { stand_domain(s), stand_domain(s) };

	for (unsigned i = 0; i < 2; i++) {
		stand_attach(s, i, d[i]);
		REQUIRE(!domain_map(d[i], IOVA, page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		EXPECT_EQ(stand_read(s, i, IOVA), 'A' + i);
	}
	REQUIRE(!domain_unmap(d[0], IOVA, IO(1)));

	EXPECT(!s->model || stand_names(s, page[1]));
	EXPECT_EQ(stand_read(s, 1, IOVA), 'B');
	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
}

IOMMU_TEST(reach, detach_denies, "after detach a device gets nothing")
{
	struct page *page = stand_page(s, 'A');

	one_page(s, page, IO_RW);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_detach(s, 0);

	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'A');
	EXPECT(!stand_names(s, page));
}

IOMMU_TEST(
	reach, moved_device_sees_the_new_domain,
	"a device that changes its domain keeps nothing of the old (C117, H54)")
{
	struct page *page[2] = { stand_page(s, 'A'), stand_page(s, 'B') };
	struct domain *d[2] = { stand_domain(s), stand_domain(s) };

	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!domain_map(d[i], IOVA, page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	stand_attach(s, 0, d[0]);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_detach(s, 0);
	stand_attach(s, 0, d[1]);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
	EXPECT(!stand_names(s, page[0]));
}

IOMMU_TEST(reach, reused_id_brings_nothing_along,
	   "who gets the id of a dead domain sees nothing of it (C116, B55)")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = one_page(s, old, IO_RW), *next;
	unsigned id = d->id;

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_detach(s, 0);
	stand_destroy(s, d);
	s->iommu->id_hint = id - 1; /* the very same id is the next */
	next = stand_domain(s);
	EXPECT_EQ(next->id, id);
	stand_attach(s, 0, next);

	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
	REQUIRE(!domain_map(next, IO(1), page_pa(new), PAGE_SIZE, IO_RW));
	EXPECT_EQ(stand_read(s, 0, IO(1)), 'B');
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(old), 'A');
}

IOMMU_TEST(reach, freed_table_is_not_walked,
	   "a table page that became data leads nowhere (C7, B3)")
{
	struct page *page = stand_page(s, 'A'), *canary = stand_page(s, 'C');
	struct domain *d = one_page(s, page, IO_RW);
	struct page *table = pt_table_page(stand_slot(d, IOVA)), *taken[64];
	uint64_t *word;
	unsigned n = 0;

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_unmap(d, IOVA, IOVA + pt_span(1)));
	/* The frame comes back as data that looks like entries. */
	do {
		taken[n] = stand_page(s, 1);
	} while (taken[n] != table && ++n < ARRAY_SIZE(taken));
	REQUIRE(n < ARRAY_SIZE(taken));
	word = page_va(table);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		WRITE_ONCE(word[i],
			   page_pa(canary) | AMDV1_PR | AMDV1_IR | AMDV1_IW);

	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
	EXPECT_EQ(stand_read(s, 0, IO(7)), BLOCKED);
	stand_write(s, 0, IO(7), 'X');
	EXPECT_EQ(stand_word(canary), 'C');
	EXPECT(!s->model ||
	       !model_names_table(s->model, page_pa(table), NULL, 0));
}
