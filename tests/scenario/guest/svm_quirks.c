/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks.c - the probe of svm_quirks.h on this CPU, and on CPUs that are not it
 *
 * What the probe finds depends on this QEMU.  A claim that could be answered in one way
 * only would say nothing: so each is also tried on a CPU that keeps the manual, which is
 * this one with what QEMU lacks put in, and on three that do nothing right.
 */
#include "drivers/quirks/svm_trial.h"
#include "kernel/string.h"
#include "tests/fixture/guest/resident.h"

#define MSR_PAT    0x277u
#define INTERRUPT  0x30u
#define CLEAN      BIT(0)
#define BAD_PAT    UINT64_C(2)
#define WIDTH_64   BIT(9)
#define IS_GPR     BIT(63)
#define EXIT_INVD  0x76u
#define EXIT_ICEBP 0x88u
#define EXIT_CPUID 0x72u

static struct svm_trial t;

/* ---- a CPU of the manual ---------------------------------------------------- */

/* What it keeps from exit to entry: the last load, and the intercepts. */
static struct {
	uint64_t va, value, intercept;
	uint32_t asid;
} kept;

static const uint8_t *instruction(uint64_t rip)
{
	return (const uint8_t *)svm_trial_text + rip;
}

static bool leaves(uint32_t code)
{
	t.cpu.vmcb->exit_code = code;
	return true;
}

/* Refuse, or exit before the first instruction: what QEMU does not. */
static bool before(void)
{
	struct vmcb *c = t.cpu.vmcb;
	const uint8_t *at = instruction(c->rip);
	uint32_t r[4];

	cpuid(0x8000000a, r);
	if (!c->asid || c->asid >= r[1] || c->pat == BAD_PAT)
		return leaves(EXIT_INVALID);
	if (c->clean & CLEAN)
		c->intercept = kept.intercept;
	kept.intercept = c->intercept;
	if (at[0] == 0x0f && at[1] == 0x08 && c->intercept & INTERCEPT_INVD)
		return leaves(EXIT_INVD);
	if (at[0] == 0xf1 && c->intercept & BIT(40))
		return leaves(EXIT_ICEBP);
	if (at[0] == 0xcc && c->intercept_exceptions & BIT(3))
		return leaves(EXIT_EXCEPTION + 3);
	if (at == (const uint8_t *)svm_run_load && kept.asid == c->asid &&
	    kept.va == t.cpu.regs.rbx && !c->tlb_control) {
		c->rax = kept.value;
		return leaves(EXIT_VMMCALL);
	}
	return false;
}

/* Tell what QEMU does not. */
static void after(uint64_t rip)
{
	struct vmcb *c = t.cpu.vmcb;
	const uint8_t *at = instruction(rip);
	uint64_t *event = &c->exit_int_info;

	switch ((uint32_t)c->exit_code) {
	case EXIT_NPF:
		if (c->exit_info1 & NPF_RESERVED)
			c->exit_info1 |= NPF_PRESENT;
		if (FIELD_GET(EVENT_VECTOR, *event) == INTERRUPT) {
			*event = EVENT_VALID | INTERRUPT;
			c->interrupt_control &= ~V_IRQ;
		}
		break;
	case EXIT_CR0_WRITE:
		c->exit_info1 = IS_GPR | (at[2] & 7u);
		break;
	case EXIT_CPUID:
		c->next_rip = rip + 2;
		break;
	case EXIT_IO:
		c->exit_info1 |= WIDTH_64;
		break;
	case EXIT_VMMCALL:
		if (at == (const uint8_t *)svm_run_change_invlpg)
			c->rax = TRIAL_WORD(TRIAL_B);
		if (at == (const uint8_t *)svm_run_change_invlpga)
			c->rax = TRIAL_WORD(TRIAL_A);
		if (at == (const uint8_t *)svm_run_load) {
			kept.va = t.cpu.regs.rbx;
			kept.value = c->rax;
			kept.asid = c->asid;
		}
		break;
	default:
		break;
	}
}

static void by_the_manual(struct svm_trial *unused)
{
	struct vmcb *c = t.cpu.vmcb;
	uint64_t rip = c->rip, control = c->interrupt_control;
	uint64_t pat = rdmsr(MSR_PAT);

	if (c->tlb_control)
		kept.asid = 0;
	if (before())
		return;
	if (!(control & V_IGN_TPR) &&
	    FIELD_GET(V_INTR_PRIO, control) <= (control & 0xff))
		c->interrupt_control &= ~V_IRQ;
	svm_trial_enter(&t);
	if (rdmsr(MSR_PAT) != pat) {
		c->pat = rdmsr(MSR_PAT);
		wrmsr(MSR_PAT, pat);
	}
	after(rip);
}

/* ---- CPUs that do nothing right ----------------------------------------------- */

static void does_nothing(struct svm_trial *unused)
{
	t.cpu.vmcb->exit_code = EXIT_VMMCALL;
}

static void refuses(struct svm_trial *unused)
{
	t.cpu.vmcb->exit_code = EXIT_INVALID;
	t.cpu.vmcb->rip = 0;
}

static void faults(struct svm_trial *unused)
{
	t.cpu.vmcb->exit_code = EXIT_NPF;
	t.cpu.vmcb->exit_info1 = NPF_TABLE | NPF_FINAL;
}

/* ---- tests -------------------------------------------------------------------------- */

static bool holds(const struct svm_quirk *row,
		  void (*enter)(struct svm_trial *))
{
	t.enter = enter;
	svm_trial_reset(&t);
	return row->holds(&t);
}

static void open(void)
{
	need_svm();
	REQUIRE(svm_trial_open(&t) == 0);
}

static void wrong(const struct svm_quirk *row, const char *how)
{
	test_fail(__FILE__, __LINE__, "%s %s", row->name, how);
}

TEST(svm_quirks, every_claim_can_hold,
     "each claim of the probe holds on a CPU that keeps the manual, and caches "
     "what "
     "it leaves open")
{
	const struct svm_quirk *row;

	open();
	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		if (!holds(row, by_the_manual))
			wrong(row, "cannot hold");
	svm_trial_close(&t);
}

TEST(svm_quirks, every_claim_can_fail,
     "each claim of the probe fails on a CPU that does nothing, refuses "
     "every VMRUN, or faults without a reason")
{
	const struct svm_quirk *row;

	open();
	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		if (holds(row, does_nothing) && holds(row, refuses) &&
		    holds(row, faults))
			wrong(row, "cannot fail");
	svm_trial_close(&t);
}

static const char *const needed[] = {
	"fault_address",
	"fault_present",
	"fault_write",
	"fault_fetch",
	"fault_table",
	"table_walk_writes",
	"fault_restarts",
	"leaf_rights_count",
	"upper_rights_count",
	"right_counts_without_wp",
	"sets_accessed",
	"sets_dirty",
	"upgrade_seen",
	"injects",
	"event_cleared",
	"virq_waits",
	"delivery_told",
	"shutdown_exits",
	"intercepts_hlt",
	"intercepts_dr",
	"intercepts_cr_write",
	"port_told",
	"msr_told",
	"refuses_bad_state",
};

TEST(svm_quirks, kernel_has_what_it_needs,
     "what drivers/guest rests on holds on this CPU, and no row is answered "
     "whose "
     "condition does not hold")
{
	const enum svm_answer *answers;
	const struct svm_quirk *row;
	const char *why;

	need_svm();
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
		EXPECT_STR_NULL(svm_quirk_lacking(needed[i]));
	answers = svm_quirks(&why);
	REQUIRE(answers);
	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		EXPECT((answers[i] == SVM_UNKNOWN) ==
		       (row->needs && svm_quirk_lacking(row->needs)));
}

TEST(svm_quirks, answers_are_repeatable,
     "a second probe of SVM gives the same answers, and changes no PAT of the "
     "host")
{
	enum svm_answer again[SVM_QUIRKS_MAX];
	const enum svm_answer *first;
	const struct svm_quirk *row;
	const char *why;
	uint64_t pat = rdmsr(MSR_PAT);

	open();
	first = svm_quirks(&why);
	REQUIRE(first);
	svm_quirks_measure(&t, again);
	for (unsigned i = 0; (row = svm_quirk_at(i)); i++)
		if (again[i] != first[i])
			wrong(row, "has two answers");
	EXPECT_EQ(rdmsr(MSR_PAT), pat);
	svm_trial_close(&t);
}
