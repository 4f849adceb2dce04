/* SPDX-License-Identifier: MIT */
/*
 * guest.c - the cost of nested paging
 *
 * The guest stores to one page after another: each first store is an exit, a fault of
 * the mm, and an entry.  Its four instructions a page are in the figures.
 */
#include "arch/uaccess.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/rmap/block.h"
#include "tests/bench/bench.h"
#include "tests/fixture/guest/resident.h"

#define PAGES  512u
#define BLOCKS 64u
#define CODE   (HOME - PAGE_SIZE)

extern const char guest_stores[], guest_stores_end[];

static struct resident r;

/* An mm with PAGES private pages, present or not. */
static struct mm *space(bool present)
{
	struct mm *mm = mm_create();

	assert(mm);
	assert(!mm_map(mm, VA, PAGES * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	mm_bind(mm);
	for (unsigned i = 0; present && i < PAGES; i++)
		assert(!user_store64(P(i), 1));
	mm_bind(NULL);
	return mm;
}

/* Run the guest to its next VMMCALL: n stores, one every so many bytes. */
static void stores_every(uint64_t bytes, unsigned n)
{
	enum vcpu_exit why;

	r.vcpu.regs.rdi = VA;
	r.vcpu.regs.rsi = bytes;
	r.vcpu.regs.rcx = n;
	why = vcpu_run(&r.vcpu);
	assert(why == VCPU_CALL);
}

/* A store to each of n pages. */
static void stores(unsigned n)
{
	stores_every(PAGE_SIZE, n);
}

/* The guest of resident.h, with the program of guest.asm. */
static void guest_of(struct mm *mm, const struct guest_form *form)
{
	struct page *page;

	assert(!mm_map(mm, CODE, PAGE_SIZE, RW | PROT_X, 0, NULL, 0, NULL));
	assert(!wr(mm, CODE, 0));
	page = page_at(mm, CODE);
	memcpy(page_va(page), guest_stores,
	       (size_t)(guest_stores_end - guest_stores));
	page_put(page);
	resident_start(&r, form, mm);
	r.vcpu.vmcb->rip = CODE;
	stores(0);
}

static void end(struct mm *mm)
{
	resident_stop(&r);
	mm_put(mm);
}

/* The first store to each page. */
static void faults(const char *name, const struct guest_form *form,
		   bool present)
{
	struct mm *mm = space(present);
	uint64_t start;

	guest_of(mm, form);
	start = bench_start();
	stores(PAGES);
	bench_report(name, bench_stop(start), PAGES, "instructions");
	end(mm);
}

/* The first store to each page of 2 MiB, which the process has. */
static void huge_faults(void)
{
	struct mm *mm = mm_create();
	uint64_t start;

	assert(mm);
	assert(!mm_map(mm, VA, BLOCKS * BLOCK_SIZE, RW, MAP_HUGE, NULL, 0,
		       NULL));
	mm_bind(mm);
	for (unsigned i = 0; i < BLOCKS; i++)
		assert(!user_store64(VA + i * BLOCK_SIZE, 1));
	mm_bind(NULL);
	guest_of(mm, &guest_own);
	start = bench_start();
	stores_every(BLOCK_SIZE, BLOCKS);
	bench_report("guest_fault_huge", bench_stop(start), BLOCKS,
		     "instructions");
	end(mm);
}

/* A notifier that does nothing: what the chain costs. */
static int hear_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	return 0;
}

static void hear_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
}

static const struct mmu_notifier_ops hears = {
	.invalidate_range_start = hear_start,
	.invalidate_range_end = hear_end,
};

static uint64_t discards(struct mm *mm)
{
	uint64_t start = bench_start();

	for (unsigned i = 0; i < PAGES; i++)
		assert(!mm_discard(mm, P(i), P(i + 1)));
	return bench_stop(start);
}

/* Report discards of pages that the guest has mapped, has not, or has no slot for. */
static void discards_of(const struct guest_form *form, const char *mapped,
			const char *unmapped)
{
	struct mm *mm = space(true);

	guest_of(mm, form);
	bench_report(unmapped, discards(mm), PAGES, "instructions");
	end(mm);
	mm = space(true);
	guest_of(mm, form);
	stores(PAGES);
	bench_report(mapped, discards(mm), PAGES, "instructions");
	end(mm);
}

/* The same of pages that are in no slot, and without a guest. */
static void discards_without(void)
{
	struct mmu_notifier mn = { .ops = &hears };
	struct mm *mm = space(true);
	static struct guest g;

	bench_report("guest_discard_alone", discards(mm), PAGES,
		     "instructions");
	mm_put(mm);
	mm = space(true);
	assert(!mmu_notifier_register(&mn, mm));
	bench_report("guest_discard_listened", discards(mm), PAGES,
		     "instructions");
	mmu_notifier_unregister(&mn);
	mm_put(mm);
	mm = space(true);
	assert(!guest_create(&g, &guest_own, mm));
	bench_report("guest_discard_no_slot", discards(mm), PAGES,
		     "instructions");
	guest_destroy(&g);
	mm_put(mm);
}

/* An entry and an exit by VMMCALL: alone, and with what serves the exit. */
static void switches(void)
{
	struct mm *mm = space(true);
	uint64_t start;

	guest_of(mm, &guest_own);
	start = bench_start();
	for (unsigned i = 0; i < PAGES; i++) {
		assert(vcpu_enter(&r.vcpu));
		r.vcpu.vmcb->rip += 3;
	}
	bench_report("guest_enter", bench_stop(start), PAGES, "instructions");
	start = bench_start();
	for (unsigned i = 0; i < PAGES; i++)
		stores(0);
	bench_report("guest_call", bench_stop(start), PAGES, "instructions");
	end(mm);
}

BENCH(guest, "entry, exit and nested faults of a guest; discards under it")
{
	if (!svm_present()) {
		printk("# no SVM with nested paging: nothing is measured\n");
		return;
	}
	switches();
	faults("guest_fault_present", &guest_own, true);
	faults("guest_fault_absent", &guest_own, false);
	huge_faults();
	discards_without();
	discards_of(&guest_own, "guest_discard_mapped",
		    "guest_discard_unmapped");
	discards_of(&guest_shared, "guest_discard_shared_mapped",
		    "guest_discard_shared");
}
