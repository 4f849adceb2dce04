/* SPDX-License-Identifier: MIT */
/*
 * context.h - from one kernel stack to another
 */
#pragma once

/*
 * Save the callee-saved registers on this stack and its pointer in *save, and
 * go on where `to` was saved.  Interrupts off; preemption off.
 */
void context_switch(void **save, void *to);

/*
 * A saved context on an empty stack: the first switch to it calls fn(arg) with
 * the interrupt flag as it is then.  fn must not return.
 */
void *context_make(void *stack_top, void (*fn)(void *arg), void *arg);
