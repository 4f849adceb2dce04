/* SPDX-License-Identifier: MIT */
/*
 * kmap.c - the kernel's own half of every address space
 *
 *   2^64  +----------------------+
 *         | variables of tests/  |  4 KiB leaves RW, by kmap_populate()
 *         +----------------------+  tests_start
 *         | image                |  4 KiB leaves: text RX, rodata R, data RW
 *   -2G   +----------------------+  KERNEL_BASE
 *         | device registers     |  uncached, allocated upwards
 *         +----------------------+  MMIO_BASE
 *         | stack | guard | ...  |  kstack.c
 *         +----------------------+  VMAP_BASE
 *         | all RAM, RW          |  2 MiB leaves; text and rodata read-only
 *   -2^47 +----------------------+  DIRECT_BASE
 *
 * Invariant (wx_check() checks it): no leaf is writable and executable, only
 * text is executable, and no leaf makes text or rodata writable.
 *
 * The top table's upper half is final when kmap_init() returns: each area above
 * has its table there by then, so that a copy made at any time stays valid.
 *
 * Locks: kmap_lock for all changes after kmap_init().  Nothing is ever
 * unmapped, so nothing is ever flushed.
 */
#include "mm/kernel/kmap.h"
#include "arch/cpu.h"
#include "kernel/printk.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "mm/kernel/kmap_priv.h"

struct pt kernel_pt;
struct spinlock kmap_lock;

static va_t mmio_next = MMIO_BASE;
static uint64_t root_live; /* of kernel_pt's top table, final */

/* The ranges that kmap_device() has mapped, so that a second call for the same
 * registers maps nothing.  Under kmap_lock. */
static struct window {
	pa_t start, end;
	va_t va;
} windows[32];
static unsigned n_windows;

/* -------------------------------------------------------------- building */

/* Map [va, va + len) to pa, or panic. */
static void must_map(va_t va, pa_t pa, uint64_t len, enum prot prot)
{
	if (len && pt_map(&kernel_pt, va, pa, len, prot | PROT_GLOBAL, true))
		panic("cannot map %#lx at %#lx: out of memory", pa, va);
}

/* Map a section of the image at its linked address. */
static void map_section(const char *start, const char *end, enum prot prot)
{
	va_t va = (va_t)start;
	uint64_t len = ALIGN_UP((va_t)end, PAGE_SIZE) - va;

	assert(IS_ALIGNED(va, PAGE_SIZE));
	if (len && pt_map(&kernel_pt, va, image_pa(start), len,
			  prot | PROT_GLOBAL, false))
		panic("cannot map the image: out of memory");
}

/* Map the sections of the image, each with its rights. */
static void map_image(void)
{
	map_section(text_start, text_end, PROT_R | PROT_X);
	map_section(rodata_start, rodata_end, PROT_R);
	map_section(data_start, image_end, PROT_R | PROT_W);
}

/* Unmap the page below each of the image's own stacks. */
static void unmap_guards(void)
{
	for (const struct guard *g = guards_start; g < guards_end; g++) {
		for (uint64_t i = 0; i < g->n; i++) {
			va_t page = (va_t)g->page + i * g->stride;

			assert(IS_ALIGNED(page, PAGE_SIZE));
			if (pt_unmap(&kernel_pt, page, page + PAGE_SIZE))
				panic("the guard at %#lx is no page", page);
		}
	}
}

/* Map the part of RAM in [start, end) at its place in the direct map. */
static void map_direct(pa_t start, pa_t end, enum prot prot)
{
	const struct memmap *ram = pmm_ram();

	for (unsigned i = 0; i < ram->n; i++) {
		pa_t a = ram->r[i].start, b = ram->r[i].end;

		a = a < start ? start : a;
		b = b > end ? end : b;
		if (a < b)
			must_map(DIRECT_BASE + a, a, b - a, prot);
	}
}

/* Make the tables down to level for [start, start + len), so that later mappings
 * there need no new entry in the top table (and those of stacks no table). */
static void make_tables(va_t start, uint64_t len, unsigned level)
{
	for (uint64_t at = 0; at < len; at += pt_span(level + 1))
		if (!pt_slot(&kernel_pt, start + at, level, true))
			panic("cannot make kernel tables: out of memory");
}

void kmap_init(void)
{
	pa_t fixed_start = image_pa(text_start);
	pa_t fixed_end = ALIGN_UP(image_pa(rodata_end), PAGE_SIZE);

	spin_init(&kmap_lock, RANK_KMAP, "kmap");
	if (pt_init(&kernel_pt, &pt_x86_kernel, PT_X86_LEVELS, DIRECT_BASE, 0,
		    NULL))
		panic("cannot make the kernel's page table: out of memory");
	map_image();
	unmap_guards();
	map_direct(0, fixed_start, PROT_R | PROT_W);
	map_direct(fixed_start, fixed_end, PROT_R);
	map_direct(fixed_end, PA_MAX, PROT_R | PROT_W);
	make_tables(VMAP_BASE, KSTACK_SLOTS * KSTACK_SLOT, 0);
	make_tables(MMIO_BASE, pt_span(1), 0);
	kmap_shadow();
	root_live = pt_live(pt_table_page(kernel_pt.root));

	kmap_load();
	pmm_open_high();
	thread_set_stack_allocator(kstack_alloc, kstack_free);
}

/* ------------------------------------------------------------- interface */

pa_t kmap_root(void)
{
	return pt_root_pa(&kernel_pt);
}

void kmap_load(void)
{
	write_cr3(kmap_root());
}

void kmap_share(struct pt *pt)
{
	for (unsigned i = PT_ENTRIES / 2; i < PT_ENTRIES; i++)
		pte_write(&pt->root[i], pte_read(&kernel_pt.root[i]));
}

/* Return the address at which [start, end) is mapped already, or 0.
 * Context: kmap_lock held. */
static va_t window_find(pa_t start, pa_t end)
{
	require(spin_held(&kmap_lock));
	for (unsigned i = 0; i < n_windows; i++)
		if (windows[i].start <= start && end <= windows[i].end)
			return windows[i].va + (start - windows[i].start);
	return 0;
}

/* Map [start, end) at the next free address; 0 without memory or room.
 * Context: kmap_lock held. */
static va_t window_make(pa_t start, pa_t end)
{
	va_t va = mmio_next;

	require(spin_held(&kmap_lock));
	if (n_windows == ARRAY_SIZE(windows) ||
	    end - start > MMIO_BASE + MMIO_SIZE - va)
		return 0;
	if (pt_map(&kernel_pt, va, start, end - start,
		   PROT_R | PROT_W | PROT_GLOBAL | PROT_UNCACHED, false))
		return 0;
	assert(pt_live(pt_table_page(kernel_pt.root)) == root_live);
	windows[n_windows++] = (struct window){ start, end, va };
	mmio_next += end - start;
	return va;
}

void *kmap_device(pa_t pa, uint64_t len)
{
	pa_t start = pa & PAGE_MASK;
	pa_t end = ALIGN_UP(pa + len, PAGE_SIZE);
	va_t va;

	require(!cpu_irq_depth() && locks_below(RANK_KMAP));
	if (!len || pa + len < pa || end > cpu_pa_end())
		return NULL;
	spin_lock(&kmap_lock);
	va = window_find(start, end);
	if (!va)
		va = window_make(start, end);
	spin_unlock(&kmap_lock);
	return va ? (void *)(va + (pa & ~PAGE_MASK)) : NULL;
}

bool kmap_populate(const char *start, const char *end)
{
	require(!cpu_irq_depth() && locks_below(RANK_KMAP));
	assert(IS_ALIGNED((va_t)start | (va_t)end, PAGE_SIZE));
	for (; start < end; start += PAGE_SIZE) {
		struct page *page = page_alloc_zeroed();
		int error;

		if (!page)
			return false;
		spin_lock(&kmap_lock);
		error = pt_map(&kernel_pt, (va_t)start, page_pa(page),
			       PAGE_SIZE, PROT_R | PROT_W | PROT_GLOBAL, false);
		spin_unlock(&kmap_lock);
		if (error) {
			page_put(page);
			return false;
		}
	}
	return true;
}
