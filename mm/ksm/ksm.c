/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - opting in and out, exit, the scanner's thread, and statistics
 *
 * An mm is on the scanner's list from its first opt-in to its exit.  The scanner
 * holds ksm.lock for one batch (128 pages at most); an exit and an opt-out take it
 * too, so the scanner is in no mm while they run (H25).
 *
 * Locks, outermost first:
 *
 *   ksm.run_lock                     start and stop of the thread
 *   ksm.lock                         scanner, opt-out, exit
 *     mm->lock                       opt-in and opt-out: to write
 *       ksm.links_lock               the links of merged frames
 *         anon_vma root's lock
 *           mm->pt_lock
 *             ksm.stable_lock        the last reference of a merged frame
 */
#include "mm/ksm/ksm.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/core/entry.h"
#include "mm/ksm/ksm_priv.h"
#include "mm/space/fault.h"

struct ksm ksm;
struct ksm_knobs ksm_knobs = KSM_KNOBS_DEFAULT;

/* ---- the list ------------------------------------------------------------- */

/*
 * Puts mm on the list, just before the cursor, so that it is scanned last.
 * Context: mm->lock held to write, or mm not yet visible to other threads.
 */
static void ksm_list_add(struct mm *mm)
{
	require(mm_lock_held_write(mm));
	if (mm->ksm.listed)
		return;
	mm->ksm.listed = true;
	spin_lock(&ksm.list_lock);
	if (ksm.in_pass && ksm.cursor.mm)
		TAILQ_INSERT_BEFORE(ksm.cursor.mm, mm, ksm.link);
	else
		TAILQ_INSERT_TAIL(&ksm.mms, mm, ksm.link);
	spin_unlock(&ksm.list_lock);
}

struct mm *ksm_next_mm(struct mm *mm)
{
	require(rw_held_write(&ksm.lock));
	spin_lock(&ksm.list_lock);
	mm = mm ? TAILQ_NEXT(mm, ksm.link) : TAILQ_FIRST(&ksm.mms);
	spin_unlock(&ksm.list_lock);
	return mm;
}

/*
 * Hook of struct mm_hooks: puts the child of a fork on the list if the parent is on
 * it.  ksm_unmerge_all(), which visits the list in order and waits for
 * parent->lock, visits the child after the parent.  Linux: ksm_fork().
 * Context: parent->lock held to write.
 */
static void ksm_fork(struct mm *parent, struct mm *child)
{
	require(rw_held_write(&parent->lock) && !child->ksm.listed);
	if (parent->ksm.listed)
		ksm_list_add(child);
}

/*
 * Hook of struct mm_hooks: takes an mm whose last user is gone from the list.  The
 * scanner holds no pointer to it when the call returns.  Linux: ksm_exit().
 * Context: may sleep; takes ksm.lock.
 */
static void ksm_exit(struct mm *mm)
{
	require(may_sleep() && locks_below(RANK_KSM));
	if (!mm->ksm.listed)
		return;
	PROBE(ksm_exit, mm, 0);
	rw_write_lock(&ksm.lock);
	chunks_clear(mm, 0, ~UINT64_C(0));
	spin_lock(&ksm.list_lock);
	if (ksm.cursor.mm == mm) {
		ksm.cursor.mm = TAILQ_NEXT(mm, ksm.link);
		ksm.cursor.va = 0;
	}
	TAILQ_REMOVE(&ksm.mms, mm, ksm.link);
	if (TAILQ_EMPTY(&ksm.mms))
		ksm.in_pass = false;
	spin_unlock(&ksm.list_lock);
	rw_write_unlock(&ksm.lock);
}

static struct mm_hooks ksm_hooks = { .fork = ksm_fork, .exit = ksm_exit };

void ksm_init(void)
{
	rw_init(&ksm.run_lock, RANK_KSM_RUN, "ksm thread");
	rw_init(&ksm.lock, RANK_KSM, "ksm");
	rw_init(&ksm.links_lock, RANK_LINKS, "ksm links");
	spin_init(&ksm.stable_lock, RANK_STABLE, "ksm stable");
	spin_init(&ksm.list_lock, RANK_STABLE, "ksm list");
	TAILQ_INIT(&ksm.mms);
	ksm_rmap_item_init();
	ksm_stable_init();
	ksm_rmap_init();
	mm_hooks_add(&ksm_hooks);
	ksm.zero_sum = ksm_sum(page_va(zero_page));
}

/* ---- opting in and out ------------------------------------------------------ */

int ksm_mergeable(struct mm *mm, va_t start, va_t end)
{
	struct region *r;
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret) {
		for_each_region (r, mm, start, end)
			if (!r->object)
				WRITE_ONCE(r->flags,
					   r->flags | REGION_MERGEABLE);
		region_join(mm, start, end);
		ksm_list_add(mm);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}

/* Returns whether the scanner made the entry, which may be an evicted one. */
static bool entry_merged(uint64_t e)
{
	if (!e || entry_swapped(e))
		return false;
	if (entry_page(e) == zero_page)
		return e & PTE_D;
	return page_kind(entry_page(e)) == PAGE_KSM;
}

/* The merged entries of a run, one bit each. */
struct marks {
	uint64_t word[PT_ENTRIES / 64];
};

/*
 * Marks the merged entries of the run.  An eviction clears an entry and writes the
 * evicted one in one hold of pt_lock: so under that lock a merged page is never
 * mistaken for a hole.  Entries that are not marked are not merged later, since
 * ksm.lock keeps the scanner out.
 */
static struct marks run_merged(struct mm *mm, const struct pt_run *run)
{
	struct marks m = { { 0 } };

	require(rw_held_write(&ksm.lock) && rw_held(&mm->lock));
	spin_lock(&mm->pt_lock);
	for (unsigned i = 0; i < run->count; i++)
		if (entry_merged(pte_read(&run->slots[i])))
			m.word[i / 64] |= BIT(i % 64);
	spin_unlock(&mm->pt_lock);
	return m;
}

/*
 * Gives each merged entry of the region a private page.  Linux: unmerge_ksm_pages().
 * Context: ksm.lock held to write, mm->lock held.  Returns 0 or -ENOMEM.
 */
static int unmerge_ksm_pages(struct region *r)
{
	struct mm *mm = r->mm;
	struct pt_run run;
	va_t va = r->start;
	int ret = 0;

	require(rw_held_write(&ksm.lock) && rw_held(&mm->lock));
	while (!ret && pt_next_run(&mm->pt, &va, r->end, &run)) {
		struct marks m;

		if (run.level)
			continue; /* a huge entry maps no merged page */
		m = run_merged(mm, &run);
		for (unsigned i = 0; !ret && i < run.count; i++)
			if (m.word[i / 64] & BIT(i % 64))
				ret = fault_own(mm, r, run.va + i * PAGE_SIZE);
	}
	return ret;
}

static int unmerge_regions(struct mm *mm, va_t start, va_t end)
{
	struct region *r;

	require(rw_held_write(&mm->lock));
	for_each_region (r, mm, start, end) {
		int ret = mergeable(r) ? unmerge_ksm_pages(r) : 0;

		if (ret)
			return ret;
		WRITE_ONCE(r->flags, r->flags & ~(unsigned)REGION_MERGEABLE);
		chunks_clear(mm, r->start, r->end);
	}
	return 0;
}

int ksm_unmergeable(struct mm *mm, va_t start, va_t end)
{
	int ret;

	require(may_sleep());
	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&ksm.lock);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret)
		ret = unmerge_regions(mm, start, end);
	region_join(mm, start, end);
	rw_write_unlock(&mm->lock);
	rw_write_unlock(&ksm.lock);
	return ret;
}

static int unmerge_mm(struct mm *mm)
{
	struct region *r;
	int ret = 0;

	rw_read_lock(&mm->lock);
	for_each_region (r, mm, USER_START, USER_END) {
		if (mergeable(r))
			ret = unmerge_ksm_pages(r);
		if (ret)
			break;
	}
	rw_read_unlock(&mm->lock);
	return ret;
}

/*
 * Clears all rmap_items and abandons the pass that is under way.  The next scan
 * begins a new one; until then an mm that opts in goes to the end of the list.
 */
static void pass_abandon(void)
{
	for (struct mm *mm = ksm_next_mm(NULL); mm; mm = ksm_next_mm(mm))
		chunks_clear(mm, 0, ~UINT64_C(0));
	spin_lock(&ksm.list_lock);
	ksm.in_pass = false;
	spin_unlock(&ksm.list_lock);
}

/*
 * A fork puts the child at the end of the list before it drops the parent's lock.
 * So this loop, which waits for that lock, visits the child after the parent.  If
 * the loop had made the parent's pages private before the fork, so are the child's.
 */
int ksm_unmerge_all(void)
{
	int ret = 0;

	require(may_sleep());
	rw_write_lock(&ksm.lock);
	pass_abandon();
	for (struct mm *mm = ksm_next_mm(NULL); mm && !ret;
	     mm = ksm_next_mm(mm))
		ret = unmerge_mm(mm);
	rw_write_unlock(&ksm.lock);
	return ret;
}

/* ---- the thread -------------------------------------------------------------- */

static void ksm_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&ksm.stop)) {
		/* On -ENOMEM the pages are scanned again in the next pass. */
		(void)!ksm_scan(ksm_knobs.pages_to_scan);
		sleep_ns(ksm_knobs.sleep_ns);
	}
}

int ksm_start(void)
{
	int ret = 0;

	require(may_sleep() && locks_below(RANK_KSM_RUN));
	/* A stop that is under way holds the lock until the thread has ended. */
	if (!rw_write_trylock(&ksm.run_lock))
		return err(EBUSY);
	if (ksm.thread) {
		ret = err(EBUSY);
	} else {
		atomic_store(&ksm.stop, false);
		ksm.thread = thread_create("ksm", ksm_main, NULL);
		ret = ksm.thread ? 0 : err(ENOMEM);
	}
	rw_write_unlock(&ksm.run_lock);
	return ret;
}

void ksm_stop(void)
{
	require(may_sleep() && locks_below(RANK_KSM_RUN));
	rw_write_lock(&ksm.run_lock);
	atomic_store(&ksm.stop, true);
	if (ksm.thread)
		thread_join(ksm.thread);
	ksm.thread = NULL;
	rw_write_unlock(&ksm.run_lock);
}

int ksm_set_bound(unsigned max_page_sharing)
{
	int ret = 0;

	require(may_sleep());
	if (max_page_sharing < 2)
		return err(EINVAL);
	rw_write_lock(&ksm.lock);
	if (ksm.nodes)
		ret = err(EBUSY);
	else
		ksm_knobs.max_page_sharing = max_page_sharing;
	rw_write_unlock(&ksm.lock);
	return ret;
}

/* ---- statistics ---------------------------------------------------------------- */

/*
 * Adds up page_maps() of all merged frames.  Counters kept where entries come and go
 * would cost each of those places and could drift.  Context: stable_lock held.
 */
static void stat_shared(struct ksm_stat *stat)
{
	require(spin_held(&ksm.stable_lock));
	for (struct ktree_node *n = ktree_first(&ksm.stable); n;
	     n = ktree_next(n)) {
		struct ksm_stable_chain *chain =
			container_of(n, struct ksm_stable_chain, node);
		struct ksm_stable_node *node;

		TAILQ_FOREACH (node, &chain->nodes, dup) {
			uint32_t maps = page_maps(node->page);

			stat->pages_shared += maps > 0;
			stat->pages_sharing += maps ? maps - 1 : 0;
		}
	}
}

void ksm_stat(struct ksm_stat *stat)
{
	require(may_sleep());
	*stat = (struct ksm_stat){ 0 };
	rw_write_lock(&ksm.lock);
	stat->pages_unshared = ksm.unshared;
	stat->pages_volatile = ksm.rmap_items - ksm.unshared;
	stat->pages_scanned = ksm.scanned;
	stat->pages_merged = ksm.merged;
	stat->full_scans = ksm.full_scans;
	stat->bytes = ksm.chunks * (PAGE_SIZE + sizeof(struct ksm_chunk));
	spin_lock(&ksm.stable_lock);
	stat_shared(stat);
	stat->stable_node_chains = ksm.long_chains;
	stat->stable_node_dups = ksm.long_dups;
	stat->bytes += ksm.chains * sizeof(struct ksm_stable_chain) +
		       ksm.nodes * sizeof(struct ksm_stable_node) +
		       ksm.links * sizeof(struct ksm_rmap_link);
	spin_unlock(&ksm.stable_lock);
	stat->ksm_zero_pages_sharing = zero_merged_count();
	rw_write_unlock(&ksm.lock);
}
