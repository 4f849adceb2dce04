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

/* Stacks of their own, by IST number - 1. */
#define TRAP_ISTS 3

enum trap_vector {
	TRAP_DB = 1,
	TRAP_NMI = 2,
	TRAP_BP = 3,
	TRAP_UD = 6,
	TRAP_DF = 8,
	TRAP_GP = 13,
	TRAP_PF = 14,
	TRAP_MC = 18,
	IRQ_TIMER = 0x20,   /* LAPIC timer                                  */
	IRQ_RESCHED = 0x21, /* another CPU has work for this one            */
	IRQ_CALL = 0x22,    /* smp_call()                                   */
	IRQ_SERIAL = 0x23,  /* the serial line has received something       */
	IRQ_DEVICE = 0x30,  /* first of those handed out to devices         */
	IRQ_SPURIOUS = 0xff,
};

#define PF_PRESENT BIT(0) /* error code of #PF: rights, not absence       */
#define PF_WRITE   BIT(1)
#define PF_FETCH   BIT(4)

typedef void trap_handler(struct trap_frame *frame);

/* Build the IDT; every vector then ends in the fatal hook. */
void trap_init(void);

/* Load the IDT on the calling CPU. */
void trap_load(void);

/*
 * Serve a vector from now on, on every CPU, with interrupts off.  Interrupt
 * handlers (vector >= 32) acknowledge with lapic_eoi() themselves.
 */
void trap_set_handler(unsigned vector, trap_handler *fn);

/* Called, and not expected to return, for what nobody serves. */
void trap_set_fatal(trap_handler *fn);

/* Nobody serves this trap after all: the fatal hook, then the end. */
noreturn void trap_fatal(struct trap_frame *frame);

/*
 * Called at the end of the outermost interrupt with interrupts off when
 * need_resched is set and preempt_count is 0: the scheduler.
 */
void trap_set_preempt(void (*fn)(void));

/*
 * If frame stopped at an instruction that may fault (arch/uaccess.h), arrange
 * that it resumes behind it with -EFAULT, and return true.
 */
bool trap_fixup(struct trap_frame *frame);

/* "#PF page fault", ... */
const char *trap_name(unsigned vector);
