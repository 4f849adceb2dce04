/* SPDX-License-Identifier: MIT */
/*
 * uaccess.h - real loads and stores on user addresses
 *
 * Each function is one instruction on the address, with the rights that the
 * page table gives (CR0.WP is set).  It faults like any other; a fault that
 * cannot be served makes the function return -EFAULT.  No other instruction of
 * the kernel may touch user memory: such a fault is not served but a panic.
 *
 * Context: a thread that may sleep; elsewhere the access works only if it does
 * not fault.  Addresses outside the user half give -EFAULT untried.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"

#define UACCESS_END    (UINT64_C(1) << 47)
#define UACCESS_EFAULT 14

/* Loads the 8 bytes at va to *out, which becomes 0 with -EFAULT. */
int user_load64(va_t va, uint64_t *out);
int user_store64(va_t va, uint64_t v);

/* Loads a word of the kernel half that may not be mapped; for a panic's backtrace. */
int kernel_load64(va_t va, uint64_t *out);

extern const char user_load_insn[], user_store_insn[];

/* Returns whether rip is one of the two instructions that may access user memory. */
static inline bool user_access_at(uint64_t rip)
{
	return rip == (uint64_t)user_load_insn ||
	       rip == (uint64_t)user_store_insn;
}
