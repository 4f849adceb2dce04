/* SPDX-License-Identifier: MIT */
/*
 * moving.h - a frame whose content is on the way to another frame
 *
 * PG_MOVING is set in both frames of a migration (mm/rmap/migrate.h).  A thread
 * that wants the content waits until it is clear, and then looks again where it is.  The
 * wait needs no reference on the frame: one reference more would make the migration
 * fail.
 */
#pragma once

#include "mm/frame/page.h"

void moving_init(void);

/* Set PG_MOVING.  Returns false if it was set: another thread moves the page.  Any
 * context. */
must_check static inline bool moving_begin(struct page *page)
{
	return !(atomic_fetch_or_explicit(&page->flags, PG_MOVING,
					  memory_order_relaxed) &
		 PG_MOVING);
}

/* Clear PG_MOVING, a release, and wake the waiting threads.  Context: any. */
void moving_end(struct page *page);

/* Do the two parts of moving_end() apart: for many pages, and one wake-up after them.
 * Context: any. */
void moving_clear(struct page *page);
void moving_wake(void);

/* Return whether the frame is on the way.  If not, what was stored before
 * moving_end() is visible. */
static inline bool page_moving(const struct page *page)
{
	bool moving = page_test(page, PG_MOVING);

	atomic_thread_fence(memory_order_acquire);
	return moving;
}

/* Wait until the frame, on which the caller needs no reference, is not on the way.
 * Context: may sleep. */
void moving_wait(struct page *page);
