/* SPDX-License-Identifier: MIT */
/*
 * slot.c - which guest-physical range is which range of the mm
 *
 * A slot that goes away takes its entries along, and the kick comes before the lock
 * is dropped, as in own.c.  A fault that has found the slot before maps nothing when it
 * comes to map(), which looks for slots again, and the guest faults once more.
 *
 * Tables of a range that has no slot any more stay until guest_destroy().
 */
#include "drivers/guest/guest.h"
#include "kernel/err.h"
#include "kernel/panic.h"

static bool slot_valid(const struct guest_slot *slot)
{
	return slot->bytes && slot->prot & PROT_R &&
	       !(slot->prot & ~(PROT_R | PROT_W | PROT_X)) &&
	       IS_ALIGNED(slot->gpa, PAGE_SIZE) && slot->bytes <= SVM_PA_END &&
	       slot->gpa <= SVM_PA_END - slot->bytes && slot->va < USER_END &&
	       slot->bytes <= USER_END - slot->va &&
	       range_valid(slot->va, slot->va + slot->bytes);
}

/* Does any slot but `except` meet the range?  Context: g->shadow.lock held. */
static bool taken(struct guest *g, gpa_t gpa, uint64_t bytes,
		  const struct guest_slot *except)
{
	require(spin_held(&g->shadow.lock));
	for (unsigned i = 0; i < g->n_slots; i++)
		if (&g->slots[i] != except &&
		    gpa < g->slots[i].gpa + g->slots[i].bytes &&
		    gpa + bytes > g->slots[i].gpa)
			return true;
	return false;
}

/* The slot that begins at gpa, or NULL.  Context: g->shadow.lock held. */
static struct guest_slot *slot_at(struct guest *g, gpa_t gpa)
{
	require(spin_held(&g->shadow.lock));
	for (unsigned i = 0; i < g->n_slots; i++)
		if (g->slots[i].gpa == gpa)
			return &g->slots[i];
	return NULL;
}

/*
 * An invalidation outside of all slots has nothing to empty: it is only counted.  The
 * entries of a slot are gone before the slot is, so the span may shrink with it.
 * Context: g->shadow.lock held.
 */
static void span_slots(struct guest *g)
{
	struct shadow *s = &g->shadow;

	require(spin_held(&s->lock));
	s->low = USER_END;
	s->high = 0;
	for (unsigned i = 0; i < g->n_slots; i++) {
		const struct guest_slot *slot = &g->slots[i];

		if (slot->va < s->low)
			s->low = slot->va;
		if (slot->va + slot->bytes > s->high)
			s->high = slot->va + slot->bytes;
	}
}

/* Context: g->shadow.lock held. */
static int add(struct guest *g, const struct guest_slot *slot)
{
	require(spin_held(&g->shadow.lock));
	if (taken(g, slot->gpa, slot->bytes, NULL))
		return err(EEXIST);
	if (g->n_slots == GUEST_SLOTS)
		return err(ENOMEM);
	g->slots[g->n_slots++] = *slot;
	span_slots(g);
	return 0;
}

int guest_add_slot(struct guest *g, const struct guest_slot *slot)
{
	int error;

	require(may_sleep());
	if (!g->form->empty || !slot_valid(slot))
		return err(EINVAL);
	spin_lock(&g->shadow.lock);
	error = add(g, slot);
	spin_unlock(&g->shadow.lock);
	return error;
}

int guest_remove_slot(struct guest *g, gpa_t gpa)
{
	struct guest_slot *slot;

	require(may_sleep());
	spin_lock(&g->shadow.lock);
	slot = slot_at(g, gpa);
	if (slot) {
		g->form->empty(g, gpa, gpa + slot->bytes); //: slot-empty
		*slot = g->slots[--g->n_slots];
		span_slots(g);
	}
	spin_unlock(&g->shadow.lock);
	return slot ? 0 : err(ENOENT);
}

/* Context: g->shadow.lock held. */
static int move(struct guest *g, gpa_t gpa, gpa_t to)
{
	struct guest_slot *slot = slot_at(g, gpa), moved;

	require(spin_held(&g->shadow.lock));
	if (!slot)
		return err(ENOENT);
	moved = *slot;
	moved.gpa = to;
	if (!slot_valid(&moved))
		return err(EINVAL);
	if (taken(g, to, moved.bytes, slot))
		return err(EEXIST);
	g->form->empty(g, gpa, gpa + slot->bytes);
	*slot = moved;
	return 0;
}

int guest_move_slot(struct guest *g, gpa_t gpa, gpa_t to)
{
	int error;

	require(may_sleep());
	spin_lock(&g->shadow.lock);
	error = move(g, gpa, to);
	spin_unlock(&g->shadow.lock);
	return error;
}
