/* SPDX-License-Identifier: MIT */
/*
 * moving.c - wait for the end of a migration
 */
#include "mm/frame/moving.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"

static struct waitq wake; /* a frame is no longer on the way */

void moving_init(void)
{
	waitq_init(&wake);
}

void moving_clear(struct page *page)
{
	atomic_fetch_and_explicit(&page->flags, ~PG_MOVING,
				  memory_order_release);
}

void moving_wake(void)
{
	wake_all(&wake);
}

void moving_end(struct page *page)
{
	moving_clear(page);
	moving_wake();
}

void moving_wait(struct page *page)
{
	require(may_sleep());
	PROBE(moving_wait, page, 0);
	wait_event(&wake, !page_moving(page));
}
