/* SPDX-License-Identifier: MIT */
/*
 * guest.c - life of a guest, the kick
 *
 * Why a kick is a flush: VMRUN and #VMEXIT end the use of every translation that was
 * cached for the guest, on a processor by the flush that the next entry asks for
 * (drivers/guest/vcpu.c), in QEMU at once.  The two sides:
 *
 *   vCPU: cpus |= me; read kicks; VMRUN      kick: kicks++; read cpus; interrupt
 *
 * Each stores before it reads, by locked instructions.  So the kick finds the CPU
 * in the set and interrupts it, or the vCPU finds the new number and flushes.  An
 * interrupt between the two steps of the vCPU waits for VMRUN, which it ends
 * before the guest's first instruction.
 */
#include "drivers/guest/guest.h"
#include "arch/smp.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"

/* ---- the kick ----------------------------------------------------------- */

/* It is enough to be interrupted. */
static void nothing(void *arg)
{
	(void)arg;
}

void guest_kick(struct guest *g)
{
	uint64_t cpus;

	PROBE(guest_kick, g, 0);
	atomic_fetch_add_explicit(&g->kicks, 1, memory_order_seq_cst);
	cpus = atomic_load_explicit(&g->cpus, memory_order_seq_cst);
	if (cpus) {
		preempt_disable();
		smp_call(cpus, nothing, NULL); //: guest-kick
		preempt_enable();
	}
	PROBE(guest_kicked, g, cpus);
}

void guest_keep_out(struct guest *g)
{
	atomic_store_explicit(&g->dead, true, memory_order_seq_cst);
	guest_kick(g);
}

/* ---- life --------------------------------------------------------------- */

int guest_create(struct guest *g, const struct guest_form *form, struct mm *mm)
{
	require(may_sleep());
	assert(svm_present());
	*g = (struct guest){ .form = form };
	shadow_init(&g->shadow, form->table);
	return form->attach(g, mm);
}

void guest_destroy(struct guest *g)
{
	require(may_sleep());
	g->form->detach(g);
	assert(!atomic_load(&g->cpus));
}
