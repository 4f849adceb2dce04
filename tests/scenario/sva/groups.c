/* SPDX-License-Identifier: MIT */
/*
 * groups.c - page requests of one group: runs of pages that are served together
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "tests/fixture/iommu/pri.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static uint16_t tag; /* of the last group */

/* An mm of n untouched pages, device 0 bound to it. */
static struct mm *served(struct iommu_fixture *s, unsigned n)
{
	struct mm *mm = fixture_mm(s, n);

	fixture_serve(s);
	fixture_bind(s, 0, mm);
	return mm;
}

struct page_request {
	unsigned page;
	bool write;
};

/* Have device 0 ask for the n pages in one group.  Returns the answer. */
static enum ppr_status ask(struct iommu_fixture *s,
			   const struct page_request *r, unsigned n)
{
	struct pri_tally before = pri_tally(s->devid[0], ++tag % PPR_TAGS), t;

	for (unsigned i = 0; i < n; i++)
		REQUIRE(pri_send(&(struct model_ppr){ .devid = s->devid[0],
						      .tag = tag % PPR_TAGS,
						      .last = i == n - 1,
						      .read = true,
						      .write = r[i].write,
						      .user = true,
						      .iova = P(r[i].page) }) ==
			PRI_LOGGED);
	wait_event(&pri_news, !pri_unanswered());
	t = pri_tally(s->devid[0], tag % PPR_TAGS);
	if (t.answered[PPR_SUCCESS] != before.answered[PPR_SUCCESS])
		return PPR_SUCCESS;
	return t.answered[PPR_INVALID] != before.answered[PPR_INVALID]
		       ? PPR_INVALID
		       : PPR_FAILURE;
}

/* The same for n pages that follow one another. */
static enum ppr_status ask_run(struct iommu_fixture *s, unsigned first,
			       unsigned n, bool write)
{
	struct page_request r[PPR_GROUP_MAX];

	for (unsigned i = 0; i < n; i++)
		r[i] = (struct page_request){ first + i, write };
	return ask(s, r, n);
}

/* Return the rights of device 0 on page i. */
static enum prot rights(unsigned i)
{
	enum prot prot;
	pa_t pa;

	return domain_lookup(fixture_binding(0)->domain, P(i), &pa, &prot)
		       ? prot
		       : PROT_NONE;
}

static uint64_t flushes(void)
{
	return fixture_binding(0)->domain->flushes;
}

USER_TEST(groups, run_has_one_flush,
	  "sixteen pages that follow one another are mapped with one flush; "
	  "the CPU reads what the device writes to them")
{
	struct mm *mm = served(s, 16);
	uint64_t before = flushes();

	REQUIRE(s->iommu->np_cache);
	EXPECT_EQ(ask_run(s, 0, 16, true), PPR_SUCCESS);
	EXPECT_EQ(flushes() - before, 1);
	for (unsigned i = 0; i < 16; i++) {
		fixture_write(s, 0, P(i), 'A' + i);
		EXPECT_EQ(rd(mm, P(i)), 'A' + i);
	}
}

USER_TEST(groups, bad_page_in_the_middle,
	  "a page that may not be written ends its group: the pages before it "
	  "are the device's, also those that it has found absent, the pages "
	  "after it are not touched (B52, B53)")
{
	struct mm *mm = served(s, 5);

	EXPECT_EQ(fixture_read(s, 0, P(0)), BLOCKED);
	REQUIRE(!mm_protect(mm, P(2), P(3), PROT_R));
	EXPECT_EQ(ask_run(s, 0, 5, true), PPR_INVALID);
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(rights(i), i < 2 ? PROT_R | PROT_W : PROT_NONE);
	EXPECT_EQ(entry_at(mm, P(2)), 0);
	EXPECT_EQ(entry_at(mm, P(3)), 0);
	fixture_write(s, 0, P(0), 'A');
	EXPECT_EQ(rd(mm, P(0)), 'A');
}

USER_TEST(groups, reads_and_writes_mixed,
	  "each page of a group gets the access that was requested for it")
{
	static const struct page_request r[] = {
		{ 0, false }, { 1, false }, { 2, true },
		{ 3, true },  { 4, false },
	};
	struct mm *mm = served(s, 5);

	EXPECT_EQ(ask(s, r, ARRAY_SIZE(r)), PPR_SUCCESS);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(rights(i),
			  r[i].write ? PROT_R | PROT_W : (unsigned)PROT_R);
		EXPECT_EQ(entry_page(entry_at(mm, P(i))) == zero_page,
			  !r[i].write);
	}
}

USER_TEST(groups, end_of_a_region,
	  "a group that reaches past the end of a region is INVALID, and its "
	  "pages in the region are mapped")
{
	served(s, 4);
	EXPECT_EQ(ask_run(s, 2, 4, true), PPR_INVALID);
	EXPECT_EQ(rights(1), PROT_NONE);
	EXPECT_EQ(rights(2), PROT_R | PROT_W);
	EXPECT_EQ(rights(3), PROT_R | PROT_W);
	EXPECT_EQ(ask_run(s, 0, 4, true), PPR_SUCCESS);
	EXPECT_EQ(rights(0), PROT_R | PROT_W);
}

USER_TEST(groups, page_twice,
	  "a page may be requested twice in one group, and when it is mapped")
{
	static const struct page_request r[] = {
		{ 1, true }, { 1, true },  { 0, true },
		{ 1, true }, { 2, false },
	};

	served(s, 4);
	EXPECT_EQ(ask(s, r, ARRAY_SIZE(r)), PPR_SUCCESS);
	EXPECT_EQ(ask_run(s, 0, 4, true), PPR_SUCCESS);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rights(i), PROT_R | PROT_W);
}

/* ---- memory ------------------------------------------------------------------ */

static struct {
	unsigned n; /* allocation of the group that fails */
	bool failed;
} starved;

static void starve(uint64_t va, uint64_t access, void *arg)
{
	inject_arm(starved.n);
}

static void feed(uint64_t devid, uint64_t status, void *arg)
{
	starved.failed = inject_disarm();
}

USER_TEST(groups, without_memory,
	  "when any allocation of a group fails it is INVALID, or was tried "
	  "again; what is mapped is true, and the next group succeeds")
{
	struct mm *mm = served(s, 8);

	hook("ppr_fault", starve, NULL);
	hook("ppr_answer", feed, NULL);
	starved.failed = true;
	for (starved.n = 1; starved.failed; starved.n++) {
		enum ppr_status status;

		REQUIRE(!mm_discard(mm, P(0), P(8)));
		status = ask_run(s, 0, 8, true);
		EXPECT(status == PPR_SUCCESS || starved.failed);
		EXPECT(status == PPR_SUCCESS || status == PPR_INVALID);
		/* A mirror tries page by page, and only one allocation fails. */
		EXPECT(status == PPR_SUCCESS || fixture_kind() == USER_SVA);
		EXPECT_STR_NULL(fixture_check(0));
		for (unsigned i = 0; i < 8; i++)
			EXPECT(status != PPR_SUCCESS || rights(i));
	}
	EXPECT(starved.n > 8);
	unhook("ppr_fault");
	unhook("ppr_answer");
}

/* ---- mirrors ----------------------------------------------------------------- */

static void unmap_page(uint64_t shadow, uint64_t va, void *arg)
{
	unhook("shadow_looked");
	EXPECT(!mm_unmap(arg, P(2), P(3)));
}

IOMMU_TEST(groups, unmap_between_look_and_map,
	   "a page of a group that is unmapped after the mirror has looked at "
	   "it does not get into the mirror, and the group is INVALID (B21)")
{
	struct mm *mm = fixture_mm(s, 4);

	fixture_serve(s);
	fixture_bind_mirror(s, 0, mm);
	hook("shadow_looked", unmap_page, mm);
	EXPECT_EQ(ask_run(s, 0, 4, true), PPR_INVALID);
	EXPECT_EQ(rights(1), PROT_R | PROT_W);
	EXPECT_EQ(rights(2), PROT_NONE);
	EXPECT_EQ(rights(3), PROT_NONE);
}

IOMMU_TEST(groups, mirrored_page_is_dirty,
	   "a page that a group has made writable for a device with a table of "
	   "its own counts as dirty, one that is read-only does not (B33)")
{
	struct mm *mm = fixture_mm(s, 4);

	mm_bind(mm);
	for (unsigned i = 0; i < 4; i++)
		REQUIRE(!wr(mm, P(i), 'A'));
	mm_bind(NULL);
	for (unsigned i = 0; i < 4; i++)
		page_clear(entry_page(entry_at(mm, P(i))), PG_DIRTY);
	REQUIRE(!mm_protect(mm, P(2), P(4), PROT_R));
	fixture_serve(s);
	fixture_bind_mirror(s, 0, mm);
	EXPECT_EQ(ask_run(s, 0, 4, false), PPR_SUCCESS);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(page_test(entry_page(entry_at(mm, P(i))), PG_DIRTY),
			  i < 2);
}

IOMMU_TEST(groups, huge_page_is_mirrored_whole,
	   "a group inside of a page of 2 MiB has the mirror map all of it")
{
	struct mm *mm = fixture_mm(s, N);

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	mm_bind(mm);
	REQUIRE(!wr(mm, P(0), 'A'));
	mm_bind(NULL);
	REQUIRE(entry_huge(entry_at(mm, P(0))));
	fixture_serve(s);
	fixture_bind_mirror(s, 0, mm);
	EXPECT_EQ(ask_run(s, 3, 4, true), PPR_SUCCESS);
	EXPECT_EQ(rights(N - 1), PROT_R | PROT_W);
}
