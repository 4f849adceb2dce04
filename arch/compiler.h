/* SPDX-License-Identifier: MIT */
/*
 * compiler.h - attributes and accesses that C11 does not have
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define likely(x)              __builtin_expect(!!(x), 1)
#define unlikely(x)            __builtin_expect(!!(x), 0)
#define must_check             __attribute__((warn_unused_result))
#define always_inline          inline __attribute__((always_inline))
#define noinline               __attribute__((noinline))
#define noreturn               __attribute__((noreturn))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_SIZE(a)          (sizeof(a) / sizeof((a)[0]))

/* Variables of a linker section: in the order in which they are written. */
#if defined(__clang__)
#define in_order
#else
#define in_order __attribute__((no_reorder))
#endif

/* The compiler may neither move nor merge memory accesses across this. */
#define barrier() __asm__ volatile("" ::: "memory")

/*
 * One access that another CPU (or a device) may race with: exactly one load or
 * store of the object's size, neither torn nor repeated.  It orders nothing;
 * where order matters use <stdatomic.h>.
 */
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/*
 * The value of an expression whose plain loads may race with stores on another
 * CPU, on purpose: a hint that is checked again under a lock.  The sanitizer of
 * data races ignores it (kernel/san/kcsan.c).
 */
#if CONFIG_SAN
void san_ignore(bool begin);
#define data_race(e)                     \
	({                               \
		san_ignore(true);        \
		__auto_type race_ = (e); \
		san_ignore(false);       \
		race_;                   \
	})
#else
#define data_race(e) (e)
#endif

#define container_of(ptr, type, member) \
	((type *)(void *)&((char *)(ptr))[-(long)offsetof(type, member)])
