/* SPDX-License-Identifier: MIT */
/*
 * svm_trial.h - a guest of 13 pages that one row of svm_quirks.h tries something with
 *
 *   guest-virtual                    guest-physical        nested
 *   page n                           page n                page n, all rights
 *   TRIAL_ALIAS                      page TRIAL_A          (address and page differ)
 *   TRIAL_SECOND + page n            the same              nothing: a row decides
 *   TRIAL_THIRD + 0 to 2 MiB         a row decides         nothing
 *
 * The pages are its program, a stack, an interrupt table, two pages of data, its own
 * tables and the nested ones: so the guest can change a nested entry without leaving
 * guest mode, and a row sees on one CPU what is cached.
 *
 * Interrupts are off while it runs, or one would end guest mode between two loads of a
 * row.  The guest runs programs of svm_trial.asm only, which all end, and its ASIDs are
 * no other guest's.
 */
#pragma once

#include "arch/pte.h"
#include "drivers/guest/vcpu.h"
#include "drivers/quirks/svm_quirks.h"

enum svm_trial_page {
	TRIAL_CODE,
	TRIAL_STACK,
	TRIAL_IDT,
	TRIAL_A, /* word 0 is TRIAL_WORD(TRIAL_A); VMMCALL at TRIAL_CALL     */
	TRIAL_B,
	TRIAL_GUEST_ROOT, /* level 3 of the guest's tables, then 2, 1, 0     */
	TRIAL_GUEST_LEAVES = TRIAL_GUEST_ROOT + 3,
	TRIAL_ROOT, /* the same of the nested ones                          */
	TRIAL_LEAVES = TRIAL_ROOT + 3,
	TRIAL_VMCB, /* the guest does not see it                             */
	TRIAL_PAGES,
};

#define TRIAL_ALIAS   UINT64_C(0x40000)
#define TRIAL_SECOND  UINT64_C(0x200000)
#define TRIAL_THIRD   UINT64_C(0x400000)
#define TRIAL_CALL    64u
#define TRIAL_ASID    2u /* and the one after it                             */
#define TRIAL_WORD(p) (UINT64_C(0x7261696c00000000) + (p))
#define TRIAL_LEAF    (PTE_P | PTE_W | PTE_U)

/* Of one thread at a time. */
struct svm_trial {
	struct vcpu cpu; /* its VMCB and registers; it has no guest          */
	struct page *pages[TRIAL_PAGES];
	void (*enter)(struct svm_trial *t); /* VMRUN; tests have others      */
	unsigned entries;                   /* since the last reset           */
};

/*
 * Open: the real CPU, all pages as they are before a row.  Returns 0, or -ENOMEM with
 * nothing left.  Close frees all.  Context: svm_present(); may sleep.
 */
must_check int svm_trial_open(struct svm_trial *t);
void svm_trial_close(struct svm_trial *t);

/* Restore pages and state; the next entry flushes.  Context, of this and all below: one
 * thread has the trial. */
void svm_trial_reset(struct svm_trial *t);

/* Run VMRUN on this CPU, with interrupts off. */
void svm_trial_enter(struct svm_trial *t);

/* Run a program from its label on; returns the exit code. */
uint32_t svm_trial_run(struct svm_trial *t, const char *program);

/* The same with rbx: an address. */
uint32_t svm_trial_at(struct svm_trial *t, const char *program, uint64_t rbx);

/* Return the guest's address of a program. */
uint64_t svm_trial_rip(const char *program);

/* Return a table of the guest or a nested one, by level: 0 has the leaves. */
uint64_t *svm_trial_table(struct svm_trial *t, unsigned level);
uint64_t *svm_trial_nested(struct svm_trial *t, unsigned level);

/* Return a nested leaf for a page, with all rights. */
uint64_t svm_trial_leaf(struct svm_trial *t, enum svm_trial_page page);

/* Let a vector lead to svm_run_handler. */
void svm_trial_gate(struct svm_trial *t, unsigned vector);

/* Return the guest-physical address of a page, which is its address too. */
static inline gpa_t svm_trial_gpa(enum svm_trial_page page)
{
	return (gpa_t)page << PAGE_SHIFT;
}

/* For the tables of rows, which end with a row without a name. */
#define SVM_QUIRK(name_, specified_, what_) \
	.name = #name_, .what = what_, .specified = specified_, .holds = name_

extern const struct svm_quirk svm_quirks_fault[], svm_quirks_walk[],
	svm_quirks_cache[], svm_quirks_event[], svm_quirks_exit[];

extern const char svm_trial_text[], svm_trial_end[], svm_trial_gdt[];
extern const char svm_run_nothing[], svm_run_load[], svm_run_store[],
	svm_run_jump[], svm_run_handler[], svm_run_enable[];
extern const char svm_run_change[], svm_run_change_invlpg[],
	svm_run_change_cr3[], svm_run_change_invlpga[], svm_run_change_store[],
	svm_run_change_and_look[];
extern const char svm_run_ud2[], svm_run_int3[], svm_run_icebp[],
	svm_run_cpuid[], svm_run_hlt[], svm_run_pause[], svm_run_invd[],
	svm_run_wbinvd[], svm_run_invlpg[], svm_run_invlpga[], svm_run_pushf[],
	svm_run_popf[], svm_run_str[], svm_run_sidt[], svm_run_out[],
	svm_run_rdmsr[], svm_run_wrmsr[], svm_run_read_cr0[],
	svm_run_write_cr0[], svm_run_read_dr6[], svm_run_write_dr6[],
	svm_run_rdtsc[];
