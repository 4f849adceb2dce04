/* SPDX-License-Identifier: MIT */
/*
 * ksm_world.c - spaces whose pages may be merged
 */
#include "tests/ksm_world.h"
#include "mm/entry.h"

struct mm *ksm_world(unsigned n)
{
	struct mm *mm = world(n);

	REQUIRE(ksm_mergeable(mm, VA, P(n)) == 0);
	return mm;
}

struct mm *ksm_equal(unsigned n, uint64_t v)
{
	struct mm *mm = ksm_world(n);

	for (unsigned i = 0; i < n; i++)
		wr(mm, P(i), v);
	return mm;
}

void ksm_pass(void *ret)
{
	*(int *)ret = ksm_full_scan();
}

static struct page *held;

static void hold_frame(uint64_t of, uint64_t va, void *mm)
{
	if (of != (uint64_t)mm || va != P(1) || held)
		return;
	held = entry_page(
		pte_read(pt_slot(&((struct mm *)mm)->pt, va, 0, false)));
	page_get(held);
}

struct page *ksm_scan_held(struct mm *mm, const char *step)
{
	held = NULL;
	hook(step, hold_frame, mm);
	ksm_scans(1);
	unhook(step);
	return held;
}

struct ksm_stat ksm_now(void)
{
	struct ksm_stat stat;

	ksm_stat(&stat);
	return stat;
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
