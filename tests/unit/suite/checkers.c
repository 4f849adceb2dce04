/* SPDX-License-Identifier: MIT */
/*
 * checkers.c - the checkers of device tests find what is broken
 *
 * Each test does by hand what a broken driver would do, takes the complaint,
 * and checks that the correct sequence causes none.  On QEMU, which hides half
 * of it, and on the strict model.
 */
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/checker/cache_checker.h"
#include "tests/checker/order_checker.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/unit/suite/complained.h"

/* Make a domain with n pages that device 0 has used. */
static struct domain *warm(struct iommu_fixture *s, struct page **page,
			   unsigned n)
{
	struct domain *d = fixture_domain(s);

	CHECKED_ONLY("has checkers of devices");
	fixture_attach(s, 0, d);
	for (unsigned i = 0; i < n; i++) {
		page[i] = fixture_page(s, 'A' + i);
		REQUIRE(!domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				    IO_RW));
		REQUIRE(fixture_read(s, 0, IO(i)) == 'A' + i);
	}
	return d;
}

static void clear(struct domain *d, unsigned i)
{
	pt_set(&d->pt, fixture_slot(d, IO(i)), 0);
}

static void flush(struct iommu_fixture *s, struct domain *d, unsigned from,
		  unsigned to, bool tables)
{
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(from), IO(to)), tables);

	fixture_run_commands(s, &c, 1);
}

IOMMU_TEST(checker, missing_flush,
	   "a page that is freed without a flush is "
	   "reported (B2)")
{
	struct page *page[2];
	struct domain *d = warm(s, page, 2);

	clear(d, 0);
	fixture_free(s, page[0]);
	EXPECT(complained("frame * is freed: *IOTLB*0x40000000*"));

	clear(d, 1);
	flush(s, d, 0, 2, false);
	fixture_free(s, page[1]);
	EXPECT(complained("none"));
}

IOMMU_TEST(checker, flush_too_short,
	   "a freed page past the end of a flush is reported, one inside is "
	   "not (B5)")
{
	struct page *page[4];
	struct domain *d = warm(s, page, 4);

	for (unsigned i = 0; i < 4; i++)
		clear(d, i);
	flush(s, d, 0, 2, false);
	fixture_free(s, page[1]);
	EXPECT(complained("none"));
	fixture_free(s, page[2]);
	EXPECT(complained("frame * is freed: *IOTLB*0x40002000*"));
	flush(s, d, 2, 4, false);
}

IOMMU_TEST(checker, wrong_domain,
	   "a flush of another domain does not count "
	   "as a flush")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id ^ 1, command_range(IO(0), IO(64)), true);

	clear(d, 0);
	fixture_run_commands(s, &c, 1);
	fixture_free(s, page[0]);
	EXPECT(complained("frame * is freed: *IOTLB*"));
	flush(s, d, 0, 1, false);
}

IOMMU_TEST(checker, missing_wait,
	   "a flush whose completion was not seen does not count as a flush "
	   "(B4, C16)")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(0), IO(1)), false);
	uint64_t seq;

	clear(d, 0);
	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT(cache_checker_names(page[0], NULL, 0));
	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT(!cache_checker_names(page[0], NULL, 0));
	fixture_free(s, page[0]);
	EXPECT(complained("none"));
}

/* A table page is unhooked when its last entry is removed, and freed. */
IOMMU_TEST(checker, missing_directory_bit,
	   "a table that is freed without the directory bit is reported (B3, "
	   "C7)")
{
	struct page *page[1], *table;
	struct domain *d = warm(s, page, 1);

	table = pt_table_page(fixture_slot(d, IO(0)));
	clear(d, 0);
	flush(s, d, 0, 1, false);
	EXPECT(!cache_checker_names(page[0], NULL, 0));
	EXPECT(cache_checker_names(table, NULL, 0));
	flush(s, d, 0, 1, true);
	EXPECT(!cache_checker_names(table, NULL, 0));
	REQUIRE(!domain_unmap(d, IO(0), IO(1)));
	EXPECT(complained("none"));
}

IOMMU_TEST(checker, cached_entry_keeps_the_root,
	   "a detach without an invalidation of the device's entry is reported")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct page *root = page_of_va(d->pt.root);
	struct command c = command_invalidate_devtab_entry(s->devid[0]);

	clear(d, 0);
	flush(s, d, 0, 512 * 512, true);
	EXPECT(cache_checker_names(root, NULL, 0));
	fixture_run_commands(s, &c, 1);
	EXPECT(!cache_checker_names(root, NULL, 0));
}

IOMMU_TEST(checker, stale_entry_is_reported,
	   "a cached translation that differs from the tables is reported, "
	   "freed or not (B31)")
{
	struct page *page[2];
	struct domain *d = warm(s, page, 2);
	uint64_t *slot = fixture_slot(d, IO(0));

	device_checkers_look();
	EXPECT(complained("none"));
	pte_write(slot, pte_read(slot) & ~BIT(62)); /* IW */
	device_checkers_look();
	EXPECT(complained("*IOTLB*0x40000000*(rw), the tables do not"));
	flush(s, d, 0, 1, false);
	device_checkers_look();
	EXPECT(complained("none"));
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 'A');
	clear(d, 0);
	device_checkers_look();
	EXPECT(complained("*IOTLB*0x40000000*(r-), the tables do not"));
	flush(s, d, 0, 1, false);
}

/* What the IOMMU cached after the command was queued stays cached. */
IOMMU_TEST(
	checker, later_use_survives_a_flush,
	"a flush drops what was cached when it was queued, and nothing later")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	struct command c = command_invalidate_iommu_pages(
		d->id, command_range(IO(0), IO(1)), false);
	uint64_t seq;

	REQUIRE(!queue_submit(&s->iommu->queue, &c, 1, &seq));
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 'A');
	REQUIRE(!queue_wait(&s->iommu->queue, seq));
	EXPECT(cache_checker_names(page[0], NULL, 0));
}

/* ---- canaries ---------------------------------------------------------- */

IOMMU_TEST(
	checker, late_write_damages_a_canary,
	"a device's write to a page after it was freed damages its canary (O1)")
{
	struct page *page[1];
	struct domain *d = warm(s, page, 1);
	uint64_t before = canary_count();

	FIXTURE_NEEDS(s, caches);
	clear(d, 0);
	fixture_free(s, page[0]);
	EXPECT(complained("frame * is freed*"));
	EXPECT_EQ(canary_count(), before + 1);
	EXPECT(is_canary(fixture_read(s, 0, IO(0))));
	fixture_write(s, 0, IO(0) + 0x18, 'X');
	canary_release();
	EXPECT(complained("frame * was written after it was freed: offset 0x18 "
			  "holds 0x58"));
	flush(s, d, 0, 1, false);
}

IOMMU_TEST(checker, canaries_are_freed_in_turn,
	   "the oldest canary is freed when a new frame becomes one")
{
	struct page *page[4];
	struct domain *d = warm(s, page, 4);
	uint64_t free = pmm_free_pages();

	REQUIRE(!domain_unmap(d, IO(0), IO(4)));
	for (unsigned i = 0; i < 4; i++)
		fixture_free(s, page[i]);
	EXPECT(pmm_free_pages() < free + 4);
	canary_release();
	EXPECT(pmm_free_pages() >= free + 4);
	EXPECT(complained("none"));
}

/* ---- the model as a witness -------------------------------------------- */

#define WITNESSED 64u

struct witness {
	unsigned n, seen, missing;
	pa_t frame[WITNESSED];
};

/*
 * Context: the model's lock, below which the checker's lock must not be taken.
 */
static void collect(const struct model_entry *e, void *arg)
{
	struct witness *w = arg;

	if (!e->device_tlb && e->prot && w->n < WITNESSED)
		w->frame[w->n++] = e->pa;
}

/* Check that every translation cached by the model is known to the checker. */
static void compare(struct iommu_fixture *s, struct witness *w)
{
	w->n = 0;
	model_each(s->model, collect, w);
	for (unsigned i = 0; i < w->n; i++)
		w->missing +=
			!cache_checker_names(page_of_pa(w->frame[i]), NULL, 0);
	w->seen += w->n;
}

/* Map, unmap, change rights, read or write, at random. */
static void some_step(struct iommu_fixture *s, struct domain *d,
		      struct page **page, struct rng *rng)
{
	unsigned i = (unsigned)rng_below(rng, 8), n = 1 + i % 3;
	int ignored = 0;

	switch (rng_below(rng, 6)) {
	case 0:
		ignored = domain_map(d, IO(i), page_pa(page[i]), PAGE_SIZE,
				     i & 1 ? IO_RW : PROT_R);
		break;
	case 1:
		ignored = domain_unmap(d, IO(i), IO(i + n));
		break;
	case 2:
		ignored = domain_protect(d, IO(i), IO(i + n), PROT_R);
		break;
	case 3:
		fixture_write(s, (unsigned)rng_below(rng, 2), IO(i), 1 + i);
		break;
	default:
		fixture_read(s, (unsigned)rng_below(rng, 2), IO(i));
	}
	(void)ignored;
}

MODEL_TEST(checker, knows_everything_the_model_caches,
	   "the checker knows every translation that the strict model has "
	   "cached")
{
	struct rng rng = rng_seed(test_seed());
	struct domain *d = fixture_domain(s);
	struct witness w = { 0 };
	struct page *page[8];

	CHECKED_ONLY("has checkers of devices");
	fixture_attach(s, 0, d);
	fixture_attach(s, 1, d);
	for (unsigned i = 0; i < 8; i++)
		page[i] = fixture_page(s, 'A');
	for (unsigned i = 0; i < 3000; i++) {
		some_step(s, d, page, &rng);
		compare(s, &w);
	}
	EXPECT_EQ(w.missing, 0);
	EXPECT(w.seen > 3000);
	EXPECT_EQ(cache_checker_stats().evicted, 0);
	EXPECT(cache_checker_stats().dropped > 500);
}
