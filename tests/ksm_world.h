/* SPDX-License-Identifier: MIT */
/*
 * ksm_world.h - spaces whose pages may be merged, for scenarios of KSM
 *
 * A page whose first word was written is equal to any other with that word: the
 * rest is zero.  Two full scans make equal pages one: the first computes the
 * checksums, the second believes them.
 */
#pragma once

#include "mm/ksm.h"
#include "tests/gate.h"
#include "tests/world.h"

/* world(n), all of it mergeable. */
struct mm *ksm_world(unsigned n);

/* The same with v in each page: all equal. */
struct mm *ksm_equal(unsigned n, uint64_t v);

/* n full scans, none of which may fail. */
void ksm_scans(unsigned n);

/* One, for spawn(); *ret is what came of it. */
void ksm_pass(void *ret);

/*
 * A full scan during which, at a step of P(1) under pt_lock, somebody gets hold
 * of that page's frame, as by a pin that was begun before.  It is his, with a
 * reference, or NULL if the step did not come.
 */
struct page *ksm_scan_held(struct mm *mm, const char *step);

/* ksm_stat(), as a value. */
struct ksm_stat ksm_now(void);

/* Do both addresses lead to one frame?  It is merged, then. */
bool same_frame(struct mm *a, va_t va, struct mm *b, va_t vb);
bool is_merged(struct mm *mm, va_t va);

/* The four numbers that every page is in exactly one of. */
#define EXPECT_KSM(shared, sharing, unshared, volatile_) \
	do {                                             \
		struct ksm_stat s_;                      \
		ksm_stat(&s_);                           \
		EXPECT_EQ(s_.pages_shared, shared);      \
		EXPECT_EQ(s_.pages_sharing, sharing);    \
		EXPECT_EQ(s_.pages_unshared, unshared);  \
		EXPECT_EQ(s_.pages_volatile, volatile_); \
	} while (0)

/* The oracle, in the middle of a test. */
#define EXPECT_KSM_SOUND() EXPECT_STR_NULL(ksm_check())

/* The knobs are as they were at boot again. */
void ksm_knobs_reset(void);
