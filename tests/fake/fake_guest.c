/* SPDX-License-Identifier: MIT */
/*
 * fake_guest.c - a guest in the place of a fake MMU: real nested walks
 *
 * Each access is a call of a resident guest, by the thread that asks for it: load or
 * store, and leave.  A nested fault is a miss.  The exit drops what was cached, so
 * this shows what is in the table; stale translations: tests/scenario/guest/.
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "tests/fake/fake_mmu.h"

static int guest_fault(struct fake_mmu *a, va_t va, bool write)
{
	struct guest *g = a->guest.guest;

	return g->form->fault(g, va, write ? PROT_W : PROT_R);
}

struct translation guest_translation(struct fake_mmu *a, va_t va)
{
	struct guest *g = a->guest.guest;
	struct pt *pt = a->kind->guest == &guest_own ? &g->pt : &a->mm->pt;
	uint64_t *slot = pt_slot(pt, va, 0, false);
	uint64_t e = slot ? pte_read(slot) : 0;

	if (!(e & PTE_P) || fake_dead(a))
		return (struct translation){ .page = NULL };
	return (struct translation){ page_of_pa(pt_pa(e)), e & PTE_W,
				     e & PTE_A };
}

const struct fake_mmu_kind fake_guest = {
	.name = "guest",
	.guest = &guest_own,
	.fault = guest_fault,
};

const struct fake_mmu_kind fake_guest_shared = {
	.name = "guest_shared",
	.guest = &guest_shared,
	.fault = guest_fault,
};
