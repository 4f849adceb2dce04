/* SPDX-License-Identifier: MIT */
/*
 * guest.h - a virtual machine whose memory is an address space: the third MMU
 *
 *   guest-virtual ──► guest-physical ──────────────► physical
 *      the guest's own tables    nested table: nCR3
 *
 * The guest is given its memory as a driver gives a device some: by a second table,
 * which the guest cannot see.  It comes in the two forms of an I/O table:
 *
 *   guest_own     a table of the guest's own, filled by nested faults and emptied
 *                 by invalidations (mm/notifier/shadow.h; Linux: KVM).  Slots say
 *                 which guest-physical range is which range of the mm.
 *   guest_shared  the root of the mm itself: a guest-physical address is an
 *                 address of the process.  Nothing to fill or to empty.
 *
 * Either way a CPU in guest mode caches translations, and goes on using them until
 * it leaves guest mode.  guest_kick() makes all CPUs of the guest leave it, and
 * waits: that is this MMU's flush.
 *
 * drivers/guest/vcpu.h runs it.
 */
#pragma once

#include "arch/svm.h"
#include "mm/notifier/shadow.h"

#define GUEST_SLOTS 8u

struct guest;
struct guest_log;

/* One of the two forms.  Context of all but empty: may sleep. */
struct guest_form {
	const char *name;
	const struct shadow_ops *table; /* NULL: it has none, and no slots  */
	/* Register with mm, and set g->root.  Returns 0 or -ENOMEM. */
	int (*attach)(struct guest *g, struct mm *mm);
	void (*detach)(struct guest *g);
	/*
	 * Make the guest's access to gpa possible: 0; -EFAULT if nothing there
	 * allows it, or the mm has exited; -ENOMEM.
	 */
	int (*fault)(struct guest *g, gpa_t gpa, enum prot access);
	/*
	 * Let nothing translate [from, to) any more, and kick before the return.
	 * NULL: there are no slots.  Context: g->shadow.lock held.
	 */
	void (*empty)(struct guest *g, gpa_t from, gpa_t to);
};

extern const struct guest_form guest_own, guest_shared;

/* Guest-physical [gpa, gpa + bytes) is [va, va + bytes) of the mm. */
struct guest_slot {
	gpa_t gpa;
	uint64_t bytes;
	va_t va;
	enum prot
		prot; /* R, and W and X where the guest may; at most the mm's */
};

/*
 * Key: (I) immutable from guest_create() to guest_destroy()  (L) shadow.lock  (A) atomic
 */
struct guest {
	const struct guest_form *form; /* (I)                              */
	pa_t root;                     /* (I) nCR3                         */
	_Atomic uint64_t cpus;  /* (A) CPUs in guest mode, or about to be  */
	_Atomic uint64_t kicks; /* (A) how often translations became stale */
	_Atomic bool dead;      /* (A) the mm has exited: no vCPU enters   */

	struct mmu_notifier mn; /* shared                                */
	struct shadow shadow;   /* own; its lock: slots and nested table   */
	struct pt pt;           /* (L) own: the nested table               */
	struct guest_slot slots[GUEST_SLOTS]; /* (L) the first n_slots    */
	unsigned n_slots;                     /* (L)                      */
	struct guest_log *log; /* (L) NULL, or that of guest_log_start()   */
};

/*
 * Make a guest of mm, without slots and vCPUs.  The caller holds a user of mm, and
 * need not keep it: when the mm exits, no vCPU enters the guest any more.
 * Returns 0, or -ENOMEM with nothing made.
 * Context: svm_present(); may sleep.
 */
must_check int guest_create(struct guest *g, const struct guest_form *form,
			    struct mm *mm);

/* Undo it, also after the mm's exit.  No vCPU of it is left.  Context: may sleep. */
void guest_destroy(struct guest *g);

/*
 * Let [slot->gpa, + bytes) be [slot->va, + bytes) of the mm, from now on.  The range
 * of the mm need not be mapped; two slots may have the same one.
 * Returns 0; -EINVAL for a range that is unaligned, empty, beyond SVM_PA_END or
 * outside the user half, for rights without R, or for a guest that is not
 * guest_own; -EEXIST if a slot has one of the guest-physical addresses; -ENOMEM if
 * all GUEST_SLOTS are in use.  Context: may sleep.
 */
must_check int guest_add_slot(struct guest *g, const struct guest_slot *slot);

/*
 * Take the slot that begins at gpa away: when it returns the guest does not reach
 * that range, and a fault there is VCPU_FAULT.  Or move it to another guest-physical
 * address, where it has the same pages.
 * Returns 0; -ENOENT; for a move also -EINVAL and -EEXIST as above, with nothing
 * changed.  Context: may sleep.
 */
must_check int guest_remove_slot(struct guest *g, gpa_t gpa);
must_check int guest_move_slot(struct guest *g, gpa_t gpa, gpa_t to);

/*
 * Make every CPU leave guest mode that is in it for g, and wait.  When it returns,
 * no access that the guest makes uses a translation that was read before.  Linux:
 * kvm_flush_remote_tlbs(), with an interrupt that is waited for.
 * Context: interrupts on, not in an interrupt; spins.
 */
void guest_kick(struct guest *g);

/* Let no vCPU enter g any more, and kick.  Context: as guest_kick(). */
void guest_keep_out(struct guest *g);
