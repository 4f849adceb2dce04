/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - flush this CPU by INVLPG or CR3, the others by a call
 */
#include "arch/tlb.h"
#include <stdatomic.h>
#include "arch/bits.h"
#include "arch/cpu.h"
#include "arch/smp.h"

struct range {
	va_t start, end;
};

/* Statistics: relaxed, exact at quiet points. */
static _Atomic uint64_t rounds;

void tlb_flush_page_local(va_t va)
{
	__asm__ volatile("invlpg (%0)" ::"r"(va) : "memory");
}

void tlb_flush_all_local(void)
{
	write_cr3(read_cr3());
}

static void flush_local(void *arg)
{
	const struct range *r = arg;

	if ((r->end - r->start) >> PAGE_SHIFT > TLB_FLUSH_PAGES) {
		tlb_flush_all_local();
		return;
	}
	for (va_t va = r->start; va < r->end; va += PAGE_SIZE)
		tlb_flush_page_local(va);
}

void tlb_shootdown(uint64_t cpus_mask, va_t start, va_t end)
{
	struct range r = { start, end };
	uint64_t self = BIT(cpu_id());

	if (cpus_mask & self)
		flush_local(&r);
	if (cpus_mask & ~self) {
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
		smp_call(cpus_mask & ~self, flush_local, &r);
	}
}

uint64_t tlb_shootdown_count(void)
{
	return atomic_load_explicit(&rounds, memory_order_relaxed);
}
