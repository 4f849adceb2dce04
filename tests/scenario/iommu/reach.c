/* SPDX-License-Identifier: MIT */
/*
 * reach.c - what a device reaches, and what it does not any more
 */
#include "kernel/err.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/fixture/iommu/iommu_fixture.h"

/* One domain with device 0 in it and one page mapped. */
static struct domain *one_page(struct iommu_fixture *s, struct page *page,
			       enum prot prot)
{
	struct domain *d = fixture_domain(s);

	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, prot));
	return d;
}

IOMMU_TEST(reach, map_makes_reachable,
	   "a device reads and writes a page that its domain maps")
{
	struct page *page = fixture_page(s, 'A');

	one_page(s, page, IO_RW);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_write(s, 0, IOVA, 'B');
	EXPECT_EQ(fixture_word(page), 'B');
}

IOMMU_TEST(
	reach, segments_are_mapped_by_one_flush,
	"scattered pages that one call maps are read in their order, through "
	"holes that were cached; a call that meets a page maps none")
{
	struct page *page[] = { fixture_page(s, 'A'), fixture_page(s, 'B'),
				fixture_page(s, 'C') };
	const struct segment sg[] = { { page_pa(page[2]), PAGE_SIZE },
				      { page_pa(page[0]), PAGE_SIZE },
				      { page_pa(page[1]), PAGE_SIZE } };
	struct domain *d = fixture_domain(s);
	uint64_t before;

	fixture_attach(s, 0, d);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), BLOCKED);
	before = d->flushes;
	EXPECT_EQ(domain_map_sg(d, IOVA, sg, 3, IO_RW), 0);
	EXPECT_EQ(d->flushes - before, s->iommu->np_cache);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 'C');
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 'A');
	EXPECT_EQ(fixture_read(s, 0, IO(2)), 'B');
	EXPECT_EQ(domain_map_sg(d, IO(-2), sg, 3, IO_RW), -EEXIST);
	for (int i = -2; i < 0; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 0, IO(3)), BLOCKED);
}

IOMMU_TEST(reach, nothing_by_default,
	   "a device without a domain reaches nothing")
{
	struct page *page = fixture_page(s, 'A');

	EXPECT_EQ(fixture_read(s, 0, page_pa(page)), BLOCKED);
	fixture_write(s, 0, page_pa(page), 'B');

	EXPECT_EQ(fixture_word(page), 'A');
}

IOMMU_TEST(reach, unmap_makes_unreachable,
	   "when an unmap has returned the device does not reach the page, "
	   "cached or not (C1)")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A'); /* now it is cached */
	REQUIRE(!domain_unmap(d, IOVA, IO(1)));

	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'A');
	EXPECT(!fixture_names(s, page));
}

IOMMU_TEST(reach, read_only_page_is_not_written,
	   "a device reads a page that is mapped read-only and cannot write it")
{
	struct page *page = fixture_page(s, 'A');

	one_page(s, page, PROT_R);
	fixture_refused(s, 0);

	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'A');
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'A');
}

IOMMU_TEST(reach, lost_right_stops_writes,
	   "when a protect to read-only has returned no write arrives (C13)")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	fixture_write(s, 0, IOVA, 'B'); /* the right to write is cached */
	REQUIRE(!domain_protect(d, IOVA, IO(1), PROT_R));
	fixture_refused(s, 0);

	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'B');
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(reach, gained_right_is_usable,
	   "a device that has cached a read-only entry may write after the "
	   "entry has gained W (C14)")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = one_page(s, page, PROT_R);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_protect(d, IOVA, IO(1), IO_RW));

	fixture_write(s, 0, IOVA, 'B');
	EXPECT_EQ(fixture_word(page), 'B');
}

IOMMU_TEST(reach, mapped_hole_is_reached,
	   "a device that was blocked at an address reaches it once it is "
	   "mapped (C15)")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = fixture_domain(s);

	fixture_attach(s, 0, d);
	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, IO_RW));

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
}

IOMMU_TEST(reach, unmap_leaves_neighbours,
	   "an unmap of pages 1 to 8 of 10 leaves pages 0 and 9 mapped (C5)")
{
	struct page *page[10];
	struct domain *d = fixture_domain(s);

	fixture_attach(s, 0, d);
	for (unsigned i = 0; i < 10; i++) {
		page[i] = fixture_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	}
	/* All are cached: on QEMU each map has taken away the others. */
	for (unsigned i = 0; i < 10; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), 'A' + i);
	REQUIRE(!domain_unmap(d, IO(1), IO(9)));

	for (unsigned i = 0; i < 10; i++) {
		bool gone = i >= 1 && i < 9;

		/* The model's cache first: a read would fill it again. */
		EXPECT(!s->model || fixture_names(s, page[i]) != gone);
		EXPECT_EQ(fixture_read(s, 0, IO(i)), gone ? BLOCKED : 'A' + i);
	}
}

IOMMU_TEST(reach, holes_are_not_reached,
	   "a device reaches nothing at address 0, at the edges of its "
	   "mappings and in the holes between them (C123)")
{
	static const iova_t nowhere[] = {
		0, PAGE_SIZE, IOVA - 8, IO(1), IO(512), UINT64_C(0xfffff000)
	};
	struct page *page = fixture_page(s, 'A');

	one_page(s, page, IO_RW);
	EXPECT_EQ(fixture_read(s, 0, IO(1) - 8), 'A');

	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		EXPECT_EQ(fixture_read(s, 0, nowhere[i]), BLOCKED);
		fixture_write(s, 0, nowhere[i], 'X');
	}
	EXPECT_EQ(fixture_word(page), 'A');
}

IOMMU_TEST(reach, crossing_stops_at_the_edge,
	   "a transfer that crosses the end of a mapping moves the mapped part "
	   "only (C123)")
{
	struct page *page = fixture_page(s, 'A'), *next = fixture_page(s, 'N');

	one_page(s, page, IO_RW);
	/* Four bytes in the page, four behind it. */
	EXPECT_EQ(fixture_read(s, 0, IO(1) - 4) >> 32, 0);
	fixture_write(s, 0, IO(1) - 4, ~UINT64_C(0));

	EXPECT_EQ(((uint32_t *)page_va(page))[1023], 0xffffffffu);
	EXPECT_EQ(fixture_word(next), 'N');
}

IOMMU_TEST(reach, two_domains_are_separate,
	   "two devices in two domains that use one address reach two pages, "
	   "each its own")
{
	struct page *page[2] = { fixture_page(s, 'A'), fixture_page(s, 'B') };
	struct domain *d[2] = { fixture_domain(s), fixture_domain(s) };

	for (unsigned i = 0; i < 2; i++) {
		fixture_attach(s, i, d[i]);
		REQUIRE(!domain_map(d[i], IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		REQUIRE(!domain_map(d[i], IO(9), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	}

	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(fixture_read(s, i, IO(i)), 'A' + i);
		EXPECT_EQ(fixture_read(s, i, IO(!i)), BLOCKED);
		fixture_write(s, i, IO(!i), 'X');
	}
	EXPECT_EQ(fixture_read(s, 0, IO(9)), 'A');
	EXPECT_EQ(fixture_read(s, 1, IO(9)), 'B');
	EXPECT_EQ(fixture_word(page[0]), 'A');
	EXPECT_EQ(fixture_word(page[1]), 'B');
}

IOMMU_TEST(reach, one_domain_is_shared,
	   "two devices of one domain reach the same page, and lose it "
	   "together (C125)")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = one_page(s, page, IO_RW);

	fixture_attach(s, 1, d);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_write(s, 1, IOVA, 'B');
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');

	REQUIRE(!domain_unmap(d, IOVA, IO(1)));
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(fixture_read(s, i, IOVA), BLOCKED);
		fixture_write(s, i, IOVA, 'X');
	}
	EXPECT_EQ(fixture_word(page), 'B');
}

IOMMU_TEST(reach, flush_leaves_other_domains,
	   "a flush of one domain removes no translation of another (C125)")
{
	struct page *page[2] = { fixture_page(s, 'A'), fixture_page(s, 'B') };
	struct domain *d[2] = { fixture_domain(s), fixture_domain(s) };

	for (unsigned i = 0; i < 2; i++) {
		fixture_attach(s, i, d[i]);
		REQUIRE(!domain_map(d[i], IOVA, page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		EXPECT_EQ(fixture_read(s, i, IOVA), 'A' + i);
	}
	REQUIRE(!domain_unmap(d[0], IOVA, IO(1)));

	EXPECT(!s->model || fixture_names(s, page[1]));
	EXPECT_EQ(fixture_read(s, 1, IOVA), 'B');
	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
}

IOMMU_TEST(reach, detach_denies, "a device that was detached reaches nothing")
{
	struct page *page = fixture_page(s, 'A');

	one_page(s, page, IO_RW);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_detach(s, 0);

	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'A');
	EXPECT(!fixture_names(s, page));
}

IOMMU_TEST(reach, moved_device_reaches_the_new_domain_only,
	   "a device that changes its domain keeps no translation of the old "
	   "one (C117, H54)")
{
	struct page *page[2] = { fixture_page(s, 'A'), fixture_page(s, 'B') };
	struct domain *d[2] = { fixture_domain(s), fixture_domain(s) };

	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!domain_map(d[i], IOVA, page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
	fixture_attach(s, 0, d[0]);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_detach(s, 0);
	fixture_attach(s, 0, d[1]);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
	EXPECT(!fixture_names(s, page[0]));
}

IOMMU_TEST(reach, reused_domain_id_has_no_old_translations,
	   "a domain that gets the id of a destroyed domain has none of its "
	   "translations (C116, B55)")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = one_page(s, old, IO_RW), *next;
	unsigned id = d->id;

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_detach(s, 0);
	fixture_destroy(s, d);
	s->iommu->id_hint = id - 1; /* the very same id is the next */
	next = fixture_domain(s);
	EXPECT_EQ(next->id, id);
	fixture_attach(s, 0, next);

	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	REQUIRE(!domain_map(next, IO(1), page_pa(new), PAGE_SIZE, IO_RW));
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 'B');
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(old), 'A');
}

IOMMU_TEST(reach, freed_table_is_not_walked,
	   "a freed page-table page that holds data is not walked by a device "
	   "(C7, B3)")
{
	struct page *page = fixture_page(s, 'A'),
		    *canary = fixture_page(s, 'C');
	struct domain *d = one_page(s, page, IO_RW);
	struct page *table = pt_table_page(fixture_slot(d, IOVA));
	uint64_t *word = page_va(table);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_unmap(d, IOVA, IOVA + pt_span(1)));
	/* The frame comes back as data that looks like entries. */
	fixture_take(s, table, 1);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		WRITE_ONCE(word[i],
			   page_pa(canary) | AMDV1_PR | AMDV1_IR | AMDV1_IW);

	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
	EXPECT_EQ(fixture_read(s, 0, IO(7)), BLOCKED);
	fixture_write(s, 0, IO(7), 'X');
	EXPECT_EQ(fixture_word(canary), 'C');
	EXPECT(!s->model ||
	       !model_names_table(s->model, page_pa(table), NULL, 0));
}
