/* SPDX-License-Identifier: MIT */
/*
 * hmm.c - what hmm_range_fault() costs a page, and a migration to a device and back, 512
 * pages in a call
 */
#include "arch/uaccess.h"
#include "drivers/lsi.h"
#include "iommu/sva/vram.h"
#include "kernel/panic.h"
#include "mm/hmm/hmm.h"
#include "mm/rmap/block.h"
#include "tests/bench/bench.h"
#include "tests/fake/fake_device.h"
#include "tests/fixture/mm/mm_fixture.h"

static bool ignore(struct mmu_interval_notifier *mni,
		   const struct mmu_notifier_range *range, uint64_t seq)
{
	mmu_interval_set_seq(mni, seq);
	return true;
}

static const struct mmu_interval_notifier_ops ops = { .invalidate = ignore };
static struct mmu_interval_notifier mni;
static uint64_t reports[BLOCK_PAGES];

static struct mm *space(unsigned flags)
{
	struct mm *mm = mm_create();

	assert(mm && !mm_map(mm, VA, BLOCK_SIZE, RW, flags, NULL, 0, NULL) &&
	       !mmu_interval_notifier_insert(&mni, mm, VA, BLOCK_SIZE, &ops));
	return mm;
}

/* Instructions of one call for all 512 pages. */
static void report(const char *name, uint64_t request)
{
	struct hmm_range range = { .notifier = &mni,
				   .start = VA,
				   .end = VA + BLOCK_SIZE,
				   .hmm_pfns = reports,
				   .default_flags = request };
	uint64_t start;

	range.notifier_seq = mmu_interval_read_begin(&mni);
	start = bench_start();
	assert(!hmm_range_fault(&range));
	bench_report(name, bench_stop(start), BLOCK_PAGES, "instructions");
}

static void done(struct mm *mm)
{
	mmu_interval_notifier_remove(&mni);
	mm_put(mm);
}

BENCH(hmm, "hmm_range_fault(), 512 pages in a call: a snapshot, and absent "
	   "pages to write")
{
	struct mm *mm = space(0);

	report("hmm_fault_write", HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	report("hmm_snapshot", 0);
	report("hmm_fault_present", HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE);
	done(mm);
	mm = space(MAP_HUGE);
	assert(!mm_fault(mm, VA, PROT_W));
	report("hmm_snapshot_huge", 0);
	done(mm);
}

/* A space of 512 written pages. */
static struct mm *written_space(void)
{
	struct mm *mm = mm_create();

	assert(mm && !mm_map(mm, VA, BLOCK_SIZE, RW, 0, NULL, 0, NULL));
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		assert(!mm_fault(mm, P(i), PROT_W));
	return mm;
}

/* Instructions of a load of each page, which brings it back: exception, fault, copy. */
static void report_loads(const char *name, struct mm *mm)
{
	uint64_t start, v;

	mm_bind(mm);
	start = bench_start();
	for (unsigned i = 0; i < BLOCK_PAGES; i++)
		assert(!user_load64(P(i), &v));
	bench_report(name, bench_stop(start), BLOCK_PAGES, "instructions");
	mm_bind(NULL);
}

BENCH(hmm_device, "512 pages to the memory of a device in a call, and back by "
		  "loads of a CPU; the CPU copies, as in Linux's test device")
{
	struct fake_device *d = fake_device(0, BLOCK_PAGES);
	struct mm *mm = written_space();
	uint64_t start;

	start = bench_start();
	assert(device_take(d, mm, 0, BLOCK_PAGES) == BLOCK_PAGES);
	bench_report("hmm_to_device", bench_stop(start), BLOCK_PAGES,
		     "instructions");
	report_loads("hmm_from_device", mm);
	mm_put(mm);
	fake_device_end(d);
}

BENCH(hmm_vram,
      "the same with the BAR of an ivshmem, copied by an LSI: the CPU's "
      "part; the host's, the copy, takes no instructions")
{
	static struct vram v;
	struct mm *mm;
	uint64_t start;

	if (!lsi_at(1) || !iommu_machine() ||
	    vram_open(&v, iommu_machine(), &lsi_at(1)->engine))
		return;
	mm = written_space();
	start = bench_start();
	assert(vram_take(&v, mm, VA, VA + BLOCK_SIZE, NULL) == BLOCK_PAGES);
	bench_report("vram_to_device", bench_stop(start), BLOCK_PAGES,
		     "instructions");
	report_loads("vram_from_device", mm);
	mm_put(mm);
	vram_close(&v);
}
