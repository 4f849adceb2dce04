/* SPDX-License-Identifier: MIT */
/*
 * inject.c - allocations that fail at a chosen number; see kernel/inject.h
 */
#include "kernel/inject.h"
#include "kernel/thread.h"

void inject_arm(uint32_t n)
{
	struct thread *t = current();

	t->inject = n;
	t->injected = false;
}

bool inject_disarm(void)
{
	current()->inject = 0;
	return current()->injected;
}

bool inject_count(void)
{
	struct thread *t = current();

	if (--t->inject)
		return false;
	t->injected = true;
	return true;
}
