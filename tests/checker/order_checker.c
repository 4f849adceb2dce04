/* SPDX-License-Identifier: MIT */
/*
 * order_checker.c - one small automaton for each thread
 */
#include "tests/checker/order_checker.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/checker/device_checker.h"

#define NESTED    8u
#define NOTIFIERS 64u

/* Key: the thread itself */
struct follow {
	uint32_t id;           /* the thread's id                            */
	uint64_t cleared;      /* mm of an entry without notification yet; 0 */
	uint64_t va;           /* ... its address                            */
	bool notifying;        /* inside invalidate_range                    */
	uint64_t queued;       /* the last number of its commands; 0: seen   */
	uint64_t uncached;     /* a frame that no entry names; 0: none       */
	unsigned n_open;       /* open invalidations                         */
	uint64_t open[NESTED]; /* ... of these mms                       */
};

struct notifier {
	uint64_t mm, mn;
};

static struct follow followed[THREADS_MAX];
static struct spinlock lock = SPINLOCK_INIT(RANK_CHECKER, "notifiers");
static struct notifier notifiers[NOTIFIERS]; /* under lock                  */
static _Atomic unsigned n_notifiers;
static _Atomic uint64_t steps;
static bool on;

/* Return the calling thread's state.  A new thread in a slot starts afresh. */
static struct follow *me(void)
{
	struct thread *t = cpu_current();
	struct follow *f;

	if (t < threads || t >= threads + THREADS_MAX)
		return NULL; /* idle, or none yet */
	f = &followed[t - threads];
	if (f->id != t->id)
		*f = (struct follow){ .id = t->id };
	return f;
}

static bool has_notifier(uint64_t mm)
{
	bool found = false;

	if (!atomic_load(&n_notifiers))
		return false;
	spin_lock(&lock);
	for (unsigned i = 0; i < NOTIFIERS; i++)
		found |= notifiers[i].mm == mm;
	spin_unlock(&lock);
	return found;
}

static struct follow *step(uint64_t mm)
{
	struct follow *f = has_notifier(mm) ? me() : NULL;

	if (f)
		atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed);
	return f;
}

static void must_be_notified(struct follow *f, const char *before)
{
	if (!f->cleared || f->notifying)
		return;
	checker_complain(
		"order: mm %lx, the entry at %lx is cleared and not notified "
		"before %s",
		f->cleared, f->va, before);
	f->cleared = 0;
}

/* ---- entries ----------------------------------------------------------- */

/* pte_clear, pte_protect, pte_move, fork_shared: need an open invalidation. */
static void changes(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	/*
	 * During exit there are no invalidations: release() was the last
	 * callback.
	 */
	if (!f || !atomic_load(&((struct mm *)mm)->users))
		return;
	for (unsigned i = 0; i < f->n_open; i++)
		if (f->open[i] == mm)
			return;
	checker_complain("order: mm %lx, %s of %lx outside of any invalidation",
			 mm, (const char *)name, va);
}

static void clears(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	if (f->cleared != mm)
		must_be_notified(f, "one of another mm is cleared");
	f->cleared = mm;
	f->va = va;
	changes(mm, va, name);
}

static void sets(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	if (f && f->cleared == mm)
		must_be_notified(f, name);
}

static void notified(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	f->notifying = false;
	if (f->cleared == mm)
		f->cleared = 0;
	if (f->queued)
		checker_complain("order: mm %lx, %lx is notified, and "
				 "completion %lu has not been seen",
				 mm, start, f->queued);
	f->queued = 0;
}

static void notifies(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	f->notifying = true;
	f->queued = 0; /* earlier commands do not belong to this notification */
}

/* ---- invalidations ---------------------------------------------------- */

static void invalidation_starts(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	if (f->n_open < NESTED)
		f->open[f->n_open++] = mm;
}

/* An invalidation that started before the first notifier came is not listed. */
static void invalidation_ends(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = me();

	if (!f)
		return;
	if (f->cleared == mm)
		must_be_notified(f, name);
	for (unsigned i = f->n_open; i-- > 0;) {
		if (f->open[i] != mm)
			continue;
		f->open[i] = f->open[--f->n_open];
		return;
	}
}

/* ---- commands and frames ----------------------------------------------- */

static void queues(uint64_t seq, uint64_t n, void *name)
{
	struct follow *f = atomic_load(&n_notifiers) ? me() : NULL;

	if (f && f->notifying)
		f->queued = seq;
}

void order_checker_completed(uint64_t seq)
{
	struct follow *f = on && atomic_load(&n_notifiers) ? me() : NULL;

	if (f && (int64_t)(f->queued - seq) <= 0)
		f->queued = 0;
}

/* swap_uncached: the slot of an entry that was cleared has had its last user, and the
 * cache has the last reference on its frame. */
static void uncaches(uint64_t page, uint64_t swp, void *name)
{
	struct follow *f = atomic_load(&n_notifiers) ? me() : NULL;

	if (f && page_count((struct page *)page) == PAGE_REF)
		f->uncached = page;
}

void order_checker_freed(const struct page *page)
{
	struct follow *f = on && atomic_load(&n_notifiers) ? me() : NULL;

	if (!f)
		return;
	if (f->uncached == (uint64_t)page)
		f->uncached = 0;
	else
		must_be_notified(f, "a frame is freed");
}

static void frees_table(uint64_t mm, uint64_t table, void *name)
{
	struct follow *f = atomic_load(&n_notifiers) ? me() : NULL;

	if (f && f->queued)
		checker_complain(
			"order: table %lx is freed, and completion %lu "
			"has not been seen",
			table, f->queued);
}

/* ---- notifiers -------------------------------------------------------- */

static void replace(struct notifier old, struct notifier new)
{
	spin_lock(&lock);
	for (unsigned i = 0; i < NOTIFIERS; i++) {
		if (notifiers[i].mm != old.mm || notifiers[i].mn != old.mn)
			continue;
		notifiers[i] = new;
		atomic_fetch_add(&n_notifiers, (new.mm != 0) - (old.mm != 0));
		break;
	}
	spin_unlock(&lock);
}

static void joins(uint64_t mm, uint64_t mn, void *name)
{
	replace((struct notifier){ 0, 0 }, (struct notifier){ mm, mn });
}

static void leaves(uint64_t mm, uint64_t mn, void *name)
{
	replace((struct notifier){ mm, mn }, (struct notifier){ 0, 0 });
}

/* ---- the probes -------------------------------------------------------- */

static const struct {
	const char *name;
	probe_fn *fn;
} watched[] = {
	{ "pte_clear", clears },
	{ "pte_set", sets },
	{ "pte_protect", changes },
	{ "pte_move", changes },
	{ "fork_shared", changes },
	{ "change_pte", sets },
	{ "range", notifies },
	{ "range_flushed", notified },
	{ "range_started", invalidation_starts },
	{ "range_ended", invalidation_ends },
	{ "iommu_submit", queues },
	{ "swap_uncached", uncaches },
	{ "table_free", frees_table },
	{ "notifier_join", joins },
	{ "notifier_leave", leaves },
	{ "notifier_free", leaves },
	{ "release", leaves },
};

void order_checker_open(void)
{
	memset(followed, 0, sizeof(followed));
	memset(notifiers, 0, sizeof(notifiers));
	atomic_store(&n_notifiers, 0);
	atomic_store(&steps, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
		assert(probe_watch(watched[i].name, watched[i].fn));
	on = true;
}

void order_checker_close(void)
{
	on = false;
	for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
		probe_watch(watched[i].name, NULL);
	for (unsigned i = 0; i < THREADS_MAX; i++)
		if (followed[i].n_open)
			checker_complain("order: thread %u ends in an "
					 "invalidation of mm %lx",
					 followed[i].id, followed[i].open[0]);
}

uint64_t order_checker_steps(void)
{
	return atomic_load(&steps);
}
