/* SPDX-License-Identifier: MIT */
/*
 * fake_mmu.c - what all fake MMUs share, and those that walk the mm's own table
 */
#include "tests/fake/fake_mmu.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/core/entry.h"
#include "tests/fixture/mm/sync_point.h"

/* The walkers first. */
static const struct fake_mmu_kind *const all[] = {
	&fake_guest_shared, &fake_walker, &fake_shadow, &fake_zapper, &fake_tlb,
	&fake_remote,       &fake_region, &fake_guest,  NULL,
};
static const struct fake_mmu_kind *const no_guests[] = {
	&fake_walker, &fake_shadow, &fake_zapper, &fake_tlb,
	&fake_remote, &fake_region, NULL,
};

const struct fake_mmu_kind *const *fake_mmus(void)
{
	return svm_present() ? all : no_guests;
}

const struct fake_mmu_kind *const *fake_filled(void)
{
	return svm_present() ? all + 2 : no_guests + 1;
}

/* ---- translations ------------------------------------------------------- */

struct translation *fake_slot(struct fake_mmu *a, va_t va)
{
	uint64_t i = (va - VA) >> PAGE_SHIFT;

	return va >= VA && i < FAKE_PAGES ? &a->map[i] : NULL;
}

bool fake_zap(struct fake_mmu *a, va_t start, va_t end)
{
	bool any = false;

	for (unsigned i = 0; i < FAKE_PAGES; i++)
		if (P(i) >= start && P(i) < end && a->map[i].page) {
			a->map[i].page = NULL;
			any = true;
		}
	return any;
}

struct spinlock *fake_lock(struct fake_mmu *a)
{
	return a->kind->guest ? &a->guest.guest->shadow.lock : &a->lock;
}

struct shadow *fake_shadow_of(struct fake_mmu *a)
{
	if (a->kind->guest == &guest_own)
		return &a->guest.guest->shadow;
	return a->kind->table ? &a->shadow : NULL;
}

struct translation fake_translation(struct fake_mmu *a, unsigned i)
{
	return a->kind->guest ? guest_translation(a, P(i)) : a->map[i];
}

bool fake_dead(struct fake_mmu *a)
{
	return a->kind->guest ? atomic_load(&a->guest.guest->dead)
			      : READ_ONCE(a->dead);
}

bool fake_takes(uint64_t entry, bool write)
{
	return (entry & PTE_P) && (!write || (entry & PTE_W));
}

void fake_install(struct fake_mmu *a, va_t va, uint64_t entry)
{
	struct page *page = entry_page(entry);

	*fake_slot(a, va) = (struct translation){ page, entry & PTE_W, false };
}

/* Return the entry that translates va; of a huge one, what is left for this page. */
static uint64_t walk_table(struct mm *mm, va_t va)
{
	unsigned level;
	uint64_t e = pte_read(pt_lookup(&mm->pt, va, 0, &level));

	if (!level)
		return e;
	return level == 1 && entry_huge(e)
		       ? (e & ~PTE_PS) + (va & (pt_span(1) - 1) & PAGE_MASK)
		       : 0;
}

int fake_look(struct fake_mmu *a, va_t va, bool write, uint64_t *entry)
{
	for (;;) {
		int ret = mm_fault(a->mm, va, write ? PROT_W : PROT_R);

		if (ret)
			return ret;
		spin_lock(&a->mm->pt_lock);
		*entry = walk_table(a->mm, va);
		if (fake_takes(*entry, write))
			page_get(entry_page(*entry));
		spin_unlock(&a->mm->pt_lock);
		if (fake_takes(*entry, write))
			return 0;
	}
}

void fake_open(struct fake_mmu *a, va_t start, va_t end)
{
	WRITE_ONCE(a->active, a->active + 1);
	if (a->active == 1) {
		a->from = start;
		a->to = end;
		return;
	}
	if (start < a->from)
		a->from = start;
	if (end > a->to)
		a->to = end;
}

void fake_die(struct fake_mmu *a)
{
	spin_lock(&a->lock);
	WRITE_ONCE(a->dead, true);
	fake_zap(a, 0, UINT64_MAX);
	spin_unlock(&a->lock);
}

void fake_release(struct mmu_notifier *mn, struct mm *mm)
{
	fake_die(fake_of(mn));
}

/* ---- accesses ----------------------------------------------------------- */

static bool try_access(struct fake_mmu *a, va_t va, bool write, uint64_t *v)
{
	struct translation *t = fake_slot(a, va);
	bool hit;

	assert(t);
	if (a->kind->guest)
		return guest_tries(&a->guest, write, va, v);
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

static int access(struct fake_mmu *a, va_t va, bool write, uint64_t *v)
{
	for (unsigned i = 0; i < FAKE_TRIES; i++) {
		int ret;

		if (try_access(a, va, write, v))
			return 0;
		if (fake_dead(a))
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

uint64_t fake_read(struct fake_mmu *a, va_t va)
{
	uint64_t v;

	return access(a, va, false, &v) ? BAD : v;
}

int fake_write(struct fake_mmu *a, va_t va, uint64_t v)
{
	return access(a, va, true, &v);
}

bool fake_reads(struct fake_mmu *a, va_t va, uint64_t *v)
{
	return try_access(a, va, false, v);
}

bool fake_writes(struct fake_mmu *a, va_t va, uint64_t v)
{
	return try_access(a, va, true, &v);
}

unsigned fake_active(struct fake_mmu *a)
{
	struct shadow *s = fake_shadow_of(a);

	return s ? atomic_load(&s->active) : READ_ONCE(a->active);
}

void fake_stop_looked(struct sync_point *g, struct fake_mmu *a)
{
	if (fake_shadow_of(a))
		sync_point_set(g, "shadow_looked", fake_shadow_of(a));
	else
		sync_point_set(g, "fake_looked", a);
}

bool fake_has(struct fake_mmu *a, va_t va, bool write)
{
	struct translation t;

	spin_lock(fake_lock(a));
	t = fake_translation(a, (unsigned)((va - VA) >> PAGE_SHIFT));
	spin_unlock(fake_lock(a));
	return t.page && (!write || t.writable);
}

/* ---- attach, detach, check ---------------------------------------------- */

void fake_attach(struct fake_mmu *a, const struct fake_mmu_kind *kind,
		 struct mm *mm)
{
	*a = (struct fake_mmu){ .kind = kind, .mm = mm, .mn.ops = kind->ops };
	spin_init(&a->lock, RANK_DOMAIN, kind->name);
	waitq_init(&a->idle);
	if (kind->guest) {
		resident_call(&a->guest, kind->guest, mm);
		return;
	}
	shadow_init(&a->shadow, kind->table);
	if (kind == &fake_remote)
		remote_begin(a);
	if (kind->table)
		REQUIRE(mmu_notifier_register(&a->shadow.mn, mm) == 0);
	if (kind->ops)
		REQUIRE(mmu_notifier_register(&a->mn, mm) == 0);
	if (!kind->table && !kind->ops)
		REQUIRE(mmu_interval_notifier_insert(&a->mni, mm, VA,
						     FAKE_PAGES * PAGE_SIZE,
						     &region_ops) == 0);
}

const char *fake_check(struct fake_mmu *a)
{
	static char words[120];
	const char *why = NULL;

	spin_lock(&a->mm->pt_lock);
	spin_lock(fake_lock(a));
	for (unsigned i = 0; i < FAKE_PAGES && !fake_dead(a); i++) {
		struct translation t = fake_translation(a, i);
		uint64_t e;

		if (!t.page)
			continue; /* caching nothing is coherent */
		e = walk_table(a->mm, P(i));
		if (fake_takes(e, t.writable) && entry_page(e) == t.page)
			continue;
		snprintk(words, sizeof(words),
			 "%s: page %u: frame %lx %s, the CPU's entry %lx",
			 a->kind->name, i, pfn_of(t.page),
			 t.writable ? "rw" : "r", e);
		why = words;
	}
	spin_unlock(fake_lock(a));
	spin_unlock(&a->mm->pt_lock);
	return why;
}

void fake_detach(struct fake_mmu *a)
{
	if (!fake_dead(a))
		EXPECT_STR_NULL(fake_check(a));
	EXPECT_EQ(fake_active(a), 0);
	if (a->kind->guest) {
		resident_stop(&a->guest);
		return;
	}
	if (a->kind->table)
		mmu_notifier_unregister(&a->shadow.mn);
	if (a->kind->ops)
		mmu_notifier_unregister(&a->mn);
	if (!a->kind->table && !a->kind->ops)
		mmu_interval_notifier_remove(&a->mni);
	if (a->kind == &fake_remote)
		remote_end(a);
}

/* ---- those that walk the mm's own table --------------------------------- */

/* What the hardware does: no lock of mm, and whatever the entry says is true at
 * this moment.  Under the fake's lock, so that a flush comes before or after. */
static void walk_and_cache(struct fake_mmu *a, va_t va)
{
	uint64_t e = walk_table(a->mm, va);

	if (fake_takes(e, false))
		fake_install(a, va, e);
}

/* A page request: the kernel makes the entry, the next walk finds it. */
static int request_page(struct fake_mmu *a, va_t va, bool write)
{
	return mm_fault(a->mm, va, write ? PROT_W : PROT_R);
}

static void walker_range(struct mmu_notifier *mn, struct mm *mm, va_t start,
			 va_t end)
{
	struct fake_mmu *a = fake_of(mn);

	spin_lock(&a->lock);
	fake_zap(a, start, end);
	spin_unlock(&a->lock);
}

static const struct mmu_notifier_ops walker_ops = {
	.release = fake_release,
	.invalidate_range = walker_range,
};

const struct fake_mmu_kind fake_walker = {
	.name = "walker",
	.ops = &walker_ops,
	.walk = walk_and_cache,
	.fault = request_page,
};

static int legacy_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	struct fake_mmu *a = fake_of(mn);

	spin_lock(&a->lock);
	fake_open(a, range->start, range->end);
	fake_zap(a, 0, UINT64_MAX); /* another table: all of the context */
	spin_unlock(&a->lock);
	return 0;
}

static void legacy_end(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	struct fake_mmu *a = fake_of(mn);

	spin_lock(&a->lock);
	WRITE_ONCE(a->active, a->active - 1);
	spin_unlock(&a->lock);
}

static void legacy_walk(struct fake_mmu *a, va_t va)
{
	if (!a->active)
		walk_and_cache(a, va);
}

static const struct mmu_notifier_ops legacy_ops = {
	.release = fake_release,
	.invalidate_range_start = legacy_start,
	.invalidate_range_end = legacy_end,
};

const struct fake_mmu_kind fake_legacy = {
	.name = "legacy",
	.ops = &legacy_ops,
	.walk = legacy_walk,
	.fault = request_page,
};
