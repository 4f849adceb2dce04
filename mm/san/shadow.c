/* SPDX-License-Identifier: MIT */
/*
 * shadow.c - map memory for the shadow of kernel/san/kasan.c
 *
 * A shadow page describes 32 KiB, so two ranges of RAM may share one.
 */
#include "kernel/san/san.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap.h"
#include "mm/kernel/kmap_priv.h"

/* Map [va, va + len) to pa, or panic. */
static void must_map(va_t va, pa_t pa, uint64_t len)
{
	if (pt_map(&kernel_pt, va, pa, len, PROT_R | PROT_W | PROT_GLOBAL,
		   false))
		panic("cannot map the shadow at %#lx: out of memory", va);
}

/* Map zeroed frames for the shadow of [start, end) from address *mapped on, and
 * advance *mapped to its end. */
static void back(va_t start, va_t end, va_t *mapped)
{
	va_t va = ALIGN_DOWN(SAN_SHADOW(start), PAGE_SIZE);

	if (va < *mapped)
		va = *mapped;
	for (; va < SAN_SHADOW(end); va += PAGE_SIZE) {
		struct page *page = page_alloc_zeroed();

		if (!page)
			panic("cannot allocate the shadow: out of memory");
		must_map(va, page_pa(page), PAGE_SIZE);
	}
	*mapped = va;
}

void kmap_shadow(void)
{
	const struct memmap *ram = pmm_ram();
	va_t mapped = 0;
	pa_t top = 0;

	must_map(SAN_SHADOW(KERNEL_BASE), image_pa(san_image_shadow),
		 SAN_IMAGE_SHADOW);
	for (unsigned i = 0; i < ram->n; i++) {
		top = ram->r[i].end;
		back(DIRECT_BASE + ram->r[i].start, DIRECT_BASE + top, &mapped);
	}
	back(VMAP_BASE, VMAP_BASE + KSTACK_SLOTS * KSTACK_SLOT, &mapped);
	kmap_load();
	san_cover(top, KSTACK_SLOTS * KSTACK_SLOT);
}
