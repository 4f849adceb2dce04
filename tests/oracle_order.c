/* SPDX-License-Identifier: MIT */
/*
 * oracle_order.c - one small automaton for each thread
 */
#include "tests/oracle_order.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/mmu_notifier.h"
#include "tests/oracle_device.h"

#define NESTED    8u
#define LISTENERS 64u

/* Key: the thread itself */
struct follow {
	uint32_t id;      /* whose it is                                */
	uint64_t cleared; /* mm of an entry that is not yet told; 0     */
	uint64_t va;      /* ... its address                            */
	bool telling;     /* inside invalidate_range                    */
	uint64_t queued;  /* the last number of its commands; 0: seen   */
	unsigned windows; /* open now                                   */
	uint64_t window[NESTED]; /* ... of these mms                       */
	bool refused;            /* the next start is none                 */
};

struct listener {
	uint64_t mm, mn;
};

static struct follow followed[THREADS_MAX];
static struct spinlock lock = SPINLOCK_INIT(RANK_ORACLE, "listeners");
static struct listener listeners[LISTENERS]; /* under lock                  */
static _Atomic unsigned n_listeners;
static _Atomic uint64_t steps;
static bool on;

/* The place belongs to whoever has the thread's; who had it before has ended. */
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

static bool listened(uint64_t mm)
{
	bool found = false;

	if (!atomic_load(&n_listeners))
		return false;
	spin_lock(&lock);
	for (unsigned i = 0; i < LISTENERS; i++)
		found |= listeners[i].mm == mm;
	spin_unlock(&lock);
	return found;
}

static struct follow *step(uint64_t mm)
{
	struct follow *f = listened(mm) ? me() : NULL;

	if (f)
		atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed);
	return f;
}

static void must_be_told(struct follow *f, const char *before)
{
	if (!f->cleared || f->telling)
		return;
	oracle_complain("order: mm %lx, the entry at %lx is cleared and nobody "
			"is told before %s",
			f->cleared, f->va, before);
	f->cleared = 0;
}

/* ---- entries ----------------------------------------------------------- */

/* pte_clear, pte_protect, pte_move, fork_shared: a window of ours is open. */
static void changes(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	/* At its exit an mm is beyond windows: release() was the last word. */
	if (!f || !atomic_load(&((struct mm *)mm)->users))
		return;
	for (unsigned i = 0; i < f->windows; i++)
		if (f->window[i] == mm)
			return;
	oracle_complain("order: mm %lx, %s of %lx outside of any window", mm,
			(const char *)name, va);
}

static void clears(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	must_be_told(f, "the next is cleared");
	f->cleared = mm;
	f->va = va;
	changes(mm, va, name);
}

static void sets(uint64_t mm, uint64_t va, void *name)
{
	struct follow *f = step(mm);

	if (f && f->cleared == mm)
		must_be_told(f, name);
}

static void told(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	f->telling = false;
	if (f->cleared == mm)
		f->cleared = 0;
	if (f->queued)
		oracle_complain("order: mm %lx, %lx is told, and completion "
				"%lu has not been seen",
				mm, start, f->queued);
	f->queued = 0;
}

static void tells(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	f->telling = true;
	f->queued = 0; /* what was queued before is not this one's */
}

/* ---- windows ----------------------------------------------------------- */

static void window_opens(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (!f)
		return;
	if (!f->refused && f->windows < NESTED)
		f->window[f->windows++] = mm;
	f->refused = false;
}

static void window_refused(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = step(mm);

	if (f)
		f->refused = true;
}

/* A window that opened before the first listener came is not on the list. */
static void window_closes(uint64_t mm, uint64_t start, void *name)
{
	struct follow *f = me();

	if (!f)
		return;
	if (f->cleared == mm)
		must_be_told(f, name);
	for (unsigned i = f->windows; i-- > 0;) {
		if (f->window[i] != mm)
			continue;
		f->window[i] = f->window[--f->windows];
		return;
	}
}

/* ---- commands and frames ----------------------------------------------- */

static void queues(uint64_t seq, uint64_t n, void *name)
{
	struct follow *f = atomic_load(&n_listeners) ? me() : NULL;

	if (f && f->telling)
		f->queued = seq;
}

void oracle_order_completed(uint64_t seq)
{
	struct follow *f = on && atomic_load(&n_listeners) ? me() : NULL;

	if (f && (int64_t)(f->queued - seq) <= 0)
		f->queued = 0;
}

void oracle_order_freed(void)
{
	struct follow *f = on && atomic_load(&n_listeners) ? me() : NULL;

	if (f)
		must_be_told(f, "a frame is freed");
}

static void frees_table(uint64_t mm, uint64_t table, void *name)
{
	struct follow *f = atomic_load(&n_listeners) ? me() : NULL;

	if (f && f->queued)
		oracle_complain("order: table %lx is freed, and completion %lu "
				"has not been seen",
				table, f->queued);
}

/* ---- who listens ------------------------------------------------------- */

static void replace(struct listener old, struct listener new)
{
	spin_lock(&lock);
	for (unsigned i = 0; i < LISTENERS; i++) {
		if (listeners[i].mm != old.mm || listeners[i].mn != old.mn)
			continue;
		listeners[i] = new;
		atomic_fetch_add(&n_listeners, (new.mm != 0) - (old.mm != 0));
		break;
	}
	spin_unlock(&lock);
}

static void joins(uint64_t mm, uint64_t mn, void *name)
{
	replace((struct listener){ 0, 0 }, (struct listener){ mm, mn });
}

static void leaves(uint64_t mm, uint64_t mn, void *name)
{
	replace((struct listener){ mm, mn }, (struct listener){ 0, 0 });
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
	{ "range", tells },
	{ "range_flushed", told },
	{ "range_started", window_opens },
	{ "range_refused", window_refused },
	{ "range_ended", window_closes },
	{ "iommu_submit", queues },
	{ "table_free", frees_table },
	{ "notifier_join", joins },
	{ "notifier_leave", leaves },
	{ "notifier_free", leaves },
	{ "release", leaves },
};

void oracle_order_open(void)
{
	memset(followed, 0, sizeof(followed));
	memset(listeners, 0, sizeof(listeners));
	atomic_store(&n_listeners, 0);
	atomic_store(&steps, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
		assert(probe_watch(watched[i].name, watched[i].fn));
	on = true;
}

void oracle_order_close(void)
{
	on = false;
	for (unsigned i = 0; i < ARRAY_SIZE(watched); i++)
		probe_watch(watched[i].name, NULL);
	for (unsigned i = 0; i < THREADS_MAX; i++)
		if (followed[i].windows)
			oracle_complain("order: thread %u ends in a window of "
					"mm %lx",
					followed[i].id, followed[i].window[0]);
}

uint64_t oracle_order_steps(void)
{
	return atomic_load(&steps);
}
