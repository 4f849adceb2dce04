/* SPDX-License-Identifier: MIT */
/*
 * san.h - what the sanitizers found (make run SAN=ubsan|kasan|kcsan)
 *
 * The compiler puts calls into the kernel's code; the files of this folder are
 * what is called.  A fault that is found is a report: one line that says what,
 * the backtrace of the access, and of a second one where there is one.  The run
 * goes on; the running test fails (tests/checker/checkers.c).  The same place is printed
 * once.
 *
 * Code that a report runs through is not instrumented: this folder, printk.c,
 * ksym.c, serial.c, console.c (Makefile).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arch/compiler.h"

#define SAN_FRAMES 16

/* A backtrace as return addresses, the innermost first; 0 ends a short one. */
struct san_trace {
	uint64_t rip[SAN_FRAMES];
};

#if CONFIG_SAN

/* Tests begin: what is sampled is drawn from seed.  Boot is not looked at. */
void san_start(uint64_t seed);

/*
 * The first report since the last call, as its line, or NULL; forgets it.  For
 * the checker after each test, and for tests that provoke one.
 */
const char *san_take(void);

/*
 * Report a fault of the access that returns to rip.  second, or NULL: the
 * backtrace that other names ("freed by", "the other access").  Printed once for
 * each pair of places.  Any context; drops reports from within a report, and
 * those that would wait for a CPU which a panic has stopped.
 */
void san_report(uint64_t rip, const struct san_trace *second, const char *other,
		const char *fmt, ...) printf_like(4, 5);

/* The run is over, and the machine about to end: SAN=gcov passes its counters on. */
void san_end(void);

/* The callers of the function that calls this, from its own caller on. */
void san_trace(struct san_trace *trace);

#else

static inline void san_start(uint64_t seed)
{
}

static inline const char *san_take(void)
{
	return NULL;
}

static inline void san_end(void)
{
}

#endif

/* ---- SAN=kcsan: what assembly accesses, for the explorer ------------------ */

#if CONFIG_KCSAN

/* The caller is about to read, or write, n bytes at p by assembly. */
void san_touch(const void *p, size_t n, bool write);

/* The caller lets the MMU or a device access memory. */
void san_unseen(void);

#else

static inline void san_touch(const void *p, size_t n, bool write)
{
}

static inline void san_unseen(void)
{
}

#endif

/* ---- SAN=kasan: which addresses may be used ----------------------------- */

#define SAN_OFFSET       UINT64_C(0xdffff00000000000) /* also in Makefile   */
#define SAN_IMAGE_SHADOW (UINT64_C(4) << 20)          /* also in start.asm  */
#define SAN_SHADOW(addr) (((uint64_t)(addr) >> 3) + SAN_OFFSET)

/* Values of a shadow byte; f1h, f2h, f3h, f8h are the compiler's. */
#define SAN_FREED   0xfb
#define SAN_REDZONE 0xfc
#define SAN_GLOBAL  0xf9

#if CONFIG_KASAN

/* The image's shadow, SAN_IMAGE_SHADOW bytes (boot/start.asm). */
extern char san_image_shadow[];

/*
 * The shadow has memory for ram bytes from DIRECT_BASE on, for stacks bytes from
 * VMAP_BASE on, and for the image: check from here on.  Boot CPU, once.
 */
void san_cover(uint64_t ram, uint64_t stacks);

/*
 * Bytes at p, 8-byte aligned, may not be used, or may.  Remembers the caller as
 * the one that freed (SAN_FREED) or allocated them.
 */
void san_poison(const void *p, size_t bytes, uint8_t with);
void san_unpoison(const void *p, size_t bytes);

#else

static inline void san_poison(const void *p, size_t bytes, uint8_t with)
{
}

static inline void san_unpoison(const void *p, size_t bytes)
{
}

#endif
