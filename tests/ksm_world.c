/* SPDX-License-Identifier: MIT */
/*
 * ksm_world.c - spaces whose pages may be merged
 */
#include "tests/ksm_world.h"

struct mm *ksm_world(unsigned n)
{
	struct mm *mm = world(n);

	REQUIRE(ksm_mergeable(mm, VA, P(n)) == 0);
	return mm;
}

void ksm_scans(unsigned n)
{
	while (n--)
		EXPECT_EQ(ksm_full_scan(), 0);
}

bool same_frame(struct mm *a, va_t va, struct mm *b, va_t vb)
{
	struct page *p = page_at(a, va), *q = page_at(b, vb);
	bool same = p && p == q;

	if (p)
		page_put(p);
	if (q)
		page_put(q);
	return same;
}

bool is_merged(struct mm *mm, va_t va)
{
	struct page *page = page_at(mm, va);
	bool merged = page && page_kind(page) == PAGE_KSM;

	if (page)
		page_put(page);
	return merged;
}

void ksm_knobs_reset(void)
{
	ksm_knobs = (struct ksm_knobs)KSM_KNOBS_DEFAULT;
}
