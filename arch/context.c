/* SPDX-License-Identifier: MIT */
/*
 * context.c - the first context on a new stack, for context_switch()
 */
#include "arch/context.h"
#include "arch/types.h"

void context_start(void);

/* In the order in which context_switch() pops them. */
struct saved {
	uint64_t r15, r14, r13, r12, rbx, rbp, rip;
	uint64_t pad[2]; /* context_start() calls on a multiple of 16 */
};

void *context_make(void *stack_top, void (*fn)(void *arg), void *arg)
{
	struct saved *s = (struct saved *)stack_top - 1;

	*s = (struct saved){ .r12 = (uint64_t)fn,
			     .r13 = (uint64_t)arg,
			     .rip = (uint64_t)context_start };
	return s;
}
