/* SPDX-License-Identifier: MIT */
/*
 * denied.c - a device accesses memory while its device table entry changes
 *
 * An entry has four words, and the word with V and TV is stored last: between
 * two stores the entry denies, under the new domain's id.  An IOMMU that caches
 * non-present entries (NpCache) caches under that id that nothing is mapped.
 */
#include "iommu/core/unresponsive.h"
#include "tests/fixture/iommu/iommu_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static struct {
	struct iommu_fixture *s;
	unsigned dev, reads;
} between;

/* Let the device read before its entry is complete. */
static void read_once(uint64_t devid, uint64_t word, void *arg)
{
	/* Once, under a domain's id: the result is cached. */
	if (devid != between.s->devid[between.dev] ||
	    !FIELD_GET(DTE1_DOMAIN, word) || between.reads++)
		return;
	fixture_read(between.s, between.dev, IO(0));
}

static void read_between(struct iommu_fixture *s, unsigned dev)
{
	CHECKED_ONLY("has a probe between the words of an entry");
	between.s = s;
	between.dev = dev;
	between.reads = 0;
	hook("dte_half", read_once, NULL);
}

static void has_read(void)
{
	unhook("dte_half");
	EXPECT(between.reads);
}

/* Create a domain that maps a page with 'A' at IO(0). */
static struct domain *domain_of_a_page(struct iommu_fixture *s)
{
	struct domain *d = fixture_domain(s);

	REQUIRE(!domain_map(d, IO(0), page_pa(fixture_page(s, 'A')), PAGE_SIZE,
			    IO_RW));
	return d;
}

MODEL_TEST(
	denied, attach_flushes_what_half_an_entry_left,
	"a device that accesses memory between the writes of its device table "
	"entry reaches what its domain maps once it is attached (NpCache)")
{
	struct domain *d = domain_of_a_page(s);

	read_between(s, 0);
	fixture_attach(s, 0, d);
	has_read();
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 'A');
}

MODEL_TEST(denied, detach_leaves_the_others_their_pages,
	   "a device that accesses memory between the writes of its device "
	   "table entry during a detach takes no page from other members of "
	   "its domain (NpCache)")
{
	struct domain *d = domain_of_a_page(s);

	fixture_attach(s, 0, d);
	fixture_attach(s, 1, d);
	read_between(s, 0);
	fixture_detach(s, 0);
	has_read();
	EXPECT_EQ(fixture_read(s, 1, IO(0)), 'A');
}

MODEL_TEST(denied, blocking_leaves_the_others_their_pages,
	   "a device that accesses memory between the writes of its device "
	   "table entry while it is blocked takes no page from other members "
	   "of its domain (NpCache)")
{
	struct domain *d = domain_of_a_page(s);

	fixture_attach_as(s, 0, d, ATTACH_ATS);
	fixture_attach(s, 1, d);
	model_set_ats(s->model, s->devid[0], MODEL_ATS_UNRESPONSIVE);
	read_between(s, 0);
	REQUIRE(!domain_map(d, IO(1), page_pa(fixture_page(s, 'B')), PAGE_SIZE,
			    IO_RW));
	has_read();
	EXPECT(iommu_is_unresponsive(s->iommu, s->devid[0]));
	model_set_ats(s->model, s->devid[0], MODEL_ATS_NONE);
	EXPECT_EQ(fixture_read(s, 1, IO(0)), 'A');
	EXPECT_EQ(fixture_read(s, 1, IO(1)), 'B');
	fixture_detach(s, 0);
	iommu_clear_unresponsive(s->iommu, s->devid[0]);
}
