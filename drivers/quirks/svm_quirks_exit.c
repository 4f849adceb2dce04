/* SPDX-License-Identifier: MIT */
/*
 * svm_quirks_exit.c - intercepts, what an exit tells, what VMRUN refuses
 *
 * APM vol. 2, sections 15.5.1, 15.7 to 15.12 and appendix C.
 */
#include "drivers/quirks/svm_trial.h"

#define PORT        0x80u /* nothing listens                                 */
#define MSR_PAT     0x277u
#define CR0_NW      BIT(29)
#define EFER_SVME   BIT(12)
#define ADDRESS_64  BIT(9) /* of EXIT_IO                                     */
#define OFFSET      BIT(40)
#define BAD_PAT     UINT64_C(2) /* no memory type                            */
#define EXIT_BASE   0x60u       /* exit code of intercept bit 0              */
#define CR_EXIT_GPR BIT(63)

/* Exits where intercepted, and only there? */
static bool exits(struct svm_trial *t, const char *program, unsigned bit)
{
	uint64_t a = svm_trial_gpa(TRIAL_A);
	bool free;

	svm_trial_reset(t);
	free = svm_trial_at(t, program, a) == EXIT_VMMCALL;
	svm_trial_reset(t);
	t->cpu.vmcb->intercept |= BIT(bit);
	return free && svm_trial_at(t, program, a) == EXIT_BASE + bit &&
	       t->cpu.vmcb->rip == svm_trial_rip(program);
}

static bool intercepts(struct svm_trial *t)
{
	return exits(t, svm_run_sidt, 6) && exits(t, svm_run_str, 9) &&
	       exits(t, svm_run_rdtsc, 14) && exits(t, svm_run_pushf, 16) &&
	       exits(t, svm_run_popf, 17) && exits(t, svm_run_cpuid, 18) &&
	       exits(t, svm_run_pause, 23) && exits(t, svm_run_invlpg, 25) &&
	       exits(t, svm_run_invlpga, 26) && exits(t, svm_run_wbinvd, 41);
}

static bool intercepts_invd(struct svm_trial *t)
{
	return exits(t, svm_run_invd, 22);
}

static bool intercepts_icebp(struct svm_trial *t)
{
	t->cpu.vmcb->intercept |= BIT(40);
	return svm_trial_run(t, svm_run_icebp) == EXIT_BASE + 40;
}

static bool intercepts_hlt(struct svm_trial *t)
{
	t->cpu.vmcb->intercept |= INTERCEPT_HLT;
	return svm_trial_run(t, svm_run_hlt) == EXIT_HLT;
}

/* The same of an access to a register, whose bit is in one of two fields. */
static bool accesses(struct svm_trial *t, const char *program, uint32_t *field,
		     uint32_t bit, uint32_t code)
{
	uint64_t cr0 = t->cpu.vmcb->cr0;
	bool free = svm_trial_at(t, program, cr0) == EXIT_VMMCALL;

	svm_trial_reset(t);
	*field = bit;
	return free && svm_trial_at(t, program, cr0) == code;
}

static bool intercepts_cr_write(struct svm_trial *t)
{
	return accesses(t, svm_run_write_cr0, &t->cpu.vmcb->intercept_cr,
			INTERCEPT_WRITE(0), EXIT_CR0_WRITE);
}

static bool intercepts_cr_read(struct svm_trial *t)
{
	return accesses(t, svm_run_read_cr0, &t->cpu.vmcb->intercept_cr, BIT(0),
			EXIT_CR0_READ);
}

static bool intercepts_dr(struct svm_trial *t)
{
	uint32_t *field = &t->cpu.vmcb->intercept_dr;

	if (!accesses(t, svm_run_write_dr6, field, INTERCEPT_WRITE(6),
		      EXIT_DR0_WRITE + 6))
		return false;
	svm_trial_reset(t);
	return accesses(t, svm_run_read_dr6, field, BIT(6), EXIT_DR0_READ + 6);
}

static bool decode_assists(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;

	c->intercept_cr = INTERCEPT_WRITE(0);
	return svm_trial_at(t, svm_run_write_cr0, c->cr0) == EXIT_CR0_WRITE &&
	       c->exit_info1 == (CR_EXIT_GPR | 3); /* RBX */
}

static bool next_rip(struct svm_trial *t)
{
	t->cpu.vmcb->intercept |= BIT(18);
	return svm_trial_run(t, svm_run_cpuid) == EXIT_BASE + 18 &&
	       t->cpu.vmcb->next_rip == svm_trial_rip(svm_run_cpuid) + 2;
}

static bool port(struct svm_trial *t)
{
	t->cpu.vmcb->intercept |= INTERCEPT_IO;
	t->cpu.regs.rdx = PORT;
	return svm_trial_run(t, svm_run_out) == EXIT_IO;
}

static bool port_told(struct svm_trial *t)
{
	const struct vmcb *c = t->cpu.vmcb;

	return port(t) && FIELD_GET(IO_PORT, c->exit_info1) == PORT &&
	       FIELD_GET(IO_SIZE, c->exit_info1) == 1 &&
	       !(c->exit_info1 & (IO_IN | IO_STRING)) &&
	       c->exit_info2 == svm_trial_rip(svm_run_out) + 1;
}

static bool port_width_told(struct svm_trial *t)
{
	return port(t) && t->cpu.vmcb->exit_info1 & ADDRESS_64;
}

static bool msr_told(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;
	bool read;

	c->intercept |= INTERCEPT_MSR;
	t->cpu.regs.rcx = MSR_PAT;
	read = svm_trial_run(t, svm_run_rdmsr) == EXIT_MSR && !c->exit_info1;
	return read && svm_trial_run(t, svm_run_wrmsr) == EXIT_MSR &&
	       c->exit_info1 == 1;
}

/* The guest changes the type that no entry of the kernel uses. */
static bool pat_switched(struct svm_trial *t)
{
	uint64_t host = rdmsr(MSR_PAT), mine = host ^ BIT(56), now;

	t->cpu.regs.rcx = MSR_PAT;
	t->cpu.regs.rdx = mine >> 32;
	t->cpu.vmcb->rax = mine & UINT32_MAX;
	if (svm_trial_run(t, svm_run_wrmsr) != EXIT_VMMCALL)
		return false;
	now = rdmsr(MSR_PAT);
	wrmsr(MSR_PAT, host);
	return now == host && t->cpu.vmcb->pat == mine;
}

static bool tsc_offset(struct svm_trial *t)
{
	uint64_t before = rdtsc(), theirs;

	t->cpu.vmcb->tsc_offset = OFFSET;
	if (svm_trial_run(t, svm_run_rdtsc) != EXIT_VMMCALL)
		return false;
	theirs = t->cpu.vmcb->rax - OFFSET;
	return theirs - before < OFFSET && rdtsc() - theirs < OFFSET;
}

/* ---- refusals ------------------------------------------------------------------ */

static bool refuses(struct svm_trial *t)
{
	bool yes = svm_trial_run(t, svm_run_nothing) == EXIT_INVALID;

	svm_trial_reset(t);
	return yes;
}

static bool refuses_bad_state(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;
	bool all;

	c->asid = 0;
	all = refuses(t);
	c->intercept &= ~INTERCEPT_VMRUN;
	all &= refuses(t);
	c->efer &= ~EFER_SVME;
	all &= refuses(t);
	c->cr0 |= CR0_NW;
	all &= refuses(t);
	c->cr4 = 0; /* PAE */
	all &= refuses(t);
	c->dr7 |= BIT(32);
	return refuses(t) && all;
}

static bool refuses_high_asid(struct svm_trial *t)
{
	uint32_t r[4];

	cpuid(0x8000000a, r);
	t->cpu.vmcb->asid = r[1];
	return refuses(t);
}

static bool refuses_bad_pat(struct svm_trial *t)
{
	t->cpu.vmcb->pat = BAD_PAT;
	return refuses(t);
}

static bool refused_is_unchanged(struct svm_trial *t)
{
	struct vmcb *c = t->cpu.vmcb;
	uint64_t rsp = c->rsp, cr3 = c->cr3;

	c->asid = 0;
	return svm_trial_run(t, svm_run_nothing) == EXIT_INVALID &&
	       c->rip == svm_trial_rip(svm_run_nothing) && c->rsp == rsp &&
	       c->cr3 == cr3;
}

const struct svm_quirk svm_quirks_exit[] = {
	{ SVM_QUIRK(intercepts, true,
		    "SIDT, STR, RDTSC, PUSHF, POPF, CPUID, PAUSE, INVLPG, "
		    "INVLPGA and WBINVD exit where they are intercepted, and "
		    "only there") },
	{ SVM_QUIRK(intercepts_hlt, true,
		    "HLT exits where it is intercepted") },
	{ SVM_QUIRK(intercepts_invd, true,
		    "INVD exits where it is intercepted") },
	{ SVM_QUIRK(intercepts_icebp, true,
		    "ICEBP exits where it is intercepted") },
	{ SVM_QUIRK(
		intercepts_dr, true,
		"reads and writes of DR6 exit where they are intercepted") },
	{ SVM_QUIRK(intercepts_cr_write, true,
		    "writes of CR0 exit where they are intercepted") },
	{ SVM_QUIRK(intercepts_cr_read, true,
		    "reads of CR0 exit where they are intercepted") },
	{ SVM_QUIRK(decode_assists, false,
		    "the exit of a write to CR0 names the register that it "
		    "comes from (DecodeAssists)"),
	  .needs = "intercepts_cr_write" },
	{ SVM_QUIRK(next_rip, false,
		    "an exit tells where the next instruction is (NRIPS)") },
	{ SVM_QUIRK(port_told, true,
		    "the exit of OUT tells port, size and the next "
		    "instruction") },
	{ SVM_QUIRK(port_width_told, true,
		    "the exit of OUT tells the width of addresses"),
	  .needs = "port_told" },
	{ SVM_QUIRK(msr_told, true,
		    "the exit of RDMSR and WRMSR tells which of them it "
		    "was") },
	{ SVM_QUIRK(pat_switched, true,
		    "PAT that the guest writes is its own, not the host's") },
	{ SVM_QUIRK(tsc_offset, true, "the guest's RDTSC adds TSC_OFFSET") },
	{ SVM_QUIRK(refuses_bad_state, true,
		    "VMRUN refuses ASID 0, a VMCB that does not intercept "
		    "VMRUN, EFER without SVME, NW without CD, long mode "
		    "without PAE, and a high half of DR7") },
	{ SVM_QUIRK(refuses_high_asid, false,
		    "VMRUN refuses an ASID beyond the number in CPUID") },
	{ SVM_QUIRK(refuses_bad_pat, true,
		    "VMRUN refuses a PAT with a reserved memory type") },
	{ SVM_QUIRK(refused_is_unchanged, false,
		    "a refusal leaves the guest's RIP, RSP and CR3 in the "
		    "VMCB"),
	  .needs = "refuses_bad_state" },
	{ 0 },
};
