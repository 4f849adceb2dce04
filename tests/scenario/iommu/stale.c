/* SPDX-License-Identifier: MIT */
/*
 * stale.c - staleness is real: what a device sees when a flush is missing
 *
 * Here tables are changed by hand and commands are given, or forgotten, one by
 * one.  Each test ends with the right flush and the right data.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/pt/pt_amdv1.h"
#include "mm/pt/pt_large.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define RIGHTS (AMDV1_PR | AMDV1_FC | AMDV1_IR | AMDV1_IW)

/* Device 0 has page `from` cached at IOVA; the table says `to` now. */
static struct domain *made_stale(struct iommu_fixture *s, struct page *from,
				 struct page *to)
{
	struct domain *d;

	FIXTURE_NEEDS(s, caches);
	d = fixture_domain(s);
	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(from), PAGE_SIZE, IO_RW));
	EXPECT_EQ(fixture_read(s, 0, IOVA), fixture_word(from));
	pte_write(fixture_slot(d, IOVA), page_pa(to) | RIGHTS);
	return d;
}

static void flush_page(struct iommu_fixture *s, uint16_t domain, iova_t iova)
{
	struct command c = command_invalidate_iommu_pages(
		domain, command_range(iova, iova + PAGE_SIZE), false);

	fixture_run_commands(s, &c, 1);
}

IOMMU_TEST(stale, old_page_is_used_until_flushed,
	   "without a flush the device reads and writes the old page")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = made_stale(s, old, new);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(old), 'X');
	EXPECT_EQ(fixture_word(new), 'B');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
	fixture_write(s, 0, IOVA, 'Y');
	EXPECT_EQ(fixture_word(new), 'Y');
	EXPECT_EQ(fixture_word(old), 'X');
}

IOMMU_TEST(stale, cleared_entry_still_translates,
	   "an entry that is cleared and not flushed still translates")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = made_stale(s, page, page);

	pt_set(&d->pt, fixture_slot(d, IOVA), 0);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'X');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), BLOCKED);
}

IOMMU_TEST(stale, lost_right_still_writes,
	   "a right that is taken away and not flushed still lets the device "
	   "write")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = made_stale(s, page, page);

	pte_write(fixture_slot(d, IOVA), page_pa(page) | (RIGHTS & ~AMDV1_IW));
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'X');

	flush_page(s, d->id, IOVA);
	fixture_refused(s, 0);
	fixture_write(s, 0, IOVA, 'Y');
	EXPECT_EQ(fixture_word(page), 'X');
}

IOMMU_TEST(stale, gained_right_does_not_arrive,
	   "a right that is given and not flushed cannot be used by the device")
{
	struct page *page = fixture_page(s, 'A');
	struct domain *d = fixture_domain(s);

	FIXTURE_NEEDS(s, caches_rights);
	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(page), PAGE_SIZE, PROT_R));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	pte_write(fixture_slot(d, IOVA), page_pa(page) | RIGHTS);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'A');

	flush_page(s, d->id, IOVA);
	fixture_write(s, 0, IOVA, 'X');
	EXPECT_EQ(fixture_word(page), 'X');
}

IOMMU_TEST(stale, wrong_domain_flushed,
	   "a flush of another domain leaves the stale translation in use")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = made_stale(s, old, new);

	FIXTURE_NEEDS(s, flush_by_domain);
	flush_page(s, d->id + 1, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(
	stale, device_entry_flush_is_not_enough,
	"INVALIDATE_DEVTAB_ENTRY leaves the device's translations in the IOTLB")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = made_stale(s, old, new);
	struct command c = command_invalidate_devtab_entry(s->devid[0]);

	FIXTURE_NEEDS(s, devtab_keeps);
	fixture_run_commands(s, &c, 1);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, invalidate_all_removes_every_translation,
	   "INVALIDATE_IOMMU_ALL removes every translation")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct command c = command_invalidate_iommu_all();

	FIXTURE_NEEDS(s, all_flushes);
	made_stale(s, old, new);
	fixture_run_commands(s, &c, 1);

	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
	EXPECT(!fixture_names(s, old));
}

IOMMU_TEST(stale, wrong_page_flushed,
	   "a flush of the next page leaves the stale translation in use")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d;

	FIXTURE_NEEDS(s, flush_by_address);
	d = made_stale(s, old, new);
	flush_page(s, d->id, IO(1));
	flush_page(s, d->id, IOVA - PAGE_SIZE);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');

	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, flush_too_short,
	   "a flush that ends too early leaves the pages after its end stale")
{
	struct page *page[8], *new = fixture_page(s, 'Z');
	struct domain *d = fixture_domain(s);
	struct command c;

	FIXTURE_NEEDS(s, flush_by_address);
	fixture_attach(s, 0, d);
	for (unsigned i = 0; i < 8; i++) {
		page[i] = fixture_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		EXPECT_EQ(fixture_read(s, 0, IO(i)), 'A' + i);
		pte_write(fixture_slot(d, IO(i)), page_pa(new) | RIGHTS);
	}
	c = command_invalidate_iommu_pages(d->id, command_range(IO(0), IO(4)),
					   false);
	fixture_run_commands(s, &c, 1);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), i < 4 ? 'Z' : 'A' + i);

	c = command_invalidate_iommu_pages(d->id, command_range(IO(4), IO(8)),
					   false);
	fixture_run_commands(s, &c, 1);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(fixture_read(s, 0, IO(i)), 'Z');
}

MODEL_TEST(
	stale, missing_wait,
	"a flush that is queued and not waited for may not have happened (C16)")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = made_stale(s, old, new);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IOVA, IO(1)), false);
	uint64_t seq;

	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');

	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
}

IOMMU_TEST(stale, wrong_device_entry_flushed,
	   "a device uses its old device table entry until that entry is "
	   "flushed (C117)")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d[2] = { fixture_domain(s), fixture_domain(s) };
	struct command c = command_invalidate_devtab_entry(s->devid[1]);
	struct dte *dte = &s->iommu->table[s->devid[0]], before;

	FIXTURE_NEEDS(s, dte_cached);
	REQUIRE(!domain_map(d[0], IOVA, page_pa(old), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_map(d[0], IO(1), page_pa(old), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_map(d[1], IO(1), page_pa(new), PAGE_SIZE, IO_RW));
	fixture_attach(s, 0, d[0]);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	before = *dte;
	*dte = dte_translate(pt_root_pa(&d[1]->pt), d[1]->pt.levels, d[1]->id);
	dte->w[2] = before.w[2];
	fixture_run_commands(s, &c, 1);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 'A');

	c = command_invalidate_devtab_entry(s->devid[0]);
	fixture_run_commands(s, &c, 1);
	EXPECT_EQ(fixture_read(s, 0, IO(1)), 'B');
	*dte = before;
	fixture_run_commands(s, &c, 1);
	c = command_invalidate_iommu_all();
	fixture_run_commands(s, &c, 1);
}

IOMMU_TEST(stale, directory_needs_its_bit,
	   "a page-table page that was replaced is walked until a flush with "
	   "PDE (B3)")
{
	struct page *old = fixture_page(s, 'A'), *new = fixture_page(s, 'B');
	struct domain *d = made_stale(s, old, old);
	struct page *dup = fixture_page(s, 1);
	uint64_t *leaf = page_va(dup), *top, before;
	struct command c;
	unsigned level;

	FIXTURE_NEEDS(s, caches_tables);
	for (unsigned i = 0; i < PT_ENTRIES; i++)
		leaf[i] = page_pa(new) | RIGHTS;
	top = pt_lookup(&d->pt, IOVA, 1, &level);
	before = pte_read(top);
	pte_write(top, page_pa(dup) | (before & ~PT_ADDRESS));
	flush_page(s, d->id, IOVA);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');

	c = command_invalidate_iommu_pages(d->id, command_range(IOVA, IO(1)),
					   true);
	fixture_run_commands(s, &c, 1);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'B');
	pte_write(top, before);
	fixture_run_commands(s, &c, 1);
}

/* A block of 2 MiB for the device, of which it has cached one leaf. */
static struct domain *large_cached(struct iommu_fixture *s, struct page *block)
{
	struct domain *d = fixture_domain(s);

	fixture_attach(s, 0, d);
	REQUIRE(!domain_map(d, IOVA, page_pa(block), pt_span(1), IO_RW));
	EXPECT_EQ(fixture_read(s, 0, IOVA + 3 * PAGE_SIZE), 'A' + 3);
	return d;
}

MODEL_TEST(
	stale, small_flush_leaves_a_large_leaf,
	"after a flush of 4 KiB a device still writes through a leaf of 2 MiB "
	"to a page that is no longer mapped; after a flush of 2 MiB it does "
	"not")
{
	struct page *block = fixture_large(s, 'A');
	struct domain *d = large_cached(s, block);
	iova_t at = IOVA + 300 * PAGE_SIZE;
	struct command c;

	REQUIRE(!domain_split(d, IOVA)); /* the leaf is flushed ... */
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_join(d, IOVA));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A'); /* ... and cached again */
	REQUIRE(!pt_split(&d->pt, IOVA));
	pt_set(&d->pt, fixture_slot(d, at), 0);
	flush_page(s, d->id, at);
	fixture_write(s, 0, at, 'X');
	EXPECT_EQ(fixture_word(block + 300), 'X');

	c = command_invalidate_iommu_pages(
		d->id, command_range(IOVA, IOVA + pt_span(1)), false);
	fixture_run_commands(s, &c, 1);
	fixture_write(s, 0, at, 'Y');
	EXPECT_EQ(fixture_word(block + 300), 'X');
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
}

IOMMU_TEST(
	stale, change_of_a_part_flushes_the_leaf,
	"after an unmap and a protect of one page each in 2 MiB that a device "
	"has cached as one leaf, it reaches neither, by one command each (C82)")
{
	struct page *block = fixture_large(s, 'A');
	struct domain *d = large_cached(s, block);
	iova_t a = IOVA + 300 * PAGE_SIZE, b = IOVA + 511 * PAGE_SIZE;
	uint64_t commands = d->commands;

	fixture_may_be_refused(s, 0);
	EXPECT_EQ(domain_unmap(d, a, a + PAGE_SIZE), 0);
	EXPECT_EQ(d->commands, commands + 1);
	EXPECT_EQ(fixture_read(s, 0, a), BLOCKED);
	fixture_write(s, 0, a, 'X');
	EXPECT_EQ(fixture_word(block + 300), 'A' + 300);
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	REQUIRE(!domain_map(d, a, page_pa(block + 300), PAGE_SIZE, IO_RW));
	REQUIRE(!domain_join(d, IOVA));
	EXPECT_EQ(fixture_read(s, 0, IOVA), 'A');
	commands = d->commands;
	EXPECT_EQ(domain_protect(d, b, b + PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(d->commands, commands + 1);
	fixture_write(s, 0, b, 'X');
	EXPECT_EQ(fixture_word(block + 511), 'A' + 511);
	EXPECT_EQ(fixture_read(s, 0, b), 'A' + 511);
}

static void take_pages(struct domain *d, unsigned from, unsigned to, int want)
{
	EXPECT_EQ(
		domain_unmap(d, IOVA + from * PAGE_SIZE, IOVA + to * PAGE_SIZE),
		want);
}

IOMMU_TEST(stale, failed_unmap_flushes_what_it_has_split,
	   "an unmap that splits one leaf and finds no memory to split another "
	   "changes nothing, and a later unmap of a page in the first reaches "
	   "what "
	   "the device has cached")
{
	struct page *block = fixture_large(s, 'A');
	struct domain *d = large_cached(s, block);

	fixture_may_be_refused(s, 0);
	REQUIRE(!domain_map(d, IOVA + pt_span(1), page_pa(block), pt_span(1),
			    IO_RW));
	inject_arm(2);
	take_pages(d, 511, 513, -ENOMEM);
	EXPECT(inject_disarm());
	EXPECT_EQ(fixture_read(s, 0, IOVA + 511 * PAGE_SIZE), 'A' + 511);
	take_pages(d, 300, 301, 0);
	fixture_write(s, 0, IOVA + 300 * PAGE_SIZE, 'X');
	EXPECT_EQ(fixture_word(block + 300), 'A' + 300);
	take_pages(d, 511, 513, 0);
	EXPECT_EQ(fixture_read(s, 0, IOVA + 512 * PAGE_SIZE), BLOCKED);
}
