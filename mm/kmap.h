/* SPDX-License-Identifier: MIT */
/*
 * kmap.h - the kernel's own half of every address space
 *
 * One set of tables, shared by all: the top table's kernel entries never change
 * after kmap_init(), so that copying them once into a new mm is enough for
 * ever.  W^X: nothing is both writable and executable, and text is writable
 * under no other name either.
 */
#pragma once

#include "arch/types.h"
#include "mm/pt.h"

/*
 * Build the final tables and load them on this CPU; the identity map is gone
 * then.  Boot CPU, once, after pmm_init().  Frees memory above 4 GiB for use
 * and becomes the allocator of thread stacks.  Panics in words on failure.
 */
void kmap_init(void);

/* Load the final tables on another CPU as it comes up. */
void kmap_load(void);

/* Physical address of the kernel's own top table: CR3 when no mm is bound. */
pa_t kmap_root(void);

/* Copy the kernel half of the top table into a new mm's. */
void kmap_share(struct pt *pt);

/*
 * Registers of a device at [pa, pa + len): uncached, never unmapped, the same
 * address for the same page.  NULL when out of memory or window.  May not run
 * in interrupts.
 */
must_check void *kmap_device(pa_t pa, uint64_t len);

/*
 * Zeroed frames, for good, for pages behind the image that have none yet; both
 * ends are page-aligned.  False: out of memory, and a part may have its frames.
 */
must_check bool kmap_back(const char *start, const char *end);

/* ---------------------------------------------------------------- stacks */

#define KSTACK_SIZE  (UINT64_C(16) << 10) /* bytes that a thread may use   */
#define KSTACK_SLOT  (UINT64_C(32) << 10) /* the rest below is the guard   */
#define KSTACK_SLOTS 160 /* of 128 threads, and 4 of each other CPU      */

/*
 * Lowest byte of a stack of KSTACK_SIZE, NULL when out of memory or slots.
 * Freed stacks stay mapped and are given again first.
 */
must_check void *kstack_alloc(void);
void kstack_free(void *stack);

/* Frames in cached, unused stacks: leak checks count them as free. */
uint64_t kstack_cached_pages(void);

/* If va lies in a stack's guard: that stack's index, otherwise -1. */
int kstack_guard_hit(va_t va);

/*
 * Oracle over all kernel tables: no leaf writable and executable, none for the
 * user, text writable under no address, guards unmapped.  Returns NULL, or the
 * first violation in words (valid until the next call).
 */
const char *wx_check(void);
