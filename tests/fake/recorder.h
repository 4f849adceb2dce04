/* SPDX-License-Identifier: MIT */
/*
 * recorder.h - the notifiers of the notifier scenarios
 *
 *   recorder  records every call as text
 *   watch     an interval notifier that keeps one word of its range
 */
#pragma once

#include "kernel/string.h"
#include "mm/notifier/interval_notifier.h"
#include "tests/fixture/mm/mm_fixture.h"

/* mm_fixture(n) with 100 + i written to page i. */
struct mm *written(unsigned n);

/* Discard pages [from, to): one invalidation, and no page stays mapped. */
void change(struct mm *mm, unsigned from, unsigned to);

/* The same of page 0, for spawn(). */
void discard_first(void *mm);

/* ---- recorder ----------------------------------------------------------- */

#define SCRIPT 1000

/*
 * Every call, in order, pages counted from VA:
 *
 *	"start clear 0-1; range 0-1; change 0; end 0-1; "
 *
 * with start's event (unmap, clear, vma, page), flush_young, clear_young,
 * test_young and release; "late" is a range outside pt_lock.  It also counts open
 * invalidations, and calls that must not be made.
 */
struct recorder {
	struct mmu_notifier mn;
	struct spinlock lock; /* RANK_DEVICE: the text                      */
	char text[SCRIPT];
	size_t len;
	int open; /* starts without end                       */
	unsigned starts, ends, ranges, releases;
	unsigned wrong; /* an end too many, anything after release  */
	bool refuses;   /* -EAGAIN to a nonblocking start           */
	bool young;     /* what it answers                          */
	bool freed;
	/* Runs inside start, before it is written down; may sleep. */
	void (*in_start)(struct recorder *r, const struct mmu_notifier_range *);
	void (*in_release)(struct recorder *r);
	void *arg;
};

/* Every callback / all but invalidate_range_end. */
extern const struct mmu_notifier_ops recorder_ops, recorder_no_end_ops;

void recorder_init(struct recorder *r, const struct mmu_notifier_ops *ops);

/* recorder_init() with every callback, and register; fails the test if not. */
void record(struct recorder *r, struct mm *mm);

/* Unregister, and expect that every invalidation has ended. */
void record_end(struct recorder *r);

/* What was heard since the last call, for EXPECT_RECORDED. */
const char *recorded(struct recorder *r);

#define EXPECT_RECORDED(r, want)                                            \
	do {                                                                \
		const char *got_ = recorded(r);                             \
		if (strcmp(got_, want))                                     \
			test_fail(__FILE__, __LINE__,                       \
				  "heard \"%s\", want \"%s\"", got_, want); \
	} while (0)

/* ---- watch -------------------------------------------------------------- */

struct sync_point;

struct watch {
	struct mmu_interval_notifier mni;
	struct spinlock lock; /* RANK_DOMAIN                               */
	uint64_t copy;        /* of what it looked up; 0: none             */
	bool valid;           /* the flag of 2019, with its bug            */
	unsigned notified;
	enum mmu_notifier_event event;
	bool refuses; /* a nonblocking invalidation                   */
	struct sync_point
		*sync_point; /* of the callback                              */
};

extern const struct mmu_interval_notifier_ops watch_ops;

/* Listen to n pages from VA + first pages on; fails the test if it cannot. */
void watch(struct watch *w, struct mm *mm, unsigned first, unsigned n);

/* Begin an invalidation of pages [from, to).  Context: mm->lock held. */
void invalidation_begin(struct mmu_notifier_range *range, struct mm *mm,
			unsigned from, unsigned to);
