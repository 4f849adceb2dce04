/* SPDX-License-Identifier: MIT */
/*
 * ask.c - one client of hmm_range_fault()
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/scenario/hmm/ask.h"

struct watch ask_watch;
struct hmm_range ask_range;
uint64_t ask_pfns[2 * BLOCK_PAGES];

void ask_begin(struct mm *mm, unsigned first, unsigned n, uint64_t request)
{
	watch(&ask_watch, mm, first, n);
	ask_range = (struct hmm_range){ .notifier = &ask_watch.mni,
					.start = P(first),
					.end = P(first + n),
					.hmm_pfns = ask_pfns,
					.default_flags = request };
	memset(ask_pfns, 0, sizeof(ask_pfns));
}

void ask_end(void)
{
	mmu_interval_notifier_remove(&ask_watch.mni);
}

int ask_once(void)
{
	ask_range.notifier_seq = mmu_interval_read_begin(&ask_watch.mni);
	return hmm_range_fault(&ask_range);
}

int ask_until_done(unsigned most)
{
	int ret;

	do
		ret = ask_once();
	while (ret == -EBUSY && most--);
	return ret;
}

uint64_t ask_flags(unsigned i)
{
	return ask_pfns[i] & ~HMM_PFN_FRAME;
}

bool ask_same_frame(struct mm *mm, unsigned page, unsigned i)
{
	return hmm_pfn(ask_pfns[i]) ==
	       (entry_at(mm, P(page)) & PTE_ADDR) >> PAGE_SHIFT;
}
