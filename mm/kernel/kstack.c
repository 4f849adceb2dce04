/* SPDX-License-Identifier: MIT */
/*
 * kstack.c - allocate kernel stacks, each with an unmapped guard below
 *
 *    slot n                     slot n + 1
 *   |  guard   |    stack     |  guard   |    stack     |
 *   +----------+--------------+----------+--------------+--- - -
 *              ^ kstack_alloc()          <- sp grows down
 *
 * A stack that overflows hits its guard, which is never mapped, instead of other
 * memory.  A freed stack stays mapped and is cached for the next thread: mapping
 * needs no flush, unmapping would.
 */
#include "mm/kernel/kmap.h"
#include "kernel/inject.h"
#include "kernel/san/san.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap_priv.h"

#define STACK_PAGES (KSTACK_SIZE / PAGE_SIZE)

_Static_assert(KSTACK_SLOT - KSTACK_SIZE >= PAGE_SIZE, "room for a guard");

/* All under kmap_lock. */
static unsigned slots_used; /* slots [0, slots_used) are mapped  */
static unsigned n_cached;
static void *cached[KSTACK_SLOTS];

/* Return the lowest address of a slot: of its guard. */
static va_t slot_va(unsigned slot)
{
	return VMAP_BASE + slot * KSTACK_SLOT;
}

/* Map frames at a slot's stack.  Returns false without memory, with none mapped.
 * Context: kmap_lock held. */
static bool slot_map(unsigned slot)
{
	va_t va = slot_va(slot) + KSTACK_SLOT - KSTACK_SIZE;
	struct page *pages[STACK_PAGES];

	require(spin_held(&kmap_lock));
	for (unsigned i = 0; i < STACK_PAGES; i++) {
		pages[i] = page_alloc();
		if (!pages[i]) {
			while (i-- > 0)
				page_put(pages[i]);
			return false;
		}
		page_set_kind(pages[i], PAGE_STACK);
	}
	/* kmap_init() made the leaf tables: pt_slot() cannot fail. */
	for (unsigned i = 0; i < STACK_PAGES; i++)
		pt_set(&kernel_pt,
		       pt_slot(&kernel_pt, va + i * PAGE_SIZE, 0, false),
		       x86_leaf(page_pa(pages[i]),
				PROT_R | PROT_W | PROT_GLOBAL));
	return true;
}

void *kstack_alloc(void)
{
	void *stack = NULL;

	require(!cpu_irq_depth() && locks_below(RANK_KMAP));
	if (inject_should_fail())
		return NULL;
	spin_lock(&kmap_lock);
	if (n_cached) {
		WRITE_ONCE(n_cached, n_cached - 1);
		stack = cached[n_cached];
	} else if (slots_used < KSTACK_SLOTS && slot_map(slots_used)) {
		stack = (void *)(slot_va(slots_used) + KSTACK_SLOT -
				 KSTACK_SIZE);
		slots_used++;
	}
	spin_unlock(&kmap_lock);
	if (stack) /* frames of a thread that never returned */
		san_unpoison(stack, KSTACK_SIZE);
	return stack;
}

void kstack_free(void *stack)
{
	va_t offset = (va_t)stack - VMAP_BASE;

	assert(offset % KSTACK_SLOT == KSTACK_SLOT - KSTACK_SIZE);
	spin_lock(&kmap_lock);
	assert(offset / KSTACK_SLOT < slots_used && n_cached < slots_used);
	cached[n_cached] = stack;
	WRITE_ONCE(n_cached, n_cached + 1);
	spin_unlock(&kmap_lock);
}

uint64_t kstack_cached_pages(void)
{
	return READ_ONCE(n_cached) * STACK_PAGES;
}

int kstack_guard_hit(va_t va)
{
	uint64_t offset = va - VMAP_BASE;

	if (offset >= KSTACK_SLOTS * KSTACK_SLOT ||
	    offset % KSTACK_SLOT >= KSTACK_SLOT - KSTACK_SIZE)
		return -1;
	return (int)(offset / KSTACK_SLOT);
}
