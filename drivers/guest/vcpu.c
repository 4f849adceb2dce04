/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - enter a guest, serve what it leaves for
 *
 * All guests have one ASID, the tag of their cached translations.  So an entry asks
 * for a flush unless this CPU's last guest was this vCPU, this vCPU's last CPU was
 * this one, and the guest was not kicked since.  QEMU flushes at every VMRUN, with
 * the request and without.
 */
#include "drivers/guest/vcpu.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"

#define ASID 1u

#define UD         6u
#define GP         13u
#define INTERRUPTS 32u /* vectors from here on are no exceptions           */

#define CR0_PE    BIT(0)
#define CR0_EM    BIT(2)
#define CR0_ET    BIT(4)
#define CR0_WP    BIT(16)
#define CR0_PG    BIT(31)
#define CR4_PAE   BIT(5)
#define EFER_LME  BIT(8)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)
#define EFER_SVME BIT(12)

#define CODE64    0xa9b /* G, L, present, code, read, accessed            */
#define DATA      0xc93 /* G, D, present, data, write, accessed           */
#define TSS64     0x08b /* present, busy                                  */
#define PAT_RESET UINT64_C(0x0007040600070406)

/* Lengths of instructions: QEMU has no next_rip. */
#define CALL_BYTES 3u /* VMMCALL                                         */
#define HLT_BYTES  1u

/* What the guest must not do by itself.  PAUSE is not in it: it hands over the turn
 * of an emulated CPU, and so two of them take turns without an exit. */
#define INTERCEPTS                                                           \
	(INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT |   \
	 INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO | \
	 INTERCEPT_MSR | INTERCEPT_TASK | INTERCEPT_FERR |                   \
	 INTERCEPT_SHUTDOWN | INTERCEPT_VMRUN | INTERCEPT_VMMCALL |          \
	 INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |              \
	 INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |              \
	 INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_XSETBV)

static _Atomic uint64_t last_tag;
static uint64_t entered[MAX_CPUS]; /* only this CPU: tag of its last vCPU  */

static uint64_t new_tag(void)
{
	return 1 +
	       atomic_fetch_add_explicit(&last_tag, 1, memory_order_relaxed);
}

/* ---- life --------------------------------------------------------------- */

int vcpu_create(struct vcpu *v, struct guest *g)
{
	struct page *page;
	struct vmcb *c;

	require(may_sleep());
	page = page_alloc_zeroed();
	if (!page)
		return err(ENOMEM);
	c = page_va(page);
	*v = (struct vcpu){ .guest = g, .vmcb = c, .tag = new_tag() };
	v->vmcb_pa = virt_to_phys(c);
	c->intercept = INTERCEPTS;
	c->intercept_cr =
		INTERCEPT_WRITE(0) | INTERCEPT_WRITE(4) | INTERCEPT_WRITE(8);
	c->intercept_dr = UINT32_MAX;
	c->io_permissions = c->msr_permissions = svm_all_intercepted();
	c->asid = ASID;
	c->interrupt_control = V_INTR_MASKING;
	c->nested_enable = 1;
	c->nested_root = g->root;
	return 0;
}

void vcpu_destroy(struct vcpu *v)
{
	page_put(page_of_va(v->vmcb));
	v->vmcb = NULL;
}

void vcpu_set_long_mode(struct vcpu *v, uint64_t rip, uint64_t rsp, gpa_t cr3)
{
	struct vmcb *c = v->vmcb;
	struct vmcb_segment data = { 16, DATA, UINT32_MAX, 0 };

	c->cs = (struct vmcb_segment){ 8, CODE64, UINT32_MAX, 0 };
	c->ss = c->ds = c->es = c->fs = c->gs = data;
	c->tr = (struct vmcb_segment){ 24, TSS64, 103, 0 };
	c->efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_NXE;
	c->cr0 = CR0_PE | CR0_EM | CR0_ET | CR0_WP | CR0_PG;
	c->cr4 = CR4_PAE;
	c->cr3 = cr3;
	c->dr6 = 0xffff0ff0;
	c->dr7 = 0x400;
	c->rflags = BIT(1);
	c->rip = rip;
	c->rsp = rsp;
	c->pat = PAT_RESET;
}

/* After a refusal RIP is the host's; after a triple fault nothing is defined. */
static bool has_state(const struct vmcb *c)
{
	uint32_t code = (uint32_t)c->exit_code;

	return code != EXIT_INVALID && code != EXIT_SHUTDOWN;
}

void vcpu_take_state(struct vcpu *v, const struct vcpu *from)
{
	struct vmcb *c = v->vmcb;
	const struct vmcb *old = from->vmcb;

	assert(has_state(old));
	v->regs = from->regs;
	memcpy(&c->es, &old->es, sizeof(*c) - offsetof(struct vmcb, es));
	c->interrupt_control = old->interrupt_control;
	c->interrupt_shadow = old->interrupt_shadow;
	c->event = old->event;
}

/* ---- entry -------------------------------------------------------------- */

/*
 * Must this CPU forget something before v runs on it?  kicks is read after the CPU is
 * in guest->cpus (guest.c).  Context: preemption off.
 */
static bool stale(struct vcpu *v, const struct guest *g, unsigned cpu)
{
	uint64_t kicks = atomic_load_explicit(&g->kicks, memory_order_seq_cst);

	if (likely(entered[cpu] == v->tag && v->seen == kicks))
		return false;
	v->tag = entered[cpu] = new_tag();
	v->seen = kicks;
	return true;
}

static bool may_enter(const struct vcpu *v, const struct guest *g)
{
	return !atomic_load_explicit(&g->dead, memory_order_seq_cst) &&
	       !atomic_load_explicit(&v->stop, memory_order_seq_cst);
}

/* Say that this CPU is in guest mode, or about to be.  (gcc makes one instruction of
 * an access and the test of what it returns if both have the same variable.) */
static always_inline unsigned begin(struct guest *g)
{
	uint64_t me, were;
	unsigned cpu;

	preempt_disable();
	svm_clgi();
	cpu = cpu_id();
	me = BIT(cpu);
	were = atomic_fetch_or_explicit(&g->cpus, me, memory_order_seq_cst);
	assert(!(were & me));
	return cpu;
}

/* Undo it. */
static always_inline void end(struct guest *g, unsigned cpu)
{
	uint64_t me = BIT(cpu), were;

	were = atomic_fetch_and_explicit(&g->cpus, ~me, memory_order_release);
	assert(were & me);
	svm_stgi();
	preempt_enable();
}

/*
 * The exit is counted, and the CPU leaves guest->cpus, while interrupts wait: the
 * handler of the kick, and the thread that waits for it, find both done.
 */
bool vcpu_enter(struct vcpu *v)
{
	struct guest *g = v->guest;
	unsigned cpu;

	require(irqs_enabled());
	cpu = begin(g);
	if (unlikely(!may_enter(v, g))) {
		end(g, cpu);
		return false;
	}
	if (stale(v, g, cpu)) //: vcpu-flush
		v->vmcb->tlb_control = TLB_CONTROL_FLUSH;
	PROBE(vcpu_enter, v, v->vmcb->tlb_control);
	svm_enter(v->vmcb_pa, &v->regs, svm_host[cpu]);
	PROBE(vcpu_exit, v, v->vmcb->exit_code);
	v->vmcb->tlb_control = TLB_CONTROL_NONE;
	atomic_fetch_add_explicit(&v->exits, 1, memory_order_relaxed);
	end(v->guest, cpu);
	return true;
}

void vcpu_stop(struct vcpu *v)
{
	atomic_store_explicit(&v->stop, true, memory_order_seq_cst);
	guest_kick(v->guest);
}

/* ---- exits -------------------------------------------------------------- */

void vcpu_inject(struct vcpu *v, unsigned vector, uint64_t error)
{
	uint64_t e =
		EVENT_VALID | FIELD_PREP(EVENT_TYPE, EVENT_EXCEPTION) | vector;

	if (error != NO_ERROR)
		e |= EVENT_HAS_ERROR | FIELD_PREP(EVENT_ERROR, error);
	v->vmcb->event = e;
}

/* Let the interrupt wait until IF is 1. */
static void pend(struct vmcb *c, unsigned vector)
{
	c->interrupt_control = V_INTR_MASKING | V_IRQ | V_IGN_TPR |
			       FIELD_PREP(V_INTR_PRIO, vector / 16) |
			       FIELD_PREP(V_INTR_VECTOR, vector);
}

bool vcpu_interrupt(struct vcpu *v, unsigned vector)
{
	assert(vector >= INTERRUPTS && vector < 256);
	if (v->vmcb->interrupt_control & V_IRQ)
		return false;
	pend(v->vmcb, vector);
	return true;
}

/*
 * The exit cut the delivery of an event short: deliver it again.  INT n is repeated by
 * itself.  An interrupt waits once more: QEMU calls it an exception, leaves V_IRQ set,
 * and may deliver one that is injected twice.
 */
static void redeliver(struct vmcb *c)
{
	uint64_t e = c->exit_int_info;

	c->event = 0;
	if (!(e & EVENT_VALID) || FIELD_GET(EVENT_TYPE, e) == EVENT_SOFTWARE)
		return;
	if (FIELD_GET(EVENT_VECTOR, e) < INTERRUPTS)
		c->event = e;
	else
		pend(c, FIELD_GET(EVENT_VECTOR, e)); //: vcpu-pend
}

static enum vcpu_exit serve_fault(struct vcpu *v)
{
	uint64_t why = v->vmcb->exit_info1, gpa = v->vmcb->exit_info2;
	enum prot access = why & NPF_FETCH   ? PROT_X
			   : why & NPF_WRITE ? PROT_W
					     : PROT_R;
	int error;

	if (why & NPF_RESERVED)
		panic("guest: a reserved bit of the nested table is set, at "
		      "%lx, error code %lx",
		      gpa, why);
	PROBE(vcpu_fault, v, gpa);
	error = v->guest->form->fault(v->guest, gpa, access);
	if (!error)
		return VCPU_AGAIN;
	v->fault.gpa = gpa;
	v->fault.access = access;
	v->fault.error = error;
	return VCPU_FAULT;
}

/* The shadow of STI or MOV SS is one instruction long: this one. */
static enum vcpu_exit after(struct vcpu *v, unsigned bytes, enum vcpu_exit why)
{
	v->vmcb->rip += bytes;
	v->vmcb->interrupt_shadow = 0;
	return why;
}

static enum vcpu_exit refuse(struct vcpu *v, unsigned vector, uint64_t error)
{
	vcpu_inject(v, vector, error);
	return VCPU_AGAIN;
}

/* INS and OUTS would access memory in the guest's name: there are none. */
static enum vcpu_exit serve_io(struct vcpu *v)
{
	if (v->vmcb->exit_info1 & IO_STRING)
		return refuse(v, GP, 0);
	v->vmcb->rip = v->vmcb->exit_info2;
	return after(v, 0, VCPU_IO);
}

/* There is no state to go on from: see has_state(). */
static enum vcpu_exit last(struct vcpu *v, enum vcpu_exit why)
{
	atomic_store_explicit(&v->stop, true, memory_order_relaxed);
	return why;
}

enum vcpu_exit vcpu_serve(struct vcpu *v)
{
	uint32_t code = (uint32_t)v->vmcb->exit_code;

	require(may_sleep());
	redeliver(v->vmcb);
	switch (code) {
	case EXIT_INTR:
	case EXIT_NMI:
	case EXIT_SMI:
	case EXIT_INIT:
		return VCPU_AGAIN; /* taken by the host at STGI */
	case EXIT_NPF:
		return serve_fault(v);
	case EXIT_VMMCALL:
		return after(v, CALL_BYTES, VCPU_CALL);
	case EXIT_HLT:
		return after(v, HLT_BYTES, VCPU_HLT);
	case EXIT_IO:
		return serve_io(v);
	case EXIT_SHUTDOWN:
		return last(v, VCPU_SHUTDOWN);
	case EXIT_INVALID:
		return last(v, VCPU_INVALID);
	case EXIT_MSR:
		return refuse(v, GP, 0);
	}
	if (code >= EXIT_CR0_WRITE && code < EXIT_DR0_READ)
		return refuse(v, GP, 0);
	return refuse(v, UD, NO_ERROR);
}

enum vcpu_exit vcpu_run(struct vcpu *v)
{
	enum vcpu_exit why;

	require(may_sleep());
	do
		why = vcpu_enter(v) ? vcpu_serve(v) : VCPU_STOPPED;
	while (why == VCPU_AGAIN);
	return why;
}
