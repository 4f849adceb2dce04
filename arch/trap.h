/* SPDX-License-Identifier: MIT */
/*
 * trap.h - exceptions and interrupts: one entry path, one table of handlers
 */
#pragma once

#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/types.h"

/* What trap.asm pushes; the last five are the CPU's. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "trap.asm pushes 22 words");

/* Exceptions with their own stack, by IST number - 1. */
#define TRAP_ISTS 3

#define TRAP_VECTORS 256

enum trap_vector {
	TRAP_NMI = 2,
	TRAP_DF = 8,
	TRAP_GP = 13,
	TRAP_PF = 14,
	TRAP_MC = 18,
	IRQ_TIMER = 0x20,   /* LAPIC timer                                  */
	IRQ_RESCHED = 0x21, /* another CPU has work for this one            */
	IRQ_CALL = 0x22,    /* smp_call()                                   */
	IRQ_SERIAL = 0x23,  /* the serial line has received something       */
	IRQ_DEVICE = 0x30,  /* first of those given to devices              */
	IRQ_SPURIOUS = 0xff,
};

#define PF_WRITE   BIT(1)     /* error code of #PF: a store              */
#define PF_NO_CODE UINT64_MAX /* not a #PF: an interrupt of its vector   */

typedef void trap_handler(struct trap_frame *frame);

/* Builds the IDT; every vector then calls the fatal hook. */
void trap_init(void);

/* Loads the IDT on the calling CPU. */
void trap_load(void);

/*
 * Set the handler of a vector on every CPU; it runs with interrupts off.  NULL removes
 * it.  Interrupt handlers (vector >= 32) acknowledge with lapic_eoi() themselves.
 */
void trap_set_handler(unsigned vector, trap_handler *fn);

/*
 * Handle a vector without a handler: an interrupt is acknowledged and counted as
 * stray, a guarded access returns -EFAULT, any other exception is fatal.  Also called
 * by the handler of an exception whose vector an interrupt has.
 */
void trap_unserved(struct trap_frame *frame);

/* Returns whether the vector has a handler. */
bool trap_served(unsigned vector);

/* Sets the fatal hook: called for exceptions without a handler, does not return. */
void trap_set_fatal(trap_handler *fn);

/*
 * Stray interrupts: no handler serves the vector, it is one of an exception, or
 * it is an NMI that no CPU asked for.  A device that may write to the interrupt
 * address range can send any.
 * Each is acknowledged and counted; none is a panic.
 *
 * trap_stray() counts one; trap_stray_count() and trap_stray_take() return how many
 * arrived on any CPU at this vector; the second also sets the count to 0.
 */
void trap_stray(unsigned vector);
uint64_t trap_stray_count(unsigned vector);
uint64_t trap_stray_take(unsigned vector);

/* Ends the run by the fatal hook: the handler cannot serve this trap. */
noreturn void trap_fatal(struct trap_frame *frame);

/*
 * Called at the end of the outermost interrupt with interrupts off when
 * need_resched is set and preempt_count is 0: the scheduler.
 */
void trap_set_preempt(void (*fn)(void));

/*
 * If frame stopped at an instruction that may fault (arch/uaccess.asm), make its
 * function return -EFAULT, and return true.
 */
bool trap_fixup(struct trap_frame *frame);

/*
 * The return address of trap_dispatch().  The stack frame with this address lies just
 * below the trap_frame: a backtrace continues there.
 */
extern const char trap_return[];
#define TRAP_FRAME_ABOVE 16 /* the saved rbp and this return address        */

/* Returns the name of a vector: "#PF page fault", ... */
const char *trap_name(unsigned vector);
