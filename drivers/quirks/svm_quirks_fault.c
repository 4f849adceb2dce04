/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks_fault.c - what a nested page fault says
 *
 * APM vol. 2, section 15.25.6 "Nested versus Guest Page Faults, Fault Ordering".
 */
#include "drivers/quirks/svm_trial.h"

#define USER   BIT(2) /* of a #PF's error code, and of exit_info1            */
#define INSIDE UINT64_C(0x128)

static uint64_t at_a(void)
{
	return svm_trial_gpa(TRIAL_A) + INSIDE;
}

/* Let A's entry be this, and access A; returns exit_info1, or 0 without a fault. */
static uint64_t fault(struct svm_trial *t, const char *program, uint64_t entry)
{
	svm_trial_reset(t);
	svm_trial_nested(t, 0)[TRIAL_A] = entry;
	return svm_trial_at(t, program, at_a()) == EXIT_NPF
		       ? t->cpu.vmcb->exit_info1
		       : 0;
}

static uint64_t read_only(struct svm_trial *t)
{
	return svm_trial_leaf(t, TRIAL_A) & ~PTE_W;
}

static bool fault_address(struct svm_trial *t)
{
	return fault(t, svm_run_load, 0) && t->cpu.vmcb->exit_info2 == at_a();
}

static bool fault_present(struct svm_trial *t)
{
	uint64_t absent = fault(t, svm_run_store, 0);
	uint64_t denied = fault(t, svm_run_store, read_only(t));

	return absent && denied && !(absent & NPF_PRESENT) &&
	       denied & NPF_PRESENT;
}

static bool fault_write(struct svm_trial *t)
{
	uint64_t load = fault(t, svm_run_load, 0);
	uint64_t store = fault(t, svm_run_store, 0);

	return load && store && !(load & NPF_WRITE) && store & NPF_WRITE;
}

static bool fault_fetch(struct svm_trial *t)
{
	uint64_t load = fault(t, svm_run_load, 0);
	uint64_t jump = fault(t, svm_run_jump, 0);

	return load && jump && !(load & NPF_FETCH) && jump & NPF_FETCH;
}

static bool fault_user(struct svm_trial *t)
{
	return fault(t, svm_run_load, 0) & fault(t, svm_run_store, 0) & USER;
}

static bool fault_final(struct svm_trial *t)
{
	uint64_t why = fault(t, svm_run_load, 0);

	return why & NPF_FINAL && !(why & NPF_TABLE);
}

static bool fault_table(struct svm_trial *t)
{
	uint64_t *leaves = svm_trial_nested(t, 0);

	leaves[TRIAL_GUEST_LEAVES] = 0;
	return svm_trial_at(t, svm_run_load, at_a()) == EXIT_NPF &&
	       t->cpu.vmcb->exit_info1 & NPF_TABLE &&
	       !(t->cpu.vmcb->exit_info1 & NPF_FINAL);
}

static bool table_walk_writes(struct svm_trial *t)
{
	uint64_t *entry = &svm_trial_nested(t, 0)[TRIAL_GUEST_LEAVES];
	uint64_t *guest = &svm_trial_table(t, 0)[TRIAL_A];

	*guest |= PTE_A | PTE_D;
	*entry &= ~PTE_W;
	return svm_trial_at(t, svm_run_load, at_a()) == EXIT_NPF &&
	       t->cpu.vmcb->exit_info1 & NPF_WRITE &&
	       t->cpu.vmcb->exit_info1 & NPF_PRESENT;
}

static bool fault_reserved(struct svm_trial *t)
{
	return fault(t, svm_run_load, svm_trial_leaf(t, TRIAL_A) | BIT(51)) &
	       NPF_RESERVED;
}

static bool reserved_is_present(struct svm_trial *t)
{
	return fault(t, svm_run_load, svm_trial_leaf(t, TRIAL_A) | BIT(51)) &
	       NPF_PRESENT;
}

static bool fault_restarts(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	if (!fault(t, svm_run_load, 0) ||
	    c->rip != svm_trial_rip(svm_run_load) || c->cr2)
		return false;
	svm_trial_nested(t, 0)[TRIAL_A] = svm_trial_leaf(t, TRIAL_A);
	return svm_trial_at(t, svm_run_load, svm_trial_gpa(TRIAL_A)) ==
		       EXIT_VMMCALL &&
	       c->rax == TRIAL_WORD(TRIAL_A);
}

/* Its own page fault: the host sees it first. */
static bool guest_fault_first(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	svm_trial_table(t, 0)[TRIAL_A] = 0;
	svm_trial_nested(t, 0)[TRIAL_A] = 0;
	return svm_trial_at(t, svm_run_store, at_a()) == EXIT_EXCEPTION + 14 &&
	       c->exit_info1 == NPF_WRITE && c->exit_info2 == at_a() && !c->cr2;
}

static bool wide_address_is_guests(struct svm_trial *t)
{
	uint32_t r[4];

	cpuid(0x80000008, r);
	svm_trial_table(t, 0)[TRIAL_A] |= BIT(r[0] & 0xff);
	return svm_trial_at(t, svm_run_load, at_a()) == EXIT_EXCEPTION + 14 &&
	       t->cpu.vmcb->exit_info1 & NPF_RESERVED;
}

const struct svm_quirk svm_quirks_fault[] = {
	{ SVM_QUIRK(fault_address, true,
		    "EXITINFO2 of a nested fault is the guest-physical "
		    "address, to the byte") },
	{ SVM_QUIRK(fault_present, true,
		    "EXITINFO1 bit 0 tells a missing right from a missing "
		    "entry") },
	{ SVM_QUIRK(fault_write, true,
		    "EXITINFO1 bit 1 tells a store from a load") },
	{ SVM_QUIRK(fault_user, true,
		    "EXITINFO1 bit 2 is set, whatever the CPL of the guest") },
	{ SVM_QUIRK(fault_fetch, true,
		    "EXITINFO1 bit 4 tells a fetch from a load") },
	{ SVM_QUIRK(fault_final, true,
		    "EXITINFO1 bit 32 alone says that the walk of the guest "
		    "was done") },
	{ SVM_QUIRK(fault_table, true,
		    "EXITINFO1 bit 33 alone says that an entry of the tables "
		    "of the guest was meant") },
	{ SVM_QUIRK(table_walk_writes, true,
		    "a walk of the guest's tables needs the right to write "
		    "them, also where A and D are set") },
	{ SVM_QUIRK(fault_reserved, true,
		    "EXITINFO1 bit 3 says that a reserved bit of a nested "
		    "entry is set"),
	  .needs = "fault_address" },
	{ SVM_QUIRK(reserved_is_present, true,
		    "EXITINFO1 bit 0 is set where bit 3 is"),
	  .needs = "fault_reserved" },
	{ SVM_QUIRK(
		fault_restarts, true,
		"after a nested fault RIP is that of the instruction, CR2 is "
		"unchanged, and the guest goes on where the entry was set") },
	{ SVM_QUIRK(guest_fault_first, true,
		    "a #PF of the guest exits with its error code and "
		    "address, before CR2 is written and before a nested "
		    "fault") },
	{ SVM_QUIRK(wide_address_is_guests, false,
		    "a guest-physical address beyond the width in CPUID is a "
		    "#PF of the guest, not a nested fault") },
	{ 0 },
};
