/* SPDX-License-Identifier: MIT */
/*
 * agent_kinds.c - agents that are filled by faults: shadow, tlb, remote, region
 *
 * All have the same race to win: between the look at the mm's table and the
 * store into their own, the page may go.  Each wins it in its own way: shadow
 * by count and sequence, tlb by looking under pt_lock while no window is open,
 * region by the interval's sequence.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/entry.h"
#include "tests/agent.h"
#include "tests/gate.h"

/* ---- shadow (KVM) ------------------------------------------------------- */

static int shadow_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	agent_window(a, range->start, range->end);
	agent_zap(a, range->start, range->end);
	spin_unlock(&a->lock);
	return 0;
}

/* First the sequence, then the count: who looked before and comes in between,
 * or after, finds one or the other (B21). */
static void shadow_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	a->seq++;
	spin_unlock(&a->lock);
	PROBE(shadow_ending, a, range->start);
	spin_lock(&a->lock);
	assert(a->active > 0);
	a->active--;
	spin_unlock(&a->lock);
}

static bool shadow_retry(const struct agent *a, va_t va, uint64_t seq)
{
	return a->dead || seq != a->seq ||
	       (a->active && va >= a->from && va < a->to);
}

/* Look at the mm's entry, and believe it if nothing has happened since seq. */
static int fault_by_sequence(struct agent *a, va_t va, bool write, uint64_t seq,
			     bool (*retry)(const struct agent *a, va_t va,
					   uint64_t seq))
{
	uint64_t e;
	int ret = agent_look(a, va, write, &e);

	if (ret)
		return ret;
	PROBE(agent_looked, a, va);
	spin_lock(&a->lock);
	if (retry(a, va, seq))
		ret = -EAGAIN;
	else
		agent_install(a, va, e);
	spin_unlock(&a->lock);
	page_put(entry_page(e));
	return ret;
}

static int shadow_fault(struct agent *a, va_t va, bool write)
{
	uint64_t seq = __atomic_load_n(&a->seq, __ATOMIC_ACQUIRE);

	return fault_by_sequence(a, va, write, seq, shadow_retry);
}

static void shadow_change(struct mmu_notifier *mn, struct mm *mm, va_t va,
			  uint64_t entry)
{
	struct agent *a = agent_of(mn);
	struct translation *t = agent_slot(a, va);

	spin_lock(&a->lock);
	a->offers++;
	if (t && t->page) {
		agent_install(a, va, entry);
		a->taken++;
	}
	spin_unlock(&a->lock);
}

/* Every page of the range: one large entry of the CPU is many here (H3). */
static bool ask_young(struct mmu_notifier *mn, va_t start, va_t end, bool clear)
{
	struct agent *a = agent_of(mn);
	bool young = false;

	spin_lock(&a->lock);
	for (unsigned i = 0; i < AGENT_PAGES; i++) {
		struct translation *t = &a->map[i];

		if (P(i) < start || P(i) >= end || !t->page)
			continue;
		young |= t->used;
		if (clear)
			t->used = false;
	}
	spin_unlock(&a->lock);
	return young;
}

static bool shadow_clear_young(struct mmu_notifier *mn, struct mm *mm,
			       va_t start, va_t end)
{
	return ask_young(mn, start, end, true);
}

static bool shadow_test_young(struct mmu_notifier *mn, struct mm *mm, va_t va)
{
	return ask_young(mn, va, va + PAGE_SIZE, false);
}

static const struct mmu_notifier_ops shadow_ops = {
	.release = agent_release,
	.clear_flush_young = shadow_clear_young,
	.clear_young = shadow_clear_young,
	.test_young = shadow_test_young,
	.change_pte = shadow_change,
	.invalidate_range_start = shadow_start,
	.invalidate_range_end = shadow_end,
};

const struct agent_kind shadow = {
	.name = "shadow",
	.ops = &shadow_ops,
	.fault = shadow_fault,
};

/* Without accessed bits the entry goes, and with it whatever a fault that is
 * under way has looked at: the sequence says so (H3, C44). */
static bool zapper_young(struct mmu_notifier *mn, struct mm *mm, va_t start,
			 va_t end)
{
	struct agent *a = agent_of(mn);
	bool was;

	spin_lock(&a->lock);
	was = agent_zap(a, start, end);
	a->seq++;
	spin_unlock(&a->lock);
	return was;
}

static const struct mmu_notifier_ops zapper_ops = {
	.release = agent_release,
	.clear_flush_young = zapper_young,
	.invalidate_range_start = shadow_start,
	.invalidate_range_end = shadow_end,
};

const struct agent_kind zapper = {
	.name = "zapper",
	.ops = &zapper_ops,
	.fault = shadow_fault,
};

/* ---- tlb (GRU) ---------------------------------------------------------- */

static void tlb_end(struct mmu_notifier *mn,
		    const struct mmu_notifier_range *range)
{
	struct agent *a = agent_of(mn);
	bool idle;

	spin_lock(&a->lock);
	assert(a->active > 0);
	idle = --a->active == 0;
	spin_unlock(&a->lock);
	if (idle)
		wake_all(&a->idle);
}

/* No drop-in while a window is open; the entry cannot go between the look and
 * the drop-in, because it would need pt_lock (B22). */
static int tlb_drop_in(struct agent *a, va_t va, bool write)
{
	struct mm *mm = a->mm;
	int ret = -EAGAIN;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	e = slot ? pte_read(slot) : 0;
	spin_lock(&a->lock);
	if (!a->active && !a->dead && agent_takes(e, write)) {
		agent_install(a, va, e);
		ret = 0;
	}
	spin_unlock(&a->lock);
	spin_unlock(&mm->pt_lock);
	return ret;
}

static int tlb_fault(struct agent *a, va_t va, bool write)
{
	int ret;

	if (READ_ONCE(a->active)) {
		PROBE(tlb_waits, a, va);
		wait_event(&a->idle, !READ_ONCE(a->active));
	}
	ret = mm_fault(a->mm, va, write ? PROT_W : PROT_R);
	if (ret)
		return ret;
	PROBE(agent_looked, a, va);
	return tlb_drop_in(a, va, write);
}

static const struct mmu_notifier_ops tlb_ops = {
	.release = agent_release,
	.invalidate_range_start = shadow_start,
	.invalidate_range_end = tlb_end,
};

const struct agent_kind tlb = {
	.name = "tlb",
	.ops = &tlb_ops,
	.fault = tlb_fault,
};

/* ---- remote (XPMEM) ----------------------------------------------------- */

struct request {
	va_t start, end;
	_Atomic bool done;
	LIST_ENTRY(request) link;
};

/* The other side: it has the translations, we only ask. */
static void remote_peer(void *arg)
{
	struct agent *a = arg;

	for (;;) {
		struct request *r;

		wait_event(&a->asked,
			   !LIST_EMPTY(&a->requests) || atomic_load(&a->stop));
		spin_lock(&a->lock);
		r = LIST_FIRST(&a->requests);
		if (r)
			LIST_REMOVE(r, link);
		spin_unlock(&a->lock);
		if (!r)
			return;
		if (a->gate)
			gate_enter(a->gate);
		spin_lock(&a->lock);
		agent_zap(a, r->start, r->end);
		spin_unlock(&a->lock);
		PROBE(remote_answer, a->mm, r->start);
		atomic_store(&r->done, true); /* and with that it is gone */
		wake_all(&a->answered);
	}
}

static int remote_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct request r = { .start = range->start, .end = range->end };
	struct agent *a = agent_of(mn);

	if (!range->blockable)
		return -EAGAIN;
	spin_lock(&a->lock);
	agent_window(a, range->start, range->end);
	LIST_INSERT_HEAD(&a->requests, &r, link);
	spin_unlock(&a->lock);
	wake_all(&a->asked);
	wait_event(&a->answered, atomic_load(&r.done));
	return 0;
}

void remote_begin(struct agent *a)
{
	waitq_init(&a->asked);
	waitq_init(&a->answered);
	a->peer = thread_create("peer", remote_peer, a);
	REQUIRE(a->peer);
}

void remote_end(struct agent *a)
{
	atomic_store(&a->stop, true);
	wake_all(&a->asked);
	thread_join(a->peer);
}

static const struct mmu_notifier_ops remote_ops = {
	.release = agent_release,
	.invalidate_range_start = remote_start,
	.invalidate_range_end = tlb_end,
};

const struct agent_kind remote = {
	.name = "remote",
	.ops = &remote_ops,
	.fault = tlb_fault,
};

/* ---- region (RDMA, on demand) ------------------------------------------- */

static bool region_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range,
			      uint64_t seq)
{
	struct agent *a = container_of(mni, struct agent, mni);

	if (range->blockable)
		spin_lock(&a->lock);
	else if (!spin_trylock(&a->lock))
		return false;
	mmu_interval_set_seq(mni, seq);
	agent_zap(a, range->start, range->end);
	if (range->event == MMU_NOTIFY_RELEASE)
		a->dead = true;
	spin_unlock(&a->lock);
	return true;
}

const struct mmu_interval_notifier_ops region_ops = {
	.invalidate = region_invalidate,
};

static bool region_retry(const struct agent *a, va_t va, uint64_t seq)
{
	return a->dead || mmu_interval_read_retry(&a->mni, seq);
}

static int region_fault(struct agent *a, va_t va, bool write)
{
	uint64_t seq = mmu_interval_read_begin(&a->mni);

	return fault_by_sequence(a, va, write, seq, region_retry);
}

const struct agent_kind region = {
	.name = "region",
	.fault = region_fault,
};
