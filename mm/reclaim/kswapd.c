/* SPDX-License-Identifier: MIT */
/*
 * kswapd.c - the thread that keeps some memory free
 *
 * An allocation that leaves few frames sets `low` and wakes the queue; the thread clears it
 * before it counts, so that no wake-up is lost.
 */
#include "mm/reclaim/kswapd.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"
#include "mm/frame/pmm.h"
#include "mm/reclaim/reclaim.h"

static struct {
	struct rwsem run_lock; /* RANK_KSWAPD: start and stop              */
	struct thread *thread; /* run_lock                                 */
	uint64_t high;         /* set before the thread begins             */
	struct waitq queue;
	_Atomic bool low, stop;
	_Atomic uint64_t wakes, freed, fails;
} kswapd;

void kswapd_init(void)
{
	rw_init(&kswapd.run_lock, RANK_KSWAPD, "kswapd");
	waitq_init(&kswapd.queue);
}

/* Few frames are left: for pmm_watch_low(). */
static void wake(void)
{
	if (!atomic_exchange(&kswapd.low, true))
		wake_all(&kswapd.queue);
}

/* Swap pages out until enough is free.  Returns false if none can be. */
static bool refill(void)
{
	require(may_sleep());
	while (!kswapd.stop && pmm_free_pages() < kswapd.high) {
		unsigned n = reclaim_any(RECLAIM_BATCH);

		if (!n)
			return false;
		kswapd.freed += n;
	}
	return true;
}

static void kswapd_main(void *arg)
{
	(void)arg;
	while (!kswapd.stop) {
		wait_event(&kswapd.queue, kswapd.stop || kswapd.low);
		kswapd.low = false;
		if (kswapd.stop)
			break;
		kswapd.wakes++;
		PROBE(kswapd_begin, pmm_free_pages(), kswapd.high);
		if (refill())
			continue;
		kswapd.fails++;
		wait_event_until(&kswapd.queue, kswapd.stop,
				 clock_ns() + KSWAPD_REST_NS);
	}
}

/* Do kswapd_start() under the lock. */
static int start(uint64_t low, uint64_t high)
{
	require(rw_held_write(&kswapd.run_lock));
	if (kswapd.thread)
		return err(EBUSY);
	kswapd.high = high;
	kswapd.stop = false;
	kswapd.thread = thread_create("kswapd", kswapd_main, NULL);
	if (!kswapd.thread)
		return err(ENOMEM);
	pmm_watch_low(low, wake);
	return 0;
}

int kswapd_start(uint64_t low, uint64_t high)
{
	int ret;

	require(may_sleep() && locks_below(RANK_KSWAPD));
	if (!low || low >= high || high > pmm_total())
		return err(EINVAL);
	if (!rw_write_trylock(&kswapd.run_lock))
		return err(EBUSY);
	ret = start(low, high);
	rw_write_unlock(&kswapd.run_lock);
	return ret;
}

void kswapd_stop(void)
{
	require(may_sleep() && locks_below(RANK_KSWAPD));
	rw_write_lock(&kswapd.run_lock);
	if (kswapd.thread) {
		pmm_watch_low(0, wake);
		kswapd.stop = true;
		wake_all(&kswapd.queue);
		thread_join(kswapd.thread);
		kswapd.thread = NULL;
	}
	rw_write_unlock(&kswapd.run_lock);
}

void kswapd_stat(struct kswapd_stat *stat)
{
	*stat = (struct kswapd_stat){ kswapd.wakes, kswapd.freed,
				      kswapd.fails };
}
