/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks_cache.c - which translations are kept, and what drops them
 *
 * APM vol. 2, section 15.16 "TLB Control".  The guest changes its own nested entry: from
 * outside only another CPU could do that before an exit.
 */
#include "drivers/quirks/svm_trial.h"

/* Run a program that loads A, lets its nested entry be this one, and looks again. */
static bool change(struct svm_trial *t, const char *program, uint64_t entry)
{
	t->cpu.regs.rcx =
		svm_trial_gpa(TRIAL_LEAVES) + TRIAL_A * sizeof(uint64_t);
	t->cpu.regs.rdx = entry;
	return svm_trial_at(t, program, svm_trial_gpa(TRIAL_A)) == EXIT_VMMCALL;
}

/* Does it then read B? */
static bool sees(struct svm_trial *t, const char *program)
{
	return change(t, program, svm_trial_leaf(t, TRIAL_B)) &&
	       t->cpu.vmcb->rax == TRIAL_WORD(TRIAL_B);
}

static bool caches(struct svm_trial *t)
{
	return change(t, svm_run_change, svm_trial_leaf(t, TRIAL_B)) &&
	       t->cpu.vmcb->rax == TRIAL_WORD(TRIAL_A);
}

static bool upgrade_seen(struct svm_trial *t)
{
	uint64_t all = svm_trial_leaf(t, TRIAL_A);

	svm_trial_nested(t, 0)[TRIAL_A] = all & ~PTE_W;
	return change(t, svm_run_change_store, all);
}

static bool accessed_once(struct svm_trial *t)
{
	return change(t, svm_run_change_and_look, svm_trial_leaf(t, TRIAL_A)) &&
	       t->cpu.vmcb->rax == svm_trial_leaf(t, TRIAL_A);
}

static bool cr3_drops(struct svm_trial *t)
{
	return sees(t, svm_run_change_cr3);
}

/* Its address and its page differ in number. */
static bool invlpg_drops(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	t->cpu.regs.rcx =
		svm_trial_gpa(TRIAL_LEAVES) + TRIAL_A * sizeof(uint64_t);
	t->cpu.regs.rdx = svm_trial_leaf(t, TRIAL_B);
	return svm_trial_at(t, svm_run_change_invlpg, TRIAL_ALIAS) ==
		       EXIT_VMMCALL &&
	       c->rax == TRIAL_WORD(TRIAL_B);
}

static bool invlpga_by_asid(struct svm_trial *t)
{
	return change(t, svm_run_change_invlpga, svm_trial_leaf(t, TRIAL_B)) &&
	       t->cpu.vmcb->rax == TRIAL_WORD(TRIAL_A);
}

/* Load A, change its entry from outside, and load again with this ASID and request:
 * returns the word, 0 if it cannot. */
static uint64_t again(struct svm_trial *t, uint32_t asid, uint32_t request)
{
	struct vmcb *c = t->cpu.vmcb;
	uint64_t va = svm_trial_gpa(TRIAL_A);

	if (svm_trial_at(t, svm_run_load, va) != EXIT_VMMCALL)
		return 0;
	svm_trial_nested(t, 0)[TRIAL_A] = svm_trial_leaf(t, TRIAL_B);
	c->asid = asid;
	c->tlb_control = request;
	c->rax = 0;
	return svm_trial_at(t, svm_run_load, va) == EXIT_VMMCALL ? c->rax : 0;
}

static bool outlives_exit(struct svm_trial *t)
{
	return again(t, TRIAL_ASID, TLB_CONTROL_NONE) == TRIAL_WORD(TRIAL_A);
}

static bool tlb_control_flushes(struct svm_trial *t)
{
	return again(t, TRIAL_ASID, TLB_CONTROL_FLUSH) == TRIAL_WORD(TRIAL_B);
}

static bool asid_tags(struct svm_trial *t)
{
	return again(t, TRIAL_ASID + 1, TLB_CONTROL_NONE) ==
	       TRIAL_WORD(TRIAL_B);
}

static bool clean_honoured(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	if (svm_trial_run(t, svm_run_nothing) != EXIT_VMMCALL)
		return false;
	c->intercept &= ~INTERCEPT_VMMCALL;
	c->clean = BIT(0); /* the intercepts */
	return svm_trial_run(t, svm_run_nothing) == EXIT_VMMCALL;
}

const struct svm_quirk svm_quirks_cache[] = {
	{ SVM_QUIRK(caches, false,
		    "a changed nested entry is not seen while the guest stays "
		    "in guest mode") },
	{ SVM_QUIRK(upgrade_seen, true,
		    "a right that is added is seen without a flush") },
	{ SVM_QUIRK(accessed_once, false,
		    "A, once cleared, stays 0 while the translation is "
		    "cached"),
	  .needs = "caches" },
	{ SVM_QUIRK(cr3_drops, false,
		    "the guest's load of CR3 drops what is cached of its "
		    "nested entries too"),
	  .needs = "caches" },
	{ SVM_QUIRK(invlpg_drops, false,
		    "the guest's INVLPG of the address in use drops what is "
		    "cached of its nested entries too"),
	  .needs = "caches" },
	{ SVM_QUIRK(invlpga_by_asid, false,
		    "INVLPGA of another ASID keeps the translation"),
	  .needs = "caches" },
	{ SVM_QUIRK(outlives_exit, false,
		    "a translation is kept from #VMEXIT to the next VMRUN"),
	  .needs = "caches" },
	{ SVM_QUIRK(tlb_control_flushes, true,
		    "TLB_CONTROL 1 drops all translations at VMRUN"),
	  .needs = "outlives_exit" },
	{ SVM_QUIRK(asid_tags, true,
		    "a translation of one ASID serves no other"),
	  .needs = "outlives_exit" },
	{ SVM_QUIRK(clean_honoured, false,
		    "an intercept whose clean bit is set is not read anew") },
	{ 0 },
};
