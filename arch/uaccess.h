/* SPDX-License-Identifier: MIT */
/*
 * uaccess.h - real loads and stores on user addresses
 *
 * Each function is one instruction on the address, with the rights that the
 * page table gives (CR0.WP is set).  It faults like any other, the fault is
 * served like any other, and if it cannot be served the instruction is skipped
 * and the function returns -EFAULT: its address is in the exception table.
 *
 * Context: a thread that may sleep; elsewhere the access works only if it does
 * not fault.  Addresses outside the user half give -EFAULT untried.
 */
#pragma once

#include "arch/cpu.h"

#define UACCESS_END    (UINT64_C(1) << 47)
#define UACCESS_EFAULT 14

/* .extable holds pairs of 64-bit addresses: the instruction, where to go on. */
#define EXTABLE(insn, next)              \
	".pushsection .extable, \"a\"\n" \
	".quad " insn ", " next "\n"     \
	".popsection\n"

static inline void user_open(void)
{
	if (cpu_smap)
		__asm__ volatile("stac" ::: "memory");
}

static inline void user_close(void)
{
	if (cpu_smap)
		__asm__ volatile("clac" ::: "memory");
}

/* trap_fixup() puts -EFAULT into rdx, where every access keeps its result. */
#define USER_ACCESS(va, insn, ...)                                    \
	({                                                            \
		int64_t ret_ = -UACCESS_EFAULT;                       \
		if (likely((va) < UACCESS_END)) {                     \
			ret_ = 0;                                     \
			user_open();                                  \
			__asm__ volatile("1: " insn                   \
					 "\n2:\n" EXTABLE("1b", "2b") \
					 : "+d"(ret_), __VA_ARGS__);  \
			user_close();                                 \
		}                                                     \
		(int)ret_;                                            \
	})

static inline int user_load64(va_t va, uint64_t *out)
{
	uint64_t v = 0;
	int ret = USER_ACCESS(va, "movq (%2), %1", "+r"(v)
			      : "r"(va)
			      : "memory");

	*out = v;
	return ret;
}

static inline int user_load8(va_t va, uint8_t *out)
{
	uint8_t v = 0;
	int ret = USER_ACCESS(va, "movb (%2), %1", "+q"(v)
			      : "r"(va)
			      : "memory");

	*out = v;
	return ret;
}

static inline int user_store64(va_t va, uint64_t v)
{
	return USER_ACCESS(va, "movq %1, (%2)", "+r"(v) : "r"(va) : "memory");
}

static inline int user_store8(va_t va, uint8_t v)
{
	return USER_ACCESS(va, "movb %1, (%2)", "+q"(v) : "r"(va) : "memory");
}

/* Add, atomically; *old (not NULL) receives the value before. */
static inline int user_add64(va_t va, uint64_t add, uint64_t *old)
{
	int ret = USER_ACCESS(va, "lock xaddq %1, (%2)", "+r"(add)
			      : "r"(va)
			      : "memory", "cc");

	*old = add;
	return ret;
}

/*
 * Store v if the word is *old; *old becomes what was there, so that the caller
 * compares it with what he expected.
 */
static inline int user_cmpxchg64(va_t va, uint64_t *old, uint64_t v)
{
	return USER_ACCESS(va, "lock cmpxchgq %3, (%2)", "+a"(*old)
			   : "r"(va), "r"(v)
			   : "memory", "cc");
}

/* A word of the kernel half that may not be there; for a panic's backtrace. */
static inline int kernel_load64(va_t va, uint64_t *out)
{
	int64_t ret = 0;
	uint64_t v = 0;

	__asm__ volatile("1: movq (%2), %1\n2:\n" EXTABLE("1b", "2b")
			 : "+d"(ret), "+r"(v)
			 : "r"(va)
			 : "memory");
	*out = v;
	return (int)ret;
}

/* Copy len bytes; -EFAULT after a part was copied if an address is bad. */
must_check int user_copy_in(void *to, va_t from, size_t len);
must_check int user_copy_out(va_t to, const void *from, size_t len);
