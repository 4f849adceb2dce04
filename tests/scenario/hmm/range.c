/* SPDX-License-Identifier: MIT */
/*
 * range.c - hmm_range_fault(): what it reports of each kind of entry, and what it faults
 * (C59)
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/rmap/huge_zero.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"
#include "tests/scenario/hmm/ask.h"

#define ERR HMM_PFN_ERROR

static void count(uint64_t mm, uint64_t va, void *times)
{
	++*(unsigned *)times;
}

/* ---- every kind of entry (C59) --------------------------------------------- */

enum kind {
	HOLE,
	ZERO,
	EXCLUSIVE,
	SHARED,
	EVICTED,
	SWAPPED,
	NO_RIGHTS, /* a page in a region of PROT_NONE                      */
	READ_HOLE, /* nothing in a region of PROT_R                        */
	READ_PAGE, /* a page in a region of PROT_R                         */
	NO_REGION,
	KINDS
};

/* A report after a snapshot; a result and report after a request to fault, to write. */
static const struct {
	const char *name;
	uint64_t snapshot;
	int fault;
	uint64_t faulted;
	int write;
} expected[KINDS] = {
	[HOLE] = { "hole", 0, 0, V, 0 },
	[ZERO] = { "zero page", V, 0, V, 0 },
	[EXCLUSIVE] = { "exclusive", VW, 0, VW, 0 },
	[SHARED] = { "shared", V, 0, V, 0 },
	[EVICTED] = { "evicted", 0, 0, VW, 0 },
	[SWAPPED] = { "swapped", 0, 0, VW, 0 },
	[NO_RIGHTS] = { "no rights", ERR, -EFAULT, 0, -EFAULT },
	[READ_HOLE] = { "read-only hole", 0, 0, V, -EPERM },
	[READ_PAGE] = { "read-only page", V, 0, V, -EPERM },
	[NO_REGION] = { "no region", ERR, -EFAULT, 0, -EFAULT },
};

/* Make page i of the first KINDS pages the i-th kind.  *child shares one of them. */
static struct mm *kinds(struct mm **child)
{
	struct mm *mm = swap_fixture(8, KINDS);
	struct page *page;

	*child = fork_of(mm);
	for (unsigned i = 0; i < KINDS; i++)
		if (i != SHARED)
			REQUIRE(!wr(mm, P(i), 10 + i));
	change(mm, HOLE, ZERO + 1);
	change(mm, READ_HOLE, READ_HOLE + 1);
	EXPECT_EQ(rd(mm, P(ZERO)), 0);
	page = page_at(mm, P(EVICTED));
	REQUIRE(!try_to_unmap(page));
	page_put(page);
	swap_out_pages(mm, SWAPPED, 1);
	REQUIRE(!mm_protect(mm, P(NO_RIGHTS), P(NO_RIGHTS + 1), PROT_NONE));
	REQUIRE(!mm_protect(mm, P(READ_HOLE), P(READ_PAGE + 1), PROT_R));
	REQUIRE(!mm_unmap(mm, P(NO_REGION), P(NO_REGION + 1)));
	return mm;
}

static void kinds_done(struct mm *mm, struct mm *child)
{
	mm_put(mm);
	mm_put(child);
	swap_fixture_end();
}

TEST(hmm, snapshot_reports_and_changes_nothing,
     "a snapshot reports frame and rights of each kind of entry, with one "
     "call, and leaves every entry as it was (C59)")
{
	struct mm *child, *mm = kinds(&child);
	uint64_t before[KINDS], mapped = mm->mapped;

	ask_begin(mm, 0, KINDS, 0);
	for (unsigned i = 0; i < KINDS; i++) {
		before[i] = entry_at(mm, P(i));
		ask_pfns[i] = VW; /* no request: the mask is 0 */
	}
	EXPECT_EQ(ask_once(), 0);
	for (unsigned i = 0; i < KINDS; i++) {
		if (ask_flags(i) != expected[i].snapshot)
			test_fail(__FILE__, __LINE__, "%s: %lx",
				  expected[i].name, ask_pfns[i]);
		EXPECT(!(ask_pfns[i] & V) || ask_same_frame(mm, i, i));
		EXPECT_EQ(entry_at(mm, P(i)), before[i]);
	}
	EXPECT_EQ(mm->mapped, mapped);
	EXPECT_EQ(ask_watch.notified, 0);
	EXPECT_EQ(swap_fixture_reads(), 0);
	ask_end();
	kinds_done(mm, child);
}

/* Request one kind of page alone; expect result and report. */
static void request_kind(enum kind kind, uint64_t request, int result,
			 uint64_t report)
{
	struct mm *child, *mm = kinds(&child);
	int ret;

	ask_begin(mm, kind, 1, request);
	ret = ask_until_done(2);
	if (ret != result || (!ret && ask_flags(0) != report))
		test_fail(__FILE__, __LINE__, "%s, request %lx: %d, %lx",
			  expected[kind].name, request, ret, ask_pfns[0]);
	EXPECT(ret || ask_same_frame(mm, kind, 0));
	ask_end();
	kinds_done(mm, child);
}

TEST(hmm, request_faults_what_a_fault_can_map,
     "a request to fault makes each kind of entry readable, or tells with "
     "-EFAULT that no access can reach the page (C59)")
{
	for (enum kind k = 0; k < KINDS; k++)
		request_kind(k, HMM_PFN_REQ_FAULT, expected[k].fault,
			     expected[k].faulted);
}

TEST(hmm, request_to_write_makes_writable,
     "a request to write makes each kind of entry writable, or tells with "
     "-EPERM that the region is read-only (C59)")
{
	for (enum kind k = 0; k < KINDS; k++)
		request_kind(k, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
			     expected[k].write, VW);
}

TEST(hmm, write_alone_is_no_request,
     "HMM_PFN_REQ_WRITE without HMM_PFN_REQ_FAULT requests nothing")
{
	struct mm *mm = mm_fixture(1);

	ask_begin(mm, 0, 1, HMM_PFN_REQ_WRITE);
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(ask_pfns[0], 0);
	EXPECT_EQ(entry_at(mm, P(0)), 0);
	ask_end();
	mm_put(mm);
}

TEST(hmm, pages_are_requested_one_by_one,
     "where the mask lets the requests of single pages through, only these "
     "pages are faulted in, and each as it was requested")
{
	struct mm *mm = mm_fixture(8);

	ask_begin(mm, 0, 8, 0);
	ask_range.pfn_flags_mask = VW;
	ask_pfns[2] = HMM_PFN_REQ_FAULT;
	ask_pfns[5] = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	EXPECT_EQ(ask_once(), 0);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(ask_flags(i), i == 2 ? V : i == 5 ? VW : 0);
	EXPECT_EQ(mm->mapped, 1); /* the zero page counts nowhere */
	ask_end();
	mm_put(mm);
}

TEST(hmm, hole_without_a_table_is_reported,
     "pages of a region for which there is no table yet are reported too, "
     "before and after one that is there")
{
	struct mm *mm = mm_fixture(3 * N);

	REQUIRE(!wr(mm, P(N + 3), 1));
	ask_begin(mm, N - 2, N + 4, 0);
	for (unsigned i = 0; i < N + 4; i++)
		ask_pfns[i] = HMM_PFN_ERROR;
	EXPECT_EQ(ask_once(), 0);
	for (unsigned i = 0; i < N + 4; i++)
		EXPECT_EQ(ask_flags(i), i == 5 ? VW : 0);
	EXPECT(ask_same_frame(mm, N + 3, 5));
	ask_end();
	mm_put(mm);
}

TEST(hmm, only_what_lacks_is_faulted,
     "holes one after another are faulted in by one walk; a page that is "
     "there is neither faulted nor walked twice")
{
	struct mm *mm = mm_fixture(8);
	unsigned faults = 0, walks = 0;

	REQUIRE(!wr(mm, P(3), 1));
	ask_begin(mm, 0, 8, VW);
	hook("hmm_fault", count, &faults);
	hook("hmm_walked", count, &walks);
	EXPECT_EQ(ask_once(), 0);
	unhook("hmm_fault");
	unhook("hmm_walked");
	EXPECT_EQ(faults, 7);
	EXPECT_EQ(walks, 3); /* before each run of holes, and the last one */
	ask_end();
	mm_put(mm);
}

TEST(hmm, pages_before_an_error_are_reported,
     "at a page that cannot be had the call ends: the pages before it are "
     "reported, it and those after it hold what the caller wrote")
{
	struct mm *mm = mm_fixture(6);

	REQUIRE(!mm_unmap(mm, P(3), P(4)));
	ask_begin(mm, 0, 6, HMM_PFN_REQ_FAULT);
	for (unsigned i = 0; i < 6; i++)
		ask_pfns[i] = 77;
	EXPECT_EQ(ask_once(), -EFAULT);
	for (unsigned i = 0; i < 6; i++)
		EXPECT(i < 3 ? ask_flags(i) == V && ask_same_frame(mm, i, i)
			     : ask_pfns[i] == 77);
	ask_end();
	mm_put(mm);
}

TEST(hmm, bad_range_is_refused,
     "a range that is empty, unaligned or not inside the notifier's interval "
     "is refused, and no report is written")
{
	struct mm *mm = mm_fixture(8);
	static const struct {
		va_t start, end;
	} bad[] = {
		{ P(2), P(2) },     { P(3), P(2) },         { P(2) + 8, P(4) },
		{ P(2), P(4) + 8 }, { P(1), P(4) },         { P(2), P(7) },
		{ 0, P(4) },        { P(2), ~UINT64_C(0) },
	};

	ask_begin(mm, 2, 4, HMM_PFN_REQ_FAULT);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ask_range.start = bad[i].start;
		ask_range.end = bad[i].end;
		ask_pfns[0] = 77;
		EXPECT_EQ(ask_once(), -EINVAL);
		EXPECT_EQ(ask_pfns[0], 77);
	}
	ask_end();
	mm_put(mm);
}

/* ---- pages of 2 MiB ----------------------------------------------------------- */

/* Do n reports from i on say that one entry of 2 MiB maps them, from page `part` on? */
static bool reported_huge(struct mm *mm, unsigned i, unsigned n, unsigned part)
{
	uint64_t head = pfn_of(huge_head(mm));

	for (unsigned k = 0; k < n; k++)
		if (ask_pfns[i + k] !=
		    (VW | FIELD_PREP(HMM_PFN_ORDER, BLOCK_ORDER) |
		     (head + part + k)))
			return false;
	return true;
}

TEST(hmm, huge_pages_tell_their_order,
     "the pages of an entry of 2 MiB are reported with order 9 and their own "
     "frames, also by a range that begins or ends inside it")
{
	struct mm *mm = huge_filled();

	ask_begin(mm, 0, N, 0);
	EXPECT_EQ(ask_once(), 0);
	EXPECT(reported_huge(mm, 0, N, 0));
	ask_end();
	ask_begin(mm, 100, N, 0);
	EXPECT_EQ(ask_once(), 0);
	EXPECT(reported_huge(mm, 0, N - 100, 100));
	for (unsigned i = N - 100; i < N; i++)
		EXPECT_EQ(ask_pfns[i], 0);
	ask_end();
	mm_put(mm);
}

TEST(hmm, split_entry_has_order_0,
     "after a split the same frames are reported, with order 0")
{
	struct mm *mm = huge_filled();
	uint64_t head = pfn_of(huge_head(mm));

	huge_split_at(mm, P(7));
	ask_begin(mm, 0, N, 0);
	EXPECT_EQ(ask_once(), 0);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(ask_pfns[i], VW | (head + i));
	ask_end();
	mm_put(mm);
}

TEST(hmm, fault_makes_a_huge_page,
     "a request to write in a region that wants huge pages makes one, and "
     "reports all of it after one fault")
{
	struct mm *mm = huge_fixture();
	unsigned faults = 0;

	ask_begin(mm, 0, N, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	hook("hmm_fault", count, &faults);
	EXPECT_EQ(ask_once(), 0);
	unhook("hmm_fault");
	EXPECT_EQ(faults, 1);
	EXPECT(entry_huge(entry_at(mm, VA)));
	EXPECT(reported_huge(mm, 0, N, 0));
	ask_end();
	mm_put(mm);
}

TEST(hmm, zeroes_tell_their_order,
     "a request to read maps the block of zeroes by one fault, reports it with "
     "its order and without W; a request to write replaces it by a page")
{
	struct mm *mm = huge_fixture();
	unsigned faults = 0;
	uint64_t first;

	ask_begin(mm, 0, N, HMM_PFN_REQ_FAULT);
	hook("hmm_fault", count, &faults);
	EXPECT_EQ(ask_once(), 0);
	EXPECT_EQ(faults, 1);
	first = pfn_of(huge_zero) | HMM_PFN_VALID |
		FIELD_PREP(HMM_PFN_ORDER, 9);
	for (unsigned i = 0; i < N; i++)
		EXPECT_EQ(ask_pfns[i], first + i);
	ask_end();
	ask_begin(mm, 0, N, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	EXPECT_EQ(ask_once(), -EBUSY); /* the replacement is a change */
	ask_end();
	ask_begin(mm, 0, N, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	EXPECT_EQ(ask_once(), 0);
	unhook("hmm_fault");
	EXPECT_EQ(faults, 2);
	EXPECT(reported_huge(mm, 0, N, 0));
	EXPECT(huge_head(mm) != huge_zero);
	ask_end();
	mm_put(mm);
}
