/* SPDX-License-Identifier: MIT */
/*
 * vcpu.h - one processor of a guest
 *
 *	struct vcpu v;
 *
 *	vcpu_create(&v, guest);
 *	vcpu_set_long_mode(&v, rip, rsp, cr3);
 *	while (vcpu_run(&v) == VCPU_CALL)
 *		... v.regs, v.vmcb->rax ...
 *	vcpu_destroy(&v);
 *
 * The thread that calls vcpu_run() is the processor.  It may be preempted and may
 * change its CPU between two exits; in guest mode it does neither.
 *
 * The guest's memory is confined by the nested table, everything else by intercepts:
 * ports, MSRs, HLT, writes of CR0 and CR4, debug registers, and all instructions of
 * SVM.  It has no FPU: CR0.EM is set, and stays so.
 */
#pragma once

#include "drivers/guest/guest.h"

enum vcpu_exit {
	VCPU_AGAIN,    /* served: never returned by vcpu_run()              */
	VCPU_CALL,     /* VMMCALL                                           */
	VCPU_HLT,      /* HLT                                               */
	VCPU_IO,       /* IN or OUT: vmcb->exit_info1, IO_*; data in RAX     */
	VCPU_FAULT,    /* vcpu->fault: no memory there, or no right         */
	VCPU_SHUTDOWN, /* a triple fault: it is never entered again         */
	VCPU_INVALID,  /* VMRUN refuses the state: likewise                 */
	VCPU_STOPPED,  /* vcpu_stop(), or the mm has exited                 */
};

/* Key: (I) immutable after vcpu_create()  (T) the thread in vcpu_run(), or, outside
 *      of it, the caller  (A) atomic */
struct vcpu {
	struct guest *guest;    /* (I)                                      */
	struct vmcb *vmcb;      /* (T) a page                               */
	pa_t vmcb_pa;           /* (I) its address for VMRUN                */
	struct svm_regs regs;   /* (T)                                      */
	uint64_t tag;           /* (T) new at each flush, never used twice   */
	uint64_t seen;          /* (T) guest->kicks at that flush           */
	_Atomic uint64_t exits; /* (A)                                      */
	_Atomic bool stop;      /* (A)                                      */
	struct {
		gpa_t gpa;
		enum prot access;
		int error; /* -EFAULT or -ENOMEM                       */
	} fault;           /* (T) of VCPU_FAULT                        */
};

/* Make a processor of g that has no state yet.  Returns 0 or -ENOMEM.
 * Context: may sleep. */
must_check int vcpu_create(struct vcpu *v, struct guest *g);

/* Context: no thread is in vcpu_run(). */
void vcpu_destroy(struct vcpu *v);

/*
 * Start in 64-bit mode at rip, with the page table at guest-physical cr3, interrupts
 * off, no interrupt table: an exception is a triple fault.
 * Context: no thread is in vcpu_run().
 */
void vcpu_set_long_mode(struct vcpu *v, uint64_t rip, uint64_t rsp, gpa_t cr3);

/* Let v, just made, go on where `from` stands, in the memory of its own guest: all
 * registers, and the interrupt that waits.  `from` has not ended by VCPU_SHUTDOWN or
 * VCPU_INVALID, which leave no state.  Context: no thread is in vcpu_run(). */
void vcpu_take_state(struct vcpu *v, const struct vcpu *from);

/*
 * Enter the guest once.  Returns false if it may not be entered: stopped, or its mm
 * has exited.  Otherwise v->vmcb says why it left, nothing of that is served, and
 * v->exits has risen before any interrupt of the host is taken.
 * Context: interrupts on, not in an interrupt.
 */
bool vcpu_enter(struct vcpu *v);

/*
 * Serve the exit.  Returns VCPU_AGAIN if the guest can go on.
 * Context: may sleep: a nested fault is a fault of the mm.
 */
enum vcpu_exit vcpu_serve(struct vcpu *v);

/* Enter and serve until there is something for the caller to do.  RIP is then after
 * the instruction, but for VCPU_FAULT, which repeats it.  Context: may sleep. */
enum vcpu_exit vcpu_run(struct vcpu *v);

/* Make vcpu_run() return VCPU_STOPPED, now or at its next call; for good.
 * Context: as guest_kick(). */
void vcpu_stop(struct vcpu *v);

/* Deliver exception vector at the next entry; error is its code, NO_ERROR for
 * none.  Context: no thread is in vcpu_run(). */
#define NO_ERROR UINT64_MAX
void vcpu_inject(struct vcpu *v, unsigned vector, uint64_t error);

/*
 * Let the guest take interrupt vector, 32 or above, as soon as its IF allows.
 * Returns false, and changes nothing, if the last one still waits.
 * Context: no thread is in vcpu_run().
 */
bool vcpu_interrupt(struct vcpu *v, unsigned vector);
