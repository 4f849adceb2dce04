/* SPDX-License-Identifier: MIT */
/*
 * context.h - switch from one kernel stack to another
 */
#pragma once

/*
 * Save the callee-saved registers on this stack and its pointer in *save, and
 * continue where `to` was saved.  Context: interrupts and preemption off.
 */
void context_switch(void **save, void *to);

/*
 * Make a saved context on an empty stack: the first switch to it calls fn(arg) with
 * the interrupt flag as it is then.  fn must not return.
 */
void *context_make(void *stack_top, void (*fn)(void *arg), void *arg);
