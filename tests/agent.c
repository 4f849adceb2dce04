/* SPDX-License-Identifier: MIT */
/*
 * agent.c - what all agents share, and those that walk the mm's own table
 */
#include "tests/agent.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/entry.h"

const struct agent_kind *const agents[] = {
	&walker, &shadow, &zapper, &tlb, &remote, &region, NULL,
};

/* ---- translations ------------------------------------------------------- */

struct translation *agent_slot(struct agent *a, va_t va)
{
	uint64_t i = (va - VA) >> PAGE_SHIFT;

	return va >= VA && i < AGENT_PAGES ? &a->map[i] : NULL;
}

bool agent_zap(struct agent *a, va_t start, va_t end)
{
	bool any = false;

	for (unsigned i = 0; i < AGENT_PAGES; i++)
		if (P(i) >= start && P(i) < end && a->map[i].page) {
			a->map[i].page = NULL;
			any = true;
		}
	return any;
}

bool agent_takes(uint64_t entry, bool write)
{
	return (entry & PTE_P) && (!write || (entry & PTE_W));
}

void agent_install(struct agent *a, va_t va, uint64_t entry)
{
	struct page *page = entry_page(entry);

	*agent_slot(a, va) = (struct translation){ page, entry & PTE_W, false };
}

static uint64_t *walk_table(struct mm *mm, va_t va)
{
	return pt_slot(&mm->pt, va, 0, false);
}

int agent_look(struct agent *a, va_t va, bool write, uint64_t *entry)
{
	for (;;) {
		int ret = mm_fault(a->mm, va, write ? PROT_W : PROT_R);
		uint64_t *slot;

		if (ret)
			return ret;
		spin_lock(&a->mm->pt_lock);
		slot = walk_table(a->mm, va);
		*entry = slot ? pte_read(slot) : 0;
		if (agent_takes(*entry, write))
			page_get(entry_page(*entry));
		spin_unlock(&a->mm->pt_lock);
		if (agent_takes(*entry, write))
			return 0;
	}
}

void agent_window(struct agent *a, va_t start, va_t end)
{
	if (!a->active++) {
		a->from = start;
		a->to = end;
		return;
	}
	if (start < a->from)
		a->from = start;
	if (end > a->to)
		a->to = end;
}

void agent_release(struct mmu_notifier *mn, struct mm *mm)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	a->dead = true;
	agent_zap(a, 0, UINT64_MAX);
	spin_unlock(&a->lock);
}

/* ---- accesses ----------------------------------------------------------- */

static bool try_access(struct agent *a, va_t va, bool write, uint64_t *v)
{
	struct translation *t = agent_slot(a, va);
	bool hit;

	assert(t);
	spin_lock(&a->lock);
	/* What is cached is believed, also when it refuses (H18). */
	if (a->kind->walk && !a->dead && !t->page)
		a->kind->walk(a, va);
	hit = t->page && (!write || t->writable);
	if (hit) {
		char *at = (char *)page_va(t->page) + (va & ~PAGE_MASK);

		if (write)
			WRITE_ONCE(*(uint64_t *)at, *v);
		else
			*v = READ_ONCE(*(uint64_t *)at);
		t->used = true;
	}
	spin_unlock(&a->lock);
	return hit;
}

static int access(struct agent *a, va_t va, bool write, uint64_t *v)
{
	for (unsigned i = 0; i < AGENT_TRIES; i++) {
		int ret;

		if (try_access(a, va, write, v))
			return 0;
		if (READ_ONCE(a->dead))
			return -EFAULT;
		a->faults++;
		ret = a->kind->fault(a, va & PAGE_MASK, write);
		if (ret == -EFAULT)
			return ret;
		a->retries += ret == -EAGAIN;
	}
	a->failures++;
	return -EIO;
}

uint64_t agent_read(struct agent *a, va_t va)
{
	uint64_t v;

	return access(a, va, false, &v) ? BAD : v;
}

int agent_write(struct agent *a, va_t va, uint64_t v)
{
	return access(a, va, true, &v);
}

bool agent_reads(struct agent *a, va_t va, uint64_t *v)
{
	return try_access(a, va, false, v);
}

bool agent_writes(struct agent *a, va_t va, uint64_t v)
{
	return try_access(a, va, true, &v);
}

bool agent_has(struct agent *a, va_t va, bool write)
{
	struct translation *t = agent_slot(a, va);
	bool has;

	spin_lock(&a->lock);
	has = t->page && (!write || t->writable);
	spin_unlock(&a->lock);
	return has;
}

/* ---- coming, going, and the oracle -------------------------------------- */

void agent_attach(struct agent *a, const struct agent_kind *kind, struct mm *mm)
{
	*a = (struct agent){ .kind = kind, .mm = mm, .mn.ops = kind->ops };
	spin_init(&a->lock, RANK_DOMAIN, kind->name);
	waitq_init(&a->idle);
	if (kind == &remote)
		remote_begin(a);
	if (kind->ops)
		REQUIRE(mmu_notifier_register(&a->mn, mm) == 0);
	else
		REQUIRE(mmu_interval_notifier_insert(&a->mni, mm, VA,
						     AGENT_PAGES * PAGE_SIZE,
						     &region_ops) == 0);
}

const char *agent_check(struct agent *a)
{
	static char words[120];
	const char *why = NULL;

	spin_lock(&a->mm->pt_lock);
	spin_lock(&a->lock);
	for (unsigned i = 0; i < AGENT_PAGES && !a->dead; i++) {
		struct translation *t = &a->map[i];
		uint64_t *slot, e;

		if (!t->page)
			continue; /* caching nothing is coherent */
		slot = walk_table(a->mm, P(i));
		e = slot ? pte_read(slot) : 0;
		if (agent_takes(e, t->writable) && entry_page(e) == t->page)
			continue;
		snprintk(words, sizeof(words),
			 "%s: page %u: frame %lx %s, the CPU's entry %lx",
			 a->kind->name, i, pfn_of(t->page),
			 t->writable ? "rw" : "r", e);
		why = words;
	}
	spin_unlock(&a->lock);
	spin_unlock(&a->mm->pt_lock);
	return why;
}

void agent_detach(struct agent *a)
{
	if (!a->dead)
		EXPECT_STR_NULL(agent_check(a));
	EXPECT_EQ(a->active, 0);
	if (a->kind->ops)
		mmu_notifier_unregister(&a->mn);
	else
		mmu_interval_notifier_remove(&a->mni);
	if (a->kind == &remote)
		remote_end(a);
}

/* ---- those that walk the mm's own table --------------------------------- */

/* What the hardware does: no lock of mm, and whatever the entry says is true at
 * this moment.  Under the agent's lock, so that a flush comes before or after. */
static void walk_and_cache(struct agent *a, va_t va)
{
	uint64_t *slot = walk_table(a->mm, va);
	uint64_t e = slot ? pte_read(slot) : 0;

	if (agent_takes(e, false))
		agent_install(a, va, e);
}

/* A page request: the kernel makes the entry, the next walk finds it. */
static int request_page(struct agent *a, va_t va, bool write)
{
	return mm_fault(a->mm, va, write ? PROT_W : PROT_R);
}

static void walker_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			 va_t end)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	agent_zap(a, start, end);
	spin_unlock(&a->lock);
}

static const struct mmu_notifier_ops walker_ops = {
	.release = agent_release,
	.invalidate_range = walker_range,
};

const struct agent_kind walker = {
	.name = "walker",
	.ops = &walker_ops,
	.walk = walk_and_cache,
	.fault = request_page,
};

static int legacy_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	agent_window(a, range->start, range->end);
	agent_zap(a, 0, UINT64_MAX); /* another table: all of the context */
	spin_unlock(&a->lock);
	return 0;
}

static void legacy_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct agent *a = agent_of(mn);

	spin_lock(&a->lock);
	a->active--;
	spin_unlock(&a->lock);
}

static void legacy_walk(struct agent *a, va_t va)
{
	if (!a->active)
		walk_and_cache(a, va);
}

static const struct mmu_notifier_ops legacy_ops = {
	.release = agent_release,
	.invalidate_range_start = legacy_start,
	.invalidate_range_end = legacy_end,
};

const struct agent_kind legacy = {
	.name = "legacy",
	.ops = &legacy_ops,
	.walk = legacy_walk,
	.fault = request_page,
};
