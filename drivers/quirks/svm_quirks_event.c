/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks_event.c - events that VMRUN delivers, or that reach the guest by themselves
 *
 * APM vol. 2, sections 15.20 "Event Injection" and 15.21 "Interrupt and Local APIC
 * Support".
 */
#include "drivers/quirks/svm_trial.h"

#define NMI          2u
#define UD           6u
#define GP           13u
#define INTERRUPT    0x30u
#define ERROR        UINT64_C(0x18)
#define EVENT_NMI    2u
#define V_TPR        GENMASK(7, 0)
#define INTERCEPT_VI BIT(4) /* VINTR                                         */
#define EXIT_VINTR   0x64u

static uint64_t event(unsigned type, unsigned vector)
{
	return EVENT_VALID | FIELD_PREP(EVENT_TYPE, type) | vector;
}

/* Inject an event whose vector alone has a gate: does its handler run? */
static bool delivers(struct svm_trial *t, uint64_t what)
{
	svm_trial_reset(t);
	svm_trial_gate(t, (unsigned)FIELD_GET(EVENT_VECTOR, what));
	t->cpu.vmcb->event = what;
	return svm_trial_run(t, svm_run_nothing) == EXIT_VMMCALL &&
	       t->cpu.vmcb->rax == (what & EVENT_HAS_ERROR
					    ? FIELD_GET(EVENT_ERROR, what)
					    : svm_trial_rip(svm_run_nothing));
}

static bool injects(struct svm_trial *t)
{
	uint64_t error = EVENT_HAS_ERROR | FIELD_PREP(EVENT_ERROR, ERROR);

	return delivers(t, event(EVENT_EXCEPTION, GP) | error) &&
	       delivers(t, event(EVENT_EXTERNAL, INTERRUPT)) &&
	       delivers(t, event(EVENT_NMI, NMI)) &&
	       delivers(t, event(EVENT_SOFTWARE, INTERRUPT));
}

static bool event_cleared(struct svm_trial *t)
{
	return delivers(t, event(EVENT_EXTERNAL, INTERRUPT)) &&
	       !(t->cpu.vmcb->event & EVENT_VALID);
}

/* Let an interrupt of this priority wait. */
static void pend(struct svm_trial *t, uint64_t bits)
{
	svm_trial_gate(t, INTERRUPT);
	t->cpu.vmcb->interrupt_control =
		V_INTR_MASKING | V_IRQ |
		FIELD_PREP(V_INTR_PRIO, INTERRUPT / 16) |
		FIELD_PREP(V_INTR_VECTOR, INTERRUPT) | bits;
}

/* Is the handler of the event entered, after STI? */
static bool taken(struct svm_trial *t)
{
	return svm_trial_run(t, svm_run_enable) == EXIT_VMMCALL &&
	       t->cpu.vmcb->rip < svm_trial_rip(svm_run_enable) &&
	       t->cpu.vmcb->rip > svm_trial_rip(svm_run_handler);
}

static bool virq_waits(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	pend(t, V_IGN_TPR);
	return svm_trial_run(t, svm_run_nothing) == EXIT_VMMCALL &&
	       c->rip > svm_trial_rip(svm_run_nothing) &&
	       c->rip < svm_trial_rip(svm_run_handler) &&
	       c->interrupt_control & V_IRQ && taken(t) &&
	       !(c->interrupt_control & V_IRQ);
}

/* Does this V_TPR hold the interrupt up? */
static bool held_by(struct svm_trial *t, unsigned priority)
{
	pend(t, FIELD_PREP(V_TPR, priority));
	return svm_trial_run(t, svm_run_enable) == EXIT_VMMCALL &&
	       t->cpu.vmcb->rip > svm_trial_rip(svm_run_enable);
}

static bool vtpr_masks(struct svm_trial *t)
{
	if (!held_by(t, INTERRUPT / 16 + 1))
		return false;
	svm_trial_reset(t);
	pend(t, FIELD_PREP(V_TPR, INTERRUPT / 16 + 1) | V_IGN_TPR);
	return taken(t);
}

static bool vtpr_masks_its_own(struct svm_trial *t)
{
	return held_by(t, INTERRUPT / 16);
}

static bool vintr_exits(struct svm_trial *t)
{
	pend(t, V_IGN_TPR);
	t->cpu.vmcb->intercept |= INTERCEPT_VI;
	return svm_trial_run(t, svm_run_enable) == EXIT_VINTR &&
	       t->cpu.vmcb->interrupt_control & V_IRQ;
}

/* Deliver something while the interrupt table is missing; returns exit_int_info. */
static uint64_t cut_short(struct svm_trial *t, const char *program)
{
	t->cpu.vmcb->intercept_exceptions = 0;
	svm_trial_nested(t, 0)[TRIAL_IDT] = 0;
	return svm_trial_run(t, program) == EXIT_NPF
		       ? t->cpu.vmcb->exit_int_info
		       : 0;
}

static bool delivery_told(struct svm_trial *t)
{
	return cut_short(t, svm_run_ud2) == event(EVENT_EXCEPTION, UD);
}

static bool interrupt_told(struct svm_trial *t)
{
	pend(t, V_IGN_TPR);
	return cut_short(t, svm_run_enable) == event(EVENT_EXTERNAL, INTERRUPT);
}

static bool virq_cut_is_cleared(struct svm_trial *t)
{
	pend(t, V_IGN_TPR);
	return cut_short(t, svm_run_enable) & EVENT_VALID &&
	       !(t->cpu.vmcb->interrupt_control & V_IRQ);
}

static bool int3_is_exception(struct svm_trial *t)
{
	return svm_trial_run(t, svm_run_int3) == EXIT_EXCEPTION + 3;
}

static bool shutdown_exits(struct svm_trial *t)
{
	t->cpu.vmcb->intercept_exceptions = 0;
	t->cpu.vmcb->idtr.limit = 0;
	return svm_trial_run(t, svm_run_ud2) == EXIT_SHUTDOWN;
}

const struct svm_quirk svm_quirks_event[] = {
	{ SVM_QUIRK(injects, true,
		    "EVENTINJ delivers an exception with its error code, an "
		    "interrupt, an NMI and INT n") },
	{ SVM_QUIRK(event_cleared, true, "V of EVENTINJ is 0 after the exit"),
	  .needs = "injects" },
	{ SVM_QUIRK(virq_waits, true,
		    "V_IRQ waits until the guest's IF is 1, is taken then, "
		    "and cleared") },
	{ SVM_QUIRK(vtpr_masks, true,
		    "V_IRQ waits while V_TPR is above its priority, unless "
		    "V_IGN_TPR is set") },
	{ SVM_QUIRK(vtpr_masks_its_own, true,
		    "V_IRQ waits while V_TPR is its priority"),
	  .needs = "vtpr_masks" },
	{ SVM_QUIRK(vintr_exits, true,
		    "an intercept of VINTR exits before the interrupt is "
		    "taken") },
	{ SVM_QUIRK(delivery_told, true,
		    "where a nested fault cuts the delivery of an exception "
		    "short, EXITINTINFO tells which") },
	{ SVM_QUIRK(
		interrupt_told, true,
		"where a nested fault cuts the delivery of a virtual interrupt "
		"short, EXITINTINFO tells type 0 and the vector") },
	{ SVM_QUIRK(virq_cut_is_cleared, false,
		    "V_IRQ is 0 where its delivery was cut short") },
	{ SVM_QUIRK(int3_is_exception, true,
		    "an intercept of exception 3 takes INT3") },
	{ SVM_QUIRK(shutdown_exits, true, "a triple fault exits as SHUTDOWN") },
	{ 0 },
};
