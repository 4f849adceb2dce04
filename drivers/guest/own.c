/* SPDX-License-Identifier: MIT */
/*
 * own.c - the guest's nested table as the table of a shadow
 *
 * mm/notifier/shadow.c is the protocol between faults and invalidations.  This file
 * maps, zaps and ages in a nested table.  Nested walks set A and D in it, so that
 * aging and dirty pages are exact.
 *
 * Where the CPU has an entry of 2 MiB, the guest gets one, if the slot has all of it at
 * guest-physical addresses that are aligned like the CPU's, no log needs single pages,
 * and no small entry was there before: tables stay until guest_destroy().  It goes as
 * a whole.  The CPU's may be split meanwhile: what the guest's translates stays true.
 *
 * zap() and young() kick before they drop the lock.  Otherwise a second
 * invalidation of the same page would find the entry gone, and its caller would free
 * the page while a CPU still uses the translation.
 *
 * Locks: shadow->lock alone, of slots and table.  A kick waits for CPUs that may wait
 * for it: they do so with interrupts on, and answer.
 */
#include "drivers/guest/log.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/pt/pt_x86.h"
#include "mm/rmap/block.h"

static struct guest *of(struct shadow *s)
{
	return container_of(s, struct guest, shadow);
}

/* The part of a slot that [start, end) of the mm is, in guest-physical addresses. */
struct part {
	gpa_t from, to;
};

static bool part_of(const struct guest_slot *slot, va_t start, va_t end,
		    struct part *part)
{
	if (start < slot->va)
		start = slot->va;
	if (end > slot->va + slot->bytes)
		end = slot->va + slot->bytes;
	part->from = start - slot->va + slot->gpa;
	part->to = end - slot->va + slot->gpa;
	return start < end;
}

/* The parts of all slots. */
#define for_each_part(part, g, start, end)         \
	for (struct guest_slot *s_ = (g)->slots;   \
	     s_ < (g)->slots + (g)->n_slots; s_++) \
		if (part_of(s_, start, end, &(part)))

/* ---- the table ---------------------------------------------------------- */

static bool clear(struct guest *g, gpa_t from, gpa_t to);

/*
 * Give the entry of slot the rights of leaf, which names the same memory: a store of the
 * whole entry could lose A and D.  Context: the lock held.
 */
static void gain(struct guest *g, uint64_t *slot, uint64_t leaf)
{
	require(spin_held(&g->shadow.lock));
	assert(page_same(pt_pa(pte_read(slot)), pt_pa(leaf)));
	if (leaf & PTE_W)
		pte_or(slot, PTE_W);
	if (!(leaf & PTE_NX))
		pte_and(slot, ~PTE_NX);
}

/* Let slot be leaf.  An entry that is there only gains rights.  Context: the lock held. */
static always_inline void set(struct guest *g, uint64_t *slot, uint64_t leaf)
{
	require(spin_held(&g->shadow.lock));
	if (unlikely(pte_read(slot))) {
		gain(g, slot, leaf);
		return;
	}
	pt_count(&g->pt, slot, 1);
	pte_write(slot, leaf);
}

/*
 * A page has no slot.  A leaf of 2 MiB in its place is from before the CPU's was split,
 * and goes: its translations are still in use, so this kicks.  Returns the slot, or NULL.
 * Context: the lock held.
 */
static noinline uint64_t *make_slot(struct guest *g, gpa_t gpa)
{
	require(spin_held(&g->shadow.lock));
	if (!clear(g, gpa, gpa + PAGE_SIZE))
		return NULL;
	guest_kick(g); //: own-small
	return pt_slot(&g->pt, gpa, 0, true);
}

/* Does slot, and no log of written pages, have the 2 MiB around a page of it as one
 * leaf? */
static bool large_fits(struct guest *g, const struct guest_slot *slot, va_t va)
{
	uint64_t start = ALIGN_DOWN(va, BLOCK_SIZE) - slot->va;

	return start < slot->bytes && slot->bytes - start >= BLOCK_SIZE &&
	       IS_ALIGNED(slot->gpa + start, BLOCK_SIZE) &&
	       !log_meets(g, slot->gpa + start, BLOCK_SIZE);
}

/* Let the 2 MiB around a page translate by one leaf; leaf is that of the page.
 * Returns false if it cannot: the slot has not all of them, small entries were there, or
 * no memory.  Context: the lock held. */
static bool map_large(struct guest *g, const struct guest_slot *slot, va_t va,
		      uint64_t leaf)
{
	gpa_t gpa = va - slot->va + slot->gpa;
	uint64_t *entry;

	if (!large_fits(g, slot, va))
		return false;
	entry = pt_slot(&g->pt, gpa, 1, true);
	if (!entry || pt_is_table(g->pt.format, pte_read(entry), 1))
		return false;
	set(g, entry, (leaf - (gpa & (BLOCK_SIZE - 1))) | PTE_PS);
	return true;
}

/* Map a page of a slot.  Context: the lock held. */
static int map_in(struct guest *g, const struct guest_slot *slot, va_t va,
		  uint64_t leaf, unsigned level)
{
	gpa_t gpa = va - slot->va + slot->gpa;
	uint64_t *entry;

	if (unlikely(level) && map_large(g, slot, va, leaf))
		return 0;
	if (!log_allows_w(g, gpa))
		leaf &= ~PTE_W;
	entry = pt_slot(&g->pt, gpa, 0, true);
	if (unlikely(!entry))
		entry = make_slot(g, gpa);
	if (unlikely(!entry))
		return err(ENOMEM);
	set(g, entry, leaf);
	return 0;
}

/* Context: s->lock held. */
static int map(struct shadow *s, va_t va, pa_t pa, enum prot prot,
	       unsigned level)
{
	struct guest *g = of(s);
	int error = 0;

	require(spin_held(&s->lock));
	for (unsigned i = 0; i < g->n_slots && !error; i++) {
		const struct guest_slot *slot = &g->slots[i];
		enum prot both = prot & slot->prot & (PROT_W | PROT_X);

		if (va - slot->va < slot->bytes)
			error = map_in(g, slot, va,
				       x86_leaf(pa, PROT_USER | PROT_R | both),
				       level);
	}
	return error;
}

/* The entry at gpa had D.  Of a leaf of 2 MiB there is no log.
 * Context: the lock held. */
static void written(struct guest *g, gpa_t gpa, uint64_t entry, unsigned level)
{
	struct page *page = page_of_pa(pt_pa(entry));

	require(spin_held(&g->shadow.lock));
	if (level) {
		block_set_dirty(page);
		return;
	}
	page_part_set_dirty(page);
	log_set(g, GUEST_LOG_D, gpa);
}

/* Clear the entries of [from, to), and of a leaf of 2 MiB that begins or ends outside.
 * The table walker of a CPU may set D until the exchange, and not afterwards.
 * Context: the lock held. */
static bool clear(struct guest *g, gpa_t from, gpa_t to)
{
	struct pt_run run;
	bool any = false;

	require(spin_held(&g->shadow.lock));
	while (pt_next_run(&g->pt, &from, to, &run)) {
		int n = 0;

		for (unsigned i = pt_next_live(run.slots, 0, run.count);
		     i < run.count;
		     i = pt_next_live(run.slots, i + 1, run.count)) {
			uint64_t old = pte_xchg(&run.slots[i], 0);

			if (old & PTE_D)
				written(g, run.va + i * PAGE_SIZE, old,
					run.level);
			n++;
		}
		pt_count(&g->pt, run.slots, -n);
		any |= n > 0;
	}
	return any;
}

static void zap(struct shadow *s, va_t start, va_t end)
{
	struct guest *g = of(s);
	struct part part;
	bool any = false;

	for_each_part (part, g, start, end)
		any |= clear(g, part.from, part.to);
	if (any)
		guest_kick(g); //: own-kick
}

/* Context: the lock held. */
static void empty(struct guest *g, gpa_t from, gpa_t to)
{
	require(spin_held(&g->shadow.lock));
	if (clear(g, from, to))
		guest_kick(g); //: own-empty
}

/* ---- aging -------------------------------------------------------------- */

/* Were pages of a run used?  Context: the lock held. */
static bool young_run(const struct pt_run *run, bool forget)
{
	bool found = false;

	for (unsigned i = 0; i < run->count; i++) {
		if (!(pte_read(&run->slots[i]) & PTE_A))
			continue;
		found = true;
		if (forget)
			pte_and(&run->slots[i], ~PTE_A);
	}
	return found;
}

/*
 * A leaf of 2 MiB has one A for all.  To forget a use of a part, after the CPU's entry
 * was split, takes it away: from then on each page has its own.
 * Context: the lock held.
 */
static bool young_part(struct guest *g, struct part part, bool forget)
{
	bool found = false, whole = part.to - part.from >= BLOCK_SIZE;
	struct pt_run run;

	require(spin_held(&g->shadow.lock));
	while (pt_next_run(&g->pt, &part.from, part.to, &run)) {
		bool used = young_run(&run, forget);

		found |= used;
		if (used && forget && run.level && !whole)
			(void)clear(g, run.va, run.va + BLOCK_SIZE);
	}
	return found;
}

/* To forget a use takes a kick: it makes the next one set A again. */
static bool young(struct shadow *s, va_t start, va_t end, bool forget)
{
	struct guest *g = of(s);
	struct part part;
	bool found = false;

	spin_lock(&s->lock);
	for_each_part (part, g, start, end)
		found |= young_part(g, part, forget);
	if (found && forget)
		guest_kick(g); //: own-young
	spin_unlock(&s->lock);
	return found;
}

static void release(struct shadow *s)
{
	guest_keep_out(of(s));
	spin_lock(&s->lock);
	zap(s, 0, USER_END);
	spin_unlock(&s->lock);
}

static const struct shadow_ops ops = {
	.map = map,
	.zap = zap,
	.young = young,
	.release = release,
};

/* ---- the form ----------------------------------------------------------- */

/* Which address of the mm is gpa, for this access?  USER_END: none, and nothing is
 * there. */
static va_t find_va(struct guest *g, gpa_t gpa, enum prot access)
{
	const struct guest_slot *slot = g->slots, *end;
	va_t va = USER_END;

	spin_lock(&g->shadow.lock);
	end = g->slots + g->n_slots;
	while (slot < end && gpa - slot->gpa >= slot->bytes)
		slot++;
	if (slot < end && slot->prot & access) {
		va = gpa - slot->gpa + slot->va;
		if (access == PROT_W)
			log_set(g, GUEST_LOG_W, gpa); //: log-fault
	}
	spin_unlock(&g->shadow.lock);
	return va;
}

/* A slot that goes meanwhile has no part in what is mapped: the guest faults again. */
static int fault(struct guest *g, gpa_t gpa, enum prot access)
{
	return shadow_fault(&g->shadow, find_va(g, gpa, access), access);
}

static void put_table(struct page *table, void *arg)
{
	(void)arg;
	page_put(table);
}

static int attach(struct guest *g, struct mm *mm)
{
	int error = pt_init(&g->pt, &pt_x86_nested, PT_X86_LEVELS, 0,
			    SVM_PA_END, NULL);

	if (error)
		return error;
	g->root = pt_root_pa(&g->pt);
	g->shadow.high = 0; /* no slot yet: see span_slots() */
	error = mmu_notifier_register(&g->shadow.mn, mm);
	if (error)
		pt_destroy(&g->pt, put_table, NULL);
	return error;
}

static void detach(struct guest *g)
{
	mmu_notifier_unregister(&g->shadow.mn);
	pt_destroy(&g->pt, put_table, NULL);
}

const struct guest_form guest_own = {
	.name = "guest",
	.table = &ops,
	.attach = attach,
	.detach = detach,
	.fault = fault,
	.empty = empty,
};
