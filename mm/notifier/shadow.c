/* SPDX-License-Identifier: MIT */
/*
 * shadow.c - count of open invalidations, sequence, fill with retry
 *
 * Why the copy of an entry is true although it is old when it is made: no
 * invalidation over its page was open at any time from the read of the sequence
 * to the map.  Every change that takes a page or a right has one
 * (mm/notifier/MMU_NOTIFIER.md).  One that is open at retry() is counted, whenever it
 * opened: begin() takes no lock and may miss it; what it sees it waits for, instead of
 * trying over and over.  One that has ended since begin() moved the sequence.  One that
 * ended before has changed the entry that look() reads.  One that opens after retry()
 * waits for the lock with its count, and then its unmap() finds the copy.
 *
 * A change without an invalidation (a first touch, W regained) only adds: the
 * copy is at most too weak, and the device faults again.
 *
 * No page is held: from the look to the map it is the CPU's entry that holds it.
 *
 * An entry of 2 MiB is copied whole only if this holds for all of it.  A split of the CPU's
 * entry has no invalidation, so the part that changes after it is all that one names.
 *
 * Locks: pt_lock (aging) > s->lock > the client's.  end takes none: see close().
 */
#include "mm/notifier/shadow.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"

static struct shadow *of(struct mmu_notifier *mn)
{
	return container_of(mn, struct shadow, mn);
}

/* ---- invalidations ------------------------------------------------------- */

/* Count one more.  Several count as one that spans them all until the last has
 * ended: a fault in a gap between them only waits longer.
 * Context: s->lock held. */
static void open(struct shadow *s, va_t start, va_t end)
{
	bool first;

	require(spin_held(&s->lock));
	first = !atomic_load_explicit(&s->active, memory_order_relaxed);
	if (first || start < s->from)
		s->from = start;
	if (first || end > s->to)
		s->to = end;
	atomic_fetch_add_explicit(&s->active, 1, memory_order_relaxed);
}

/*
 * The sequence moves first: a fault that looked before the change finds the
 * count, or the sequence, or both (B21): a thread that reads the lower count in
 * is_open() reads the new sequence too.
 *
 * seq_cst: this lowers the count and then reads the number of waiters;
 * shadow_begin() raises the number and then reads the count.  One of the two sees
 * the other.
 */
static void close(struct shadow *s, va_t start)
{
	unsigned were;

	atomic_fetch_add_explicit(&s->seq, 1, memory_order_relaxed);
	PROBE(shadow_ending, s, start);
	were = atomic_fetch_sub_explicit(&s->active, 1, memory_order_seq_cst);
	assert(were > 0);
	if (were == 1 &&
	    atomic_load_explicit(&s->waiting, memory_order_seq_cst))
		wake_all(&s->idle);
}

static bool is_open(const struct shadow *s, va_t start, va_t end)
{
	return atomic_load_explicit(&s->active, memory_order_seq_cst) &&
	       start < s->to && end > s->from;
}

/* Empty a table that has a lock of its own. */
static int unmap(struct shadow *s, const struct mmu_notifier_range *range)
{
	int error = s->ops->unmap(s, range->start, range->end,
				  range->blockable); //: shadow-start

	if (!error)
		return 0;
	assert(!range->blockable);
	close(s, range->start); /* a start that refuses gets no end */
	return error;
}

static int invalidate_range_start(struct mmu_notifier *mn,
				  const struct mmu_notifier_range *range)
{
	struct shadow *s = of(mn);

	spin_lock(&s->lock);
	open(s, range->start, range->end);
	if (range->start < s->high && range->end > s->low)
		s->ops->zap(s, range->start, range->end); //: shadow-zap
	spin_unlock(&s->lock);
	PROBE(shadow_started, s, range->start);
	return s->ops->unmap ? unmap(s, range) : 0;
}

static void invalidate_range_end(struct mmu_notifier *mn,
				 const struct mmu_notifier_range *range)
{
	close(of(mn), range->start);
}

/* ---- aging -------------------------------------------------------------- */

/*
 * Without accessed bits the entry goes, so that the next use is a fault.  The
 * sequence moves also if there is none: a fault that has looked must come again,
 * or its use would be the one that aging has just forgotten (C44).
 */
static bool clear_flush_young(struct mmu_notifier *mn, struct mm *mm,
			      va_t start, va_t end)
{
	struct shadow *s = of(mn);

	if (s->ops->young)
		return s->ops->young(s, start, end, true);
	atomic_fetch_add_explicit(&s->seq, 1, memory_order_relaxed);
	for (va_t va = start; va < end; va += PAGE_SIZE)
		if (s->ops->lookup(s, va)) {
			(void)s->ops->unmap(s, start, end, false);
			return true;
		}
	return false;
}

static bool test_young(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	struct shadow *s = of(mn);

	if (s->ops->young)
		return s->ops->young(s, va, va + PAGE_SIZE, false);
	return s->ops->lookup(s, va);
}

/* ---- the end ------------------------------------------------------------ */

/* End all waits too: a start whose end comes after unregister() is not closed. */
static void release(struct mmu_notifier *mn, struct mm *mm)
{
	struct shadow *s = of(mn);

	spin_lock(&s->lock);
	s->dead = true;
	if (s->ops->zap && !s->ops->release)
		s->ops->zap(s, 0, USER_END);
	spin_unlock(&s->lock);
	wake_all(&s->idle);
	if (s->ops->release) {
		s->ops->release(s);
	} else if (s->ops->unmap) {
		int error = s->ops->unmap(s, 0, USER_END, true);

		assert(!error);
	}
}

static const struct mmu_notifier_ops notifier_ops = {
	.release = release,
	.clear_flush_young = clear_flush_young,
	.clear_young = clear_flush_young,
	.test_young = test_young,
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
};

void shadow_init(struct shadow *s, const struct shadow_ops *ops)
{
	*s = (struct shadow){ .mn = { .ops = &notifier_ops }, .ops = ops };
	if (ops && ops->zap)
		s->high = USER_END;
	spin_init(&s->lock, RANK_SHADOW, "shadow");
	waitq_init(&s->idle);
}

/* ---- faults ------------------------------------------------------------- */

/* Read the sequence, if entries that are seen from now on may be copied. */
static bool try_begin(struct shadow *s, va_t start, va_t end, uint64_t *seq)
{
	bool ready;

	spin_lock(&s->lock);
	ready = s->dead || !is_open(s, start, end);
	*seq = atomic_load_explicit(&s->seq, memory_order_relaxed);
	spin_unlock(&s->lock);
	return ready;
}

/* Begin while some invalidation is open, perhaps one of the range.  (Not inline: most
 * faults meet none.) */
static noinline uint64_t begin_slow(struct shadow *s, va_t start, va_t end)
{
	uint64_t seq;

	if (try_begin(s, start, end, &seq))
		return seq;
	PROBE(shadow_waits, s, start);
	atomic_fetch_add_explicit(&s->waiting, 1, memory_order_seq_cst);
	wait_event(&s->idle, try_begin(s, start, end, &seq));
	atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
	return seq;
}

uint64_t shadow_begin(struct shadow *s, va_t start, va_t end)
{
	uint64_t seq = atomic_load_explicit(&s->seq, memory_order_acquire);

	require(may_sleep());
	if (likely(!atomic_load_explicit(&s->active, memory_order_acquire)))
		return seq;
	return begin_slow(s, start, end);
}

/* Has an invalidation of the range begun since seq was read?  Context: s->lock held. */
static bool overtaken(struct shadow *s, va_t start, va_t end, uint64_t seq)
{
	require(spin_held(&s->lock));
	return is_open(s, start, end) ||
	       atomic_load_explicit(&s->seq, memory_order_relaxed) != seq;
}

bool shadow_retry(struct shadow *s, va_t start, va_t end, uint64_t seq)
{
	assert(spin_held(&s->lock));
	return overtaken(s, start, end, seq);
}

/* Is a part of an entry of 2 MiB being invalidated, another one than va?  Then the fault
 * has one page, which was not overtaken.  Context: s->lock held. */
static unsigned settled(struct shadow *s, va_t va, unsigned level)
{
	va_t start = ALIGN_DOWN(va, pt_span(level));

	require(spin_held(&s->lock));
	return is_open(s, start, start + pt_span(level)) ? 0 : level;
}

/* What the CPU's table says of an address. */
struct seen {
	uint64_t entry; /* of a huge one the part that translates the address */
	unsigned level; /* 1: it is huge, or there is none                  */
};

static always_inline struct seen look(struct mm *mm, va_t va)
{
	uint64_t *slot, entry = 0;
	struct seen seen;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 1, false);
	if (likely(slot))
		entry = pte_read(slot);
	seen.level = !pt_is_table(mm->pt.format, entry, 1);
	if (likely(!seen.level))
		entry = pte_read(&pt_table(entry)[pt_index(va, 0)]);
	else if (entry)
		entry = (entry & ~PTE_PS) + (va & (pt_span(1) - 1));
	spin_unlock(&mm->pt_lock);
	seen.entry = entry;
	return seen;
}

static enum prot rights(uint64_t entry)
{
	if (!(entry & PTE_P))
		return PROT_NONE;
	return PROT_R | (entry & PTE_W ? PROT_W : 0) |
	       (entry & PTE_NX ? 0 : PROT_X);
}

/* Try once.  -EAGAIN: what was seen may not be true any more.  (Not inline: the compiler
 * would compute a second attempt's steps before the first.) */
static noinline int try_fault(struct shadow *s, struct mm *mm, va_t va,
			      enum prot access)
{
	uint64_t seq = shadow_begin(s, va, va + PAGE_SIZE);
	struct seen seen = look(mm, va);
	enum prot prot = rights(seen.entry);
	int error;

	if ((prot & access) != access) {
		error = mm_fault(mm, va, access);
		if (error)
			return error;
		seen = look(mm, va);
		prot = rights(seen.entry);
	}
	PROBE(shadow_looked, s, va);
	spin_lock(&s->lock);
	WRITE_ONCE(s->faults, s->faults + 1);
	if (s->dead)
		error = err(EFAULT);
	else if (overtaken(s, va, va + PAGE_SIZE, seq) ||
		 (prot & access) != access)
		error = -EAGAIN;
	else
		error = s->ops->map(s, va, pt_pa(seen.entry), prot,
				    unlikely(seen.level) //: shadow-map
					    ? settled(s, va, seen.level)
					    : 0);
	if (unlikely(error == -EAGAIN))
		WRITE_ONCE(s->retries, s->retries + 1);
	spin_unlock(&s->lock);
	return error;
}

int shadow_fault(struct shadow *s, va_t va, enum prot access)
{
	struct mm *mm = s->mn.mm;
	int error;

	require(may_sleep());
	assert(access == PROT_R || access == PROT_W || access == PROT_X);
	if (va >= USER_END || !mm_try_get(mm))
		return err(EFAULT);
	do
		error = try_fault(s, mm, va & PAGE_MASK, access);
	while (error == -EAGAIN);
	mm_put(mm);
	return error;
}
