/* SPDX-License-Identifier: MIT */
/*
 * scn_stale.c - staleness is real: what a device sees when a flush is missing
 *
 * Here tables are changed by hand and commands are given, or forgotten, one by
 * one.  Each test ends with the right flush and the right data.
 */
#include "iommu/pt_amdv1.h"
#include "tests/stand.h"

#define RIGHTS (AMDV1_PR | AMDV1_FC | AMDV1_IR | AMDV1_IW)

/* Device 0 has page `from` cached at IOVA; the table says `to` now. */
static struct domain *made_stale(struct stand *s, struct page *from,
				 struct page *to)
{
	struct domain *d;

	STAND_NEEDS(s, caches);
	d = stand_domain(s);
	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(from), PAGE_SIZE, IO_RW));
	EXPECT_EQ(stand_read(s, 0, IOVA), stand_word(from));
	pte_write(stand_slot(d, IOVA), page_pa(to) | RIGHTS);
	return d;
}

static void flush_page(struct stand *s, uint16_t domain, iova_t iova)
{
	struct command c = command_invalidate_iommu_pages(
		domain, command_range(iova, iova + PAGE_SIZE), false);

	stand_run_commands(s, &c, 1);
}

IOMMU_TEST(stale, until_flushed,
	   "without a flush the device reads and writes the old page")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = made_stale(s, old, new);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(old), 'X');
	EXPECT_EQ(stand_word(new), 'B');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
	stand_write(s, 0, IOVA, 'Y');
	EXPECT_EQ(stand_word(new), 'Y');
	EXPECT_EQ(stand_word(old), 'X');
}

IOMMU_TEST(stale, cleared_entry_still_works,
	   "an entry that is cleared and not flushed goes on translating")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = made_stale(s, page, page);

	pt_set(&d->pt, stand_slot(d, IOVA), 0);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'X');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), BLOCKED);
}

IOMMU_TEST(stale, lost_right_still_writes,
	   "a right that is taken and not flushed is still there")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = made_stale(s, page, page);

	pte_write(stand_slot(d, IOVA), page_pa(page) | (RIGHTS & ~AMDV1_IW));
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'X');

	flush_page(s, d->id, IOVA);
	stand_write(s, 0, IOVA, 'Y');
	EXPECT_EQ(stand_word(page), 'X');
}

IOMMU_TEST(stale, gained_right_does_not_arrive,
	   "a right that is given and not flushed does not reach the device")
{
	struct page *page = stand_page(s, 'A');
	struct domain *d = stand_domain(s);

	STAND_NEEDS(s, caches_rights);
	stand_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, PROT_R));
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	pte_write(stand_slot(d, IOVA), page_pa(page) | RIGHTS);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'A');

	flush_page(s, d->id, IOVA);
	stand_write(s, 0, IOVA, 'X');
	EXPECT_EQ(stand_word(page), 'X');
}

IOMMU_TEST(stale, wrong_domain_flushed,
	   "a flush of another domain does nothing")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = made_stale(s, old, new);

	STAND_NEEDS(s, flush_by_domain);
	flush_page(s, d->id + 1, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, device_entry_flush_is_not_enough,
	   "INVALIDATE_DEVTAB_ENTRY leaves translations where they are")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = made_stale(s, old, new);
	struct command c = command_invalidate_devtab_entry(s->devid[0]);

	STAND_NEEDS(s, devtab_keeps);
	stand_run_commands(s, &c, 1);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, all_means_all, "INVALIDATE_IOMMU_ALL leaves nothing")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct command c = command_invalidate_iommu_all();

	STAND_NEEDS(s, all_flushes);
	made_stale(s, old, new);
	stand_run_commands(s, &c, 1);

	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
	EXPECT(!stand_names(s, old));
}

IOMMU_TEST(stale, wrong_page_flushed, "a flush of the next page does nothing")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d;

	STAND_NEEDS(s, flush_by_address);
	d = made_stale(s, old, new);
	flush_page(s, d->id, IO(1));
	flush_page(s, d->id, IOVA - PAGE_SIZE);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, flush_too_short,
	   "the pages behind a flush that ends too early stay stale")
{
	struct page *page[8], *new = stand_page(s, 'Z');
	struct domain *d = stand_domain(s);
	struct command c;

	STAND_NEEDS(s, flush_by_address);
	stand_attach(s, 0, d);
	for (unsigned i = 0; i < 8; i++) {
		page[i] = stand_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		EXPECT_EQ(stand_read(s, 0, IO(i)), 'A' + i);
		pte_write(stand_slot(d, IO(i)), page_pa(new) | RIGHTS);
	}
	c = command_invalidate_iommu_pages(d->id, command_range(IO(0), IO(4)),
					   false);
	stand_run_commands(s, &c, 1);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(stand_read(s, 0, IO(i)), i < 4 ? 'Z' : 'A' + i);

	c = command_invalidate_iommu_pages(d->id, command_range(IO(4), IO(8)),
					   false);
	stand_run_commands(s, &c, 1);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(stand_read(s, 0, IO(i)), 'Z');
}

MODEL_TEST(stale, wait_forgotten,
	   "a flush that is queued and not waited for has not happened (C16)")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = made_stale(s, old, new);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IOVA, IO(1)), false);
	uint64_t seq;

	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');

	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, wrong_device_entry_flushed,
	   "a device goes by its old entry until that one is flushed (C117)")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d[2] = { stand_domain(s), stand_domain(s) };
	struct command c = command_invalidate_devtab_entry(s->devid[1]);
	struct dte *dte = &s->iommu->table[s->devid[0]], before;

	STAND_NEEDS(s, dte_cached);
	REQUIRE(!domain_map(d[0], IOVA, page_pa(old), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_map(d[0], IO(1), page_pa(old), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_map(d[1], IO(1), page_pa(new), PAGE_SIZE, IO_RW));
	stand_attach(s, 0, d[0]);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');
	before = *dte;
	*dte = dte_translate(pt_root_pa(&d[1]->pt), d[1]->pt.levels, d[1]->id);
	stand_run_commands(s, &c, 1);
	EXPECT_EQ(stand_read(s, 0, IO(1)), 'A');

	c = command_invalidate_devtab_entry(s->devid[0]);
	stand_run_commands(s, &c, 1);
	EXPECT_EQ(stand_read(s, 0, IO(1)), 'B');
	*dte = before;
	stand_run_commands(s, &c, 1);
	c = command_invalidate_iommu_all();
	stand_run_commands(s, &c, 1);
}

IOMMU_TEST(stale, directory_needs_its_bit,
	   "a table that was replaced is walked until a flush with PDE (B3)")
{
	struct page *old = stand_page(s, 'A'), *new = stand_page(s, 'B');
	struct domain *d = made_stale(s, old, old);
	struct page *twin = stand_page(s, 1);
	uint64_t *leaf = page_va(twin), *top, before;
	struct command c;
	unsigned level;

	STAND_NEEDS(s, caches_tables);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		leaf[i] = page_pa(new) | RIGHTS;
	top = pt_lookup(&d->pt, IOVA, 1, &level);
	before = pte_read(top);
	pte_write(top, page_pa(twin) | (before & ~PT_ADDRESS));
	flush_page(s, d->id, IOVA);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'A');

	c = command_invalidate_iommu_pages(d->id, command_range(IOVA, IO(1)),
					   true);
	stand_run_commands(s, &c, 1);
	EXPECT_EQ(stand_read(s, 0, IOVA), 'B');
	pte_write(top, before);
	stand_run_commands(s, &c, 1);
}
