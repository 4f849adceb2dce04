/* SPDX-License-Identifier: MIT */
/*
 * svm_trial.c - set the guest up, enter it
 */
#include "drivers/quirks/svm_trial.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"

#define GATE64 UINT64_C(0x8e00) /* present, an interrupt gate                */
#define CODE64 8u               /* selector in svm_trial_gdt                 */

static uint64_t *words(struct svm_trial *t, enum svm_trial_page page)
{
	return page_va(t->pages[page]);
}

uint64_t *svm_trial_table(struct svm_trial *t, unsigned level)
{
	return words(t, TRIAL_GUEST_LEAVES - level);
}

uint64_t *svm_trial_nested(struct svm_trial *t, unsigned level)
{
	return words(t, TRIAL_LEAVES - level);
}

uint64_t svm_trial_leaf(struct svm_trial *t, enum svm_trial_page page)
{
	return page_pa(t->pages[page]) | TRIAL_LEAF;
}

uint64_t svm_trial_rip(const char *program)
{
	return (uint64_t)(program - svm_trial_text);
}

void svm_trial_gate(struct svm_trial *t, unsigned vector)
{
	uint64_t rip = svm_trial_rip(svm_run_handler);

	words(t, TRIAL_IDT)[2 * vector] = rip | CODE64 << 16 | GATE64 << 32;
}

/* ---- memory and state before a row ------------------------------------------ */

static void reset_tables(struct svm_trial *t)
{
	for (unsigned level = 3; level; level--) {
		memset(svm_trial_table(t, level), 0, PAGE_SIZE);
		memset(svm_trial_nested(t, level), 0, PAGE_SIZE);
		svm_trial_table(t, level)[0] =
			svm_trial_gpa(TRIAL_GUEST_LEAVES - (level - 1)) |
			TRIAL_LEAF;
		svm_trial_nested(t, level)[0] =
			svm_trial_leaf(t, TRIAL_LEAVES - (level - 1));
	}
	svm_trial_table(t, 1)[TRIAL_SECOND >> 21] =
		TRIAL_SECOND | TRIAL_LEAF | PTE_PS;
	for (unsigned i = 0; i < TRIAL_VMCB; i++) {
		svm_trial_table(t, 0)[i] = svm_trial_gpa(i) | TRIAL_LEAF;
		svm_trial_nested(t, 0)[i] = svm_trial_leaf(t, i);
	}
	svm_trial_table(t, 0)[TRIAL_ALIAS >> PAGE_SHIFT] =
		svm_trial_gpa(TRIAL_A) | TRIAL_LEAF;
}

static void reset_data(struct svm_trial *t)
{
	for (unsigned i = TRIAL_A; i <= TRIAL_B; i++) {
		words(t, i)[0] = TRIAL_WORD(i);
		memcpy((char *)words(t, i) + TRIAL_CALL, "\x0f\x01\xd9", 3);
	}
	memset(words(t, TRIAL_IDT), 0, PAGE_SIZE);
}

static void reset_state(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	*c = (struct vmcb){ 0 };
	c->intercept = INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT |
		       INTERCEPT_SHUTDOWN | INTERCEPT_VMRUN | INTERCEPT_VMMCALL;
	c->intercept_exceptions = UINT32_MAX;
	c->io_permissions = c->msr_permissions = svm_all_intercepted();
	c->asid = TRIAL_ASID;
	c->tlb_control = TLB_CONTROL_FLUSH;
	c->interrupt_control = V_INTR_MASKING;
	c->nested_enable = 1;
	c->nested_root = page_pa(t->pages[TRIAL_ROOT]);
	vcpu_set_long_mode(&t->cpu, 0, svm_trial_gpa(TRIAL_STACK) + 0x800,
			   svm_trial_gpa(TRIAL_GUEST_ROOT));
	c->idtr = (struct vmcb_segment){ 0, 0, PAGE_SIZE - 1,
					 svm_trial_gpa(TRIAL_IDT) };
	c->gdtr =
		(struct vmcb_segment){ 0, 0, 23, svm_trial_rip(svm_trial_gdt) };
	t->cpu.regs = (struct svm_regs){ 0 };
}

void svm_trial_reset(struct svm_trial *t)
{
	reset_tables(t);
	reset_data(t);
	reset_state(t);
	t->entries = 0;
}

/* ---- life --------------------------------------------------------------------- */

int svm_trial_open(struct svm_trial *t)
{
	require(may_sleep());
	assert(svm_present());
	*t = (struct svm_trial){ .enter = svm_trial_enter };
	for (unsigned i = 0; i < TRIAL_PAGES; i++) {
		t->pages[i] = page_alloc_zeroed();
		if (!t->pages[i]) {
			svm_trial_close(t);
			return err(ENOMEM);
		}
	}
	t->cpu.vmcb = page_va(t->pages[TRIAL_VMCB]);
	t->cpu.vmcb_pa = page_pa(t->pages[TRIAL_VMCB]);
	memcpy(words(t, TRIAL_CODE), svm_trial_text,
	       (size_t)(svm_trial_end - svm_trial_text));
	svm_trial_reset(t);
	return 0;
}

void svm_trial_close(struct svm_trial *t)
{
	for (unsigned i = 0; i < TRIAL_PAGES; i++)
		if (t->pages[i])
			page_put(t->pages[i]);
}

/* ---- entry ---------------------------------------------------------------------- */

void svm_trial_enter(struct svm_trial *t)
{
	uint64_t flags = irq_save();

	svm_clgi();
	svm_enter(t->cpu.vmcb_pa, &t->cpu.regs, svm_host[cpu_id()]);
	svm_stgi();
	irq_restore(flags);
}

uint32_t svm_trial_run(struct svm_trial *t, const char *program)
{
	struct vmcb *c = t->cpu.vmcb;

	c->rip = svm_trial_rip(program);
	t->enter(t);
	t->entries++;
	c->tlb_control = TLB_CONTROL_NONE;
	return (uint32_t)c->exit_code;
}

uint32_t svm_trial_at(struct svm_trial *t, const char *program, uint64_t rbx)
{
	t->cpu.regs.rbx = rbx;
	return svm_trial_run(t, program);
}
