/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - who may be merged, who is no more, and what it comes to
 *
 * An mm is on the scanner's list from its first opt-in to its exit.  ksm.lock is
 * held for one turn of the scanner (some hundred pages); who leaves, or
 * opts out, takes it too, and so finds the scanner outside (H25).
 *
 *   ksm.lock                         scanner, opt-out, exit
 *     mm->lock                       opt-in and -out: to write
 *       ksm.links_lock               where merged frames are mapped
 *         family
 *           pt_lock
 *             ksm.stable_lock        the last reference of a merged frame
 */
#include "mm/ksm.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/entry.h"
#include "mm/fault.h"
#include "mm/ksm_priv.h"

struct ksm ksm;
struct ksm_knobs ksm_knobs = KSM_KNOBS_DEFAULT;

void ksm_init(void)
{
	rw_init(&ksm.lock, RANK_KSM, "ksm");
	rw_init(&ksm.links_lock, RANK_LINKS, "ksm links");
	spin_init(&ksm.stable_lock, RANK_STABLE, "ksm stable");
	spin_init(&ksm.list_lock, RANK_STABLE, "ksm list");
	TAILQ_INIT(&ksm.mms);
	ksm_item_init();
	ksm_node_init();
	ksm.zero_sum = ksm_sum(page_va(zero_page));
}

/* ---- the list ------------------------------------------------------------- */

/* A newcomer is looked at last, when it has settled.  Context: mm->lock held to
 * write, or mm is known to nobody else. */
static void list_mm(struct mm *mm)
{
	if (mm->ksm.listed)
		return;
	mm->ksm.listed = true;
	spin_lock(&ksm.list_lock);
	if (ksm.in_pass && ksm.cursor)
		TAILQ_INSERT_BEFORE(ksm.cursor, mm, ksm.link);
	else
		TAILQ_INSERT_TAIL(&ksm.mms, mm, ksm.link);
	spin_unlock(&ksm.list_lock);
}

struct mm *ksm_next_mm(struct mm *mm)
{
	spin_lock(&ksm.list_lock);
	mm = mm ? TAILQ_NEXT(mm, ksm.link) : TAILQ_FIRST(&ksm.mms);
	spin_unlock(&ksm.list_lock);
	return mm;
}

void ksm_fork(struct mm *parent, struct mm *child)
{
	if (parent->ksm.listed)
		list_mm(child);
}

void ksm_exit(struct mm *mm)
{
	if (!mm->ksm.listed)
		return;
	PROBE(ksm_exit, mm, 0);
	rw_write_lock(&ksm.lock);
	chunks_forget(mm, 0, ~UINT64_C(0));
	spin_lock(&ksm.list_lock);
	if (ksm.cursor == mm) {
		ksm.cursor = TAILQ_NEXT(mm, ksm.link);
		ksm.va = 0;
	}
	TAILQ_REMOVE(&ksm.mms, mm, ksm.link);
	if (TAILQ_EMPTY(&ksm.mms))
		ksm.in_pass = false;
	spin_unlock(&ksm.list_lock);
	rw_write_unlock(&ksm.lock);
}

/* ---- opting in and out ------------------------------------------------------ */

int ksm_mergeable(struct mm *mm, va_t start, va_t end)
{
	struct region *r;
	int ret;

	if (!range_valid(start, end))
		return err(EINVAL);
	rw_write_lock(&mm->lock);
	ret = region_cut_out(mm, start, end);
	if (!ret) {
		for_each_region (r, mm, start, end)
			if (!r->object)
				r->flags |= REGION_MERGEABLE;
		region_join(mm, start, end);
		list_mm(mm);
	}
	rw_write_unlock(&mm->lock);
	return ret;
}

/* Does the entry lead to what the scanner has put there? */
static bool entry_merged(uint64_t e)
{
	if (!e)
		return false;
	if (entry_page(e) == zero_page)
		return e & PTE_D;
	return page_kind(entry_page(e)) == PAGE_KSM;
}

static int unmerge_region(struct region *r)
{
	struct mm *mm = r->mm;
	struct pt_run run;
	va_t va = r->start;
	int ret = 0;

	while (!ret && pt_next_run(&mm->pt, &va, r->end, &run))
		for (unsigned i = 0; !ret && i < run.count; i++)
			if (entry_merged(pte_read(&run.slots[i])))
				ret = fault_own(mm, r, run.va + i * PAGE_SIZE);
	return ret;
}

static int unmerge_regions(struct mm *mm, va_t start, va_t end)
{
	struct region *r;

	for_each_region (r, mm, start, end) {
		int ret = willing(r) ? unmerge_region(r) : 0;

		if (ret)
			return ret;
		r->flags &= ~(unsigned)REGION_MERGEABLE;
		chunks_forget(mm, r->start, r->end);
	}
	return 0;
}

int ksm_unmergeable(struct mm *mm, va_t start, va_t end)
{
	int ret;

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
		if (willing(r))
			ret = unmerge_region(r);
		if (ret)
			break;
	}
	rw_read_unlock(&mm->lock);
	return ret;
}

int ksm_unmerge_all(void)
{
	int ret = 0;

	rw_write_lock(&ksm.lock);
	for (struct mm *mm = ksm_next_mm(NULL); mm && !ret;
	     mm = ksm_next_mm(mm)) {
		ret = unmerge_mm(mm);
		if (!ret)
			chunks_forget(mm, 0, ~UINT64_C(0));
	}
	rw_write_unlock(&ksm.lock);
	return ret;
}

/* ---- the thread -------------------------------------------------------------- */

static void ksm_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&ksm.stop)) {
		/* What had no memory now is looked at again. */
		(void)!ksm_scan(ksm_knobs.pages_to_scan);
		sleep_ns(ksm_knobs.sleep_ns);
	}
}

int ksm_start(void)
{
	int ret = 0;

	rw_write_lock(&ksm.lock);
	if (ksm.thread) {
		ret = err(EBUSY);
	} else {
		atomic_store(&ksm.stop, false);
		ksm.thread = thread_create("ksm", ksm_main, NULL);
		ret = ksm.thread ? 0 : err(ENOMEM);
	}
	rw_write_unlock(&ksm.lock);
	return ret;
}

void ksm_stop(void)
{
	struct thread *t;

	rw_write_lock(&ksm.lock);
	t = ksm.thread;
	ksm.thread = NULL;
	atomic_store(&ksm.stop, true);
	rw_write_unlock(&ksm.lock);
	if (t)
		thread_join(t);
}

int ksm_set_bound(unsigned max_page_sharing)
{
	int ret = 0;

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

/* ---- what it comes to ---------------------------------------------------------- */

void ksm_zero_count(int n)
{
	atomic_fetch_add_explicit(&ksm.zero_pages, (uint64_t)(int64_t)n,
				  memory_order_relaxed);
}

/*
 * Sharing is counted by page_maps() anyway: adding it up here costs nothing
 * where entries come and go, and cannot drift.  Context: stable_lock held.
 */
static void stat_shared(struct ksm_stat *stat)
{
	for (struct ktree_node *n = ktree_first(&ksm.stable); n;
	     n = ktree_next(n)) {
		struct ksm_content *content =
			container_of(n, struct ksm_content, node);
		struct ksm_node *node;

		TAILQ_FOREACH (node, &content->nodes, dup) {
			uint32_t maps = page_maps(node->page);

			stat->pages_shared += maps > 0;
			stat->pages_sharing += maps ? maps - 1 : 0;
		}
	}
}

void ksm_stat(struct ksm_stat *stat)
{
	*stat = (struct ksm_stat){ 0 };
	rw_write_lock(&ksm.lock);
	stat->pages_unshared = ksm.unshared;
	stat->pages_volatile = ksm.items - ksm.unshared;
	stat->pages_scanned = ksm.scanned;
	stat->pages_merged = ksm.merged;
	stat->full_scans = ksm.full_scans;
	stat->bytes = ksm.chunks * (PAGE_SIZE + sizeof(struct ksm_chunk));
	spin_lock(&ksm.stable_lock);
	stat_shared(stat);
	stat->stable_node_chains = ksm.chains;
	stat->stable_node_dups = ksm.dups;
	stat->bytes += ksm.contents * sizeof(struct ksm_content) +
		       ksm.nodes * sizeof(struct ksm_node) +
		       ksm.links * sizeof(struct ksm_link);
	spin_unlock(&ksm.stable_lock);
	stat->ksm_zero_pages_sharing =
		atomic_load_explicit(&ksm.zero_pages, memory_order_relaxed);
	rw_write_unlock(&ksm.lock);
}
