/* SPDX-License-Identifier: MIT */
/*
 * fake_kinds.c - fake MMUs that are filled by faults: shadow, zapper, tlb,
 * remote, region
 *
 * All have the same race: between the lookup in the mm's table and the store into
 * their own, the page may be freed.  shadow and zapper leave it to
 * mm/notifier/shadow.c; tlb looks under pt_lock while no invalidation is open;
 * region compares the interval's sequence.
 */
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "tests/fake/fake_mmu.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- shadow (KVM) ------------------------------------------------------- */

static struct fake_mmu *of_shadow(struct shadow *s)
{
	return container_of(s, struct fake_mmu, shadow);
}

static int table_map(struct shadow *s, va_t va, pa_t pa, enum prot prot,
		     unsigned level)
{
	struct fake_mmu *a = of_shadow(s);

	spin_lock(&a->lock);
	*fake_slot(a, va) = (struct translation){ page_of(pa >> PAGE_SHIFT),
						  prot & PROT_W, false };
	spin_unlock(&a->lock);
	return 0;
}

static int table_unmap(struct shadow *s, va_t start, va_t end, bool may_sleep)
{
	struct fake_mmu *a = of_shadow(s);

	spin_lock(&a->lock);
	fake_zap(a, start, end);
	spin_unlock(&a->lock);
	return 0;
}

static bool table_lookup(struct shadow *s, va_t va)
{
	return fake_slot(of_shadow(s), va) && fake_has(of_shadow(s), va, false);
}

/* Ask every page of the range: one large entry of the CPU is many here (H3). */
static bool table_young(struct shadow *s, va_t start, va_t end, bool clear)
{
	struct fake_mmu *a = of_shadow(s);
	bool young = false;

	spin_lock(&a->lock);
	for (unsigned i = 0; i < FAKE_PAGES; i++) {
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

static void table_release(struct shadow *s)
{
	fake_die(of_shadow(s));
}

static int shadow_access(struct fake_mmu *a, va_t va, bool write)
{
	return shadow_fault(&a->shadow, va, write ? PROT_W : PROT_R);
}

static void shadow_change(struct mmu_notifier *mn, struct mm *mm, va_t va,
			  uint64_t entry)
{
	struct fake_mmu *a = fake_of(mn);
	struct translation *t = fake_slot(a, va);

	spin_lock(&a->lock);
	a->offers++;
	if (t && t->page) {
		fake_install(a, va, entry);
		a->taken++;
	}
	spin_unlock(&a->lock);
}

static const struct shadow_ops table_ops = {
	.map = table_map,
	.unmap = table_unmap,
	.lookup = table_lookup,
	.young = table_young,
	.release = table_release,
};

/* shadow.c has no change_pte: a second notifier counts the calls. */
static const struct mmu_notifier_ops offer_ops = {
	.change_pte = shadow_change,
};

const struct fake_mmu_kind fake_shadow = {
	.name = "shadow",
	.table = &table_ops,
	.ops = &offer_ops,
	.fault = shadow_access,
};

/* A shadow without accessed bits. */
static const struct shadow_ops bitless_ops = {
	.map = table_map,
	.unmap = table_unmap,
	.lookup = table_lookup,
	.release = table_release,
};

const struct fake_mmu_kind fake_zapper = {
	.name = "zapper",
	.table = &bitless_ops,
	.fault = shadow_access,
};

/* ---- tlb (GRU) ---------------------------------------------------------- */

static int tlb_start(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	struct fake_mmu *a = fake_of(mn);

	spin_lock(&a->lock);
	fake_open(a, range->start, range->end);
	fake_zap(a, range->start, range->end);
	spin_unlock(&a->lock);
	return 0;
}

static void tlb_end(struct mmu_notifier *mn,
		    const struct mmu_notifier_range *range)
{
	struct fake_mmu *a = fake_of(mn);
	bool idle;

	spin_lock(&a->lock);
	assert(a->active > 0);
	WRITE_ONCE(a->active, a->active - 1);
	idle = a->active == 0;
	spin_unlock(&a->lock);
	if (idle)
		wake_all(&a->idle);
}

/* Load no translation while an invalidation is open; the entry cannot change
 * between the lookup and the load, which are under pt_lock (B22). */
static int tlb_drop_in(struct fake_mmu *a, va_t va, bool write)
{
	struct mm *mm = a->mm;
	int ret = -EAGAIN;
	uint64_t *slot, e;

	spin_lock(&mm->pt_lock);
	slot = pt_slot(&mm->pt, va, 0, false);
	e = slot ? pte_read(slot) : 0;
	spin_lock(&a->lock);
	if (!a->active && !a->dead && fake_takes(e, write)) {
		fake_install(a, va, e);
		ret = 0;
	}
	spin_unlock(&a->lock);
	spin_unlock(&mm->pt_lock);
	return ret;
}

static int tlb_fault(struct fake_mmu *a, va_t va, bool write)
{
	int ret;

	if (READ_ONCE(a->active)) {
		PROBE(tlb_waits, a, va);
		wait_event(&a->idle, !READ_ONCE(a->active));
	}
	ret = mm_fault(a->mm, va, write ? PROT_W : PROT_R);
	if (ret)
		return ret;
	PROBE(fake_looked, a, va);
	return tlb_drop_in(a, va, write);
}

static const struct mmu_notifier_ops tlb_ops = {
	.release = fake_release,
	.invalidate_range_start = tlb_start,
	.invalidate_range_end = tlb_end,
};

const struct fake_mmu_kind fake_tlb = {
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
	struct fake_mmu *a = arg;

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
		if (a->sync_point)
			sync_point_enter(a->sync_point);
		spin_lock(&a->lock);
		fake_zap(a, r->start, r->end);
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
	struct fake_mmu *a = fake_of(mn);

	if (!range->blockable)
		return -EAGAIN;
	spin_lock(&a->lock);
	fake_open(a, range->start, range->end);
	LIST_INSERT_HEAD(&a->requests, &r, link);
	spin_unlock(&a->lock);
	wake_all(&a->asked);
	wait_event(&a->answered, atomic_load(&r.done));
	return 0;
}

void remote_begin(struct fake_mmu *a)
{
	waitq_init(&a->asked);
	waitq_init(&a->answered);
	a->peer = thread_create("peer", remote_peer, a);
	REQUIRE(a->peer);
}

void remote_end(struct fake_mmu *a)
{
	atomic_store(&a->stop, true);
	wake_all(&a->asked);
	thread_join(a->peer);
}

static const struct mmu_notifier_ops remote_ops = {
	.release = fake_release,
	.invalidate_range_start = remote_start,
	.invalidate_range_end = tlb_end,
};

const struct fake_mmu_kind fake_remote = {
	.name = "remote",
	.ops = &remote_ops,
	.fault = tlb_fault,
};

/* ---- region (RDMA, on demand) ------------------------------------------- */

static bool region_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range,
			      uint64_t seq)
{
	struct fake_mmu *a = container_of(mni, struct fake_mmu, mni);

	if (range->blockable)
		spin_lock(&a->lock);
	else if (!spin_trylock(&a->lock))
		return false;
	mmu_interval_set_seq(mni, seq);
	fake_zap(a, range->start, range->end);
	if (range->event == MMU_NOTIFY_RELEASE)
		WRITE_ONCE(a->dead, true);
	spin_unlock(&a->lock);
	return true;
}

const struct mmu_interval_notifier_ops region_ops = {
	.invalidate = region_invalidate,
};

static int region_fault(struct fake_mmu *a, va_t va, bool write)
{
	uint64_t seq = mmu_interval_read_begin(&a->mni), e;
	int ret = fake_look(a, va, write, &e);

	if (ret)
		return ret;
	PROBE(fake_looked, a, va);
	spin_lock(&a->lock);
	if (a->dead || mmu_interval_read_retry(&a->mni, seq))
		ret = -EAGAIN;
	else
		fake_install(a, va, e);
	spin_unlock(&a->lock);
	page_put(entry_page(e));
	return ret;
}

const struct fake_mmu_kind fake_region = {
	.name = "region",
	.fault = region_fault,
};
