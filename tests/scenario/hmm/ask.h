/* SPDX-License-Identifier: MIT */
/*
 * ask.h - one client of hmm_range_fault(), with one range
 *
 *	ask_begin(mm, 0, 8, HMM_PFN_REQ_FAULT);
 *	EXPECT_EQ(ask_once(), 0);
 *	... ask_pfns[0] to ask_pfns[7] ...
 *	ask_end();
 */
#pragma once

#include "mm/hmm/hmm.h"
#include "mm/rmap/block.h"
#include "tests/fake/recorder.h"

#define V  HMM_PFN_VALID
#define VW (HMM_PFN_VALID | HMM_PFN_WRITE)

extern struct watch ask_watch;
extern struct hmm_range ask_range;
extern uint64_t ask_pfns[2 * BLOCK_PAGES];

/* Make the range pages [first, first + n), all requested alike, and subscribe to it. */
void ask_begin(struct mm *mm, unsigned first, unsigned n, uint64_t request);
void ask_end(void);

/* Call hmm_range_fault() once, after a read_begin(). */
int ask_once(void);

/* Call until it is not overtaken, or was `most` times: a copy by its own fault does
 * that once a page. */
int ask_until_done(unsigned most);

/* Return report i without its frame. */
uint64_t ask_flags(unsigned i);

/* Does report i name the frame of the CPU's entry for this page? */
bool ask_same_frame(struct mm *mm, unsigned page, unsigned i);
