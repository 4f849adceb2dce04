/* SPDX-License-Identifier: MIT */
/*
 * kmap.h - the kernel's own half of every address space
 *
 * One set of tables is shared by all: the top table's kernel entries never change
 * after kmap_init(), so that a copy in an mm stays valid.  W^X: nothing is both
 * writable and executable, and text is writable under none of its addresses.
 */
#pragma once

#include "arch/types.h"
#include "mm/pt/pt.h"

/*
 * Build the final tables and load them on this CPU, which removes the identity
 * map.  Frees the memory above 4 GiB for use and becomes the allocator of thread
 * stacks.  Panics with a message on failure.
 * Context: boot CPU, once, after pmm_init().
 */
void kmap_init(void);

/* Load the final tables.  Context: each further CPU, once, as it comes up. */
void kmap_load(void);

/* Return the physical address of the kernel's own top table: the value of CR3
 * when no mm is bound. */
pa_t kmap_root(void);

/* Copy the kernel half of the top table into the top table of a new mm. */
void kmap_share(struct pt *pt);

/*
 * Map the registers of a device, the bytes [pa, pa + len): uncached, never
 * unmapped, the same address for the same page.  Returns NULL if the range is
 * empty or beyond the CPU's physical addresses, without memory, or without room
 * in the window for registers.
 * Context: any that may take RANK_KMAP; no interrupt handler.
 */
must_check void *kmap_device(pa_t pa, uint64_t len);

/*
 * Map zeroed frames at [start, end), page-aligned, past the end of the image,
 * where nothing is mapped yet.  They are never unmapped.  Returns false without
 * memory; a part of the range may have its frames then.
 * Context: any that may take RANK_KMAP; no interrupt handler.
 */
must_check bool kmap_populate(const char *start, const char *end);

/* ---------------------------------------------------------------- stacks */

#define KSTACK_SIZE  ((CONFIG_KASAN ? UINT64_C(24) : UINT64_C(16)) << 10)
#define KSTACK_SLOT  (UINT64_C(32) << 10) /* the rest below is the guard   */
#define KSTACK_SLOTS 160 /* of 128 threads, and 4 of each other CPU      */

/*
 * Allocate a stack of KSTACK_SIZE bytes and return its lowest byte; NULL without
 * memory or slots.  Freed stacks stay mapped and are used first.
 * Context: any that may take RANK_KMAP; no interrupt handler.
 */
must_check void *kstack_alloc(void);

/* Free a stack that no CPU runs on.  Context: as kstack_alloc(). */
void kstack_free(void *stack);

/* Count the frames in free, cached stacks: leak checks count them as free. */
uint64_t kstack_cached_pages(void);

/* Return the index of the stack that has va in its guard, or -1.  Any context. */
int kstack_guard_hit(va_t va);

/*
 * Check all kernel tables: no leaf is writable and executable, none is for the
 * user, text is writable under no address, guards are unmapped.  Returns NULL,
 * or an error message that is valid until the next call.
 */
const char *wx_check(void);
