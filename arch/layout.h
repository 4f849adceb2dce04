/* SPDX-License-Identifier: MIT */
/*
 * layout.h - the kernel's half of every address space
 *
 *   2^47 below top  DIRECT_BASE   all RAM, at DIRECT_BASE + pa
 *                   VMAP_BASE     kernel stacks, each above its guard
 *                   MMIO_BASE     device registers, uncached
 *   top - 2 GiB     KERNEL_BASE   the image, at KERNEL_BASE + pa
 *
 * boot/start.asm maps the image and the first 4 GiB of the direct map (and, for
 * its own use, the same 4 GiB at 0); mm/kernel/kmap.c replaces that by final tables.
 */
#pragma once

#include "arch/types.h"

#define DIRECT_BASE UINT64_C(0xffff800000000000)
#define VMAP_BASE   UINT64_C(0xffffc00000000000)
#define MMIO_BASE   UINT64_C(0xffffd00000000000)
#define KERNEL_BASE UINT64_C(0xffffffff80000000)

/* Sections of the image, page-aligned (linker.ld). */
extern char text_start[], text_end[];
extern char rodata_start[], rodata_end[];
extern char data_start[], image_end[];

/* Whole pages after the image: variables whose memory is mapped late. */
extern char tests_start[], tests_end[];

/* Whole pages of the image that devices may be allowed to reach; no others may. */
#define DMA_MEMORY __attribute__((section(".bss.dma"), aligned(4096)))
extern char dma_start[], dma_end[];

/*
 * Pages of the image that must not be mapped: one below each stack in it, n of
 * them, stride bytes apart.  Collected from section vv_guards by linker.ld.
 */
struct guard {
	const void *page;
	uint64_t stride, n;
} __attribute__((aligned(32))); /* so that no padding comes between two */
_Static_assert(sizeof(struct guard) == 32, "start.asm writes four words");
extern const struct guard guards_start[], guards_end[];

/* A physical address in the direct map, and back; not for image symbols. */
static inline void *phys_to_virt(pa_t pa)
{
	return (void *)(DIRECT_BASE + pa);
}

static inline pa_t virt_to_phys(const void *p)
{
	return (pa_t)p - DIRECT_BASE;
}

/* The physical address of a symbol of the image. */
static inline pa_t image_pa(const void *symbol)
{
	return (va_t)symbol - KERNEL_BASE;
}
