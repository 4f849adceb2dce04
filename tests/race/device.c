/* SPDX-License-Identifier: MIT */
/*
 * device.c - pages that go to the memory of a device, come back, or that a device has
 * alone: experiments 22 to 25
 *
 * The memory is that of a fake device.  The DMA is real, or the model's.  In 23 and 25 the
 * wrong order is a fault, made by the test step by step, that lacks what the kernel's
 * fault has.
 */
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "tests/checker/device_checker.h"
#include "tests/fake/fake_device.h"
#include "tests/fake/hmm_driver.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct client client;
static struct victim victim;
static struct fake_device *d;
static struct mm *mm;
static struct page *page; /* of A, at the beginning                        */
static struct task t0, t1;
static struct sync_point t0_turn, t1_turn;

/* The slot of A. */
static uint64_t *slot_of_a(void)
{
	return pt_slot(&mm->pt, A, 0, false);
}

/* Read A by a thread, bound to the process. */
static void reads_a(void *unused)
{
	mm_bind(mm);
	says("loads A");
	cpu_reads(mm, A);
}

/* ---- 22: to the memory of a device --------------------------------------- */

static void migrate_a(void *unused)
{
	static struct device_take take;

	mm_bind(mm);
	EXPECT_EQ(device_take_begin(&take, d, mm, 0, 1), 0);
	says("page 1 is copied to the device");
	device_take_copy(&take);
	migrate_vma_pages(&take.args);
	EXPECT_EQ(device_take_end(&take), 1);
}

static void take_page(void *unused)
{
	sync_point_enter(&t1_turn);
	take(&victim, page);
}

static void device_caches(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&client, A);
}

/* A goes to the device's memory; the DMA engine has it cached, reads it when the
 * invalidation has begun, and writes afterwards.  Returns what the frame's next owner
 * reads. */
static uint64_t gone(struct iommu_fixture *s,
		     const struct mmu_notifier_ops *ops)
{
	uint64_t v;

	FIXTURE_NEEDS(s, caches);
	d = fake_device(0, 2);
	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	client_join(&client, s, 0, mm, ops);
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", take_page, NULL);
	explain_begin();
	device_writes(&client, A, 11);
	hook("range_started", device_caches, NULL);
	go(&t0, 0, "T0", migrate_a, NULL);
	join(&t0);
	unhook("range_started");
	sync_point_release(&t1_turn);
	join(&t1);
	device_writes(&client, A, 66);
	v = victim_reads(&victim);
	EXPECT_EQ(cpu_reads(mm, A), 11);
	explain_end();
	client_leave(&client);
	victim_end(&victim);
	mm_put(mm);
	fake_device_end(d);
	return v;
}

IOMMU_TEST(race, flush_before_the_copy_is_too_early,
	   "with a flush only in start a DMA engine writes to the frame whose "
	   "page has gone to a device, and its next owner reads that (H45)")
{
	EXPECT_EQ(gone(s, &only_start), 66);
}

IOMMU_TEST(race, flush_under_the_lock_precedes_the_copy,
	   "with a flush in invalidate_range, under the page-table lock, no "
	   "translation is left when a page is copied to a device (H45)")
{
	EXPECT_EQ(gone(s, SVA), 77);
}

/* ---- 23: two threads fault a page of a device ----------------------------- */

static struct mm *other;  /* Q                                              */
static struct page *to;   /* the frame of the fault without a reference     */
static uint64_t replaced; /* the entry in whose place it maps that          */

/* Bring A back without a mark and a reference on the device's page. */
static void unmarked_fault(void *unused)
{
	struct page *found;

	spin_lock(&mm->pt_lock);
	found = entry_page(pte_read(slot_of_a()));
	spin_unlock(&mm->pt_lock);
	says("finds page 1 of the device");
	sync_point_enter(&t0_turn);
	says("copies page 1 of the device, and maps the copy");
	EXPECT_EQ(d->memory.ops->copy(&d->memory, to, found), 0);
	spin_lock(&mm->pt_lock);
	replaced = pte_xchg(slot_of_a(), page_pa(to) | entry_rights(RW, false));
	tlb_flush_range(mm, A, B);
	spin_unlock(&mm->pt_lock);
	mm_bind(mm);
	cpu_reads(mm, A);
}

static void undo_unmarked_fault(void)
{
	spin_lock(&mm->pt_lock);
	pte_write(slot_of_a(), replaced);
	tlb_flush_range(mm, A, B);
	spin_unlock(&mm->pt_lock);
}

/* Have Q's page go to the device, which uses the page that it freed last. */
static void other_goes(void)
{
	EXPECT_EQ(device_take(d, other, 0, 1), 1);
	says("page 77 of process Q goes to the device");
}

/* T0 and T1 fault A.  T0 stops when it has found the device's page.  Returns what the
 * process and a DMA engine read. */
static uint64_t faulted_twice(struct iommu_fixture *s, bool marked)
{
	uint64_t v;

	d = fake_device(0, 2);
	to = page_alloc();
	REQUIRE(to);
	other = mm_fixture(1);
	EXPECT_EQ(wr(other, A, 77), 0);
	mm = process(2, "P");
	client_join(&client, s, 0, mm, SVA);
	EXPECT_EQ(device_take(d, mm, 0, 1), 1);
	explain_begin();
	if (!marked)
		device_checkers_allow_errors();
	sync_point_set(&t0_turn, marked ? "device_fault" : NULL, mm);
	go(&t0, 0, "T0", marked ? reads_a : unmarked_fault, NULL);
	sync_point_await(&t0_turn);
	go(&t1, 1, "T1", reads_a, NULL);
	if (marked)
		EXPECT(still_waits(&t1));
	else
		join(&t1);
	other_goes();
	sync_point_release(&t0_turn);
	join(&t0);
	if (marked)
		join(&t1);
	v = cpu_reads(mm, A);
	EXPECT_EQ(device_reads(&client, A), v);
	explain_end();
	if (!marked)
		undo_unmarked_fault();
	client_leave(&client);
	mm_put(mm);
	mm_put(other);
	page_put(to);
	fake_device_end(d);
	return v;
}

IOMMU_TEST(race, fault_without_a_mark_reads_another_process,
	   "a fault that finds a page of a device and takes neither mark nor "
	   "reference copies what another process has there by then (H44)")
{
	EXPECT_EQ(faulted_twice(s, false), 77);
}

IOMMU_TEST(race, fault_with_a_mark_is_waited_for,
	   "the first fault marks the page of a device, under the page-table "
	   "lock, and has a reference; the second waits, and both read the "
	   "page (H44)")
{
	EXPECT_EQ(faulted_twice(s, true), 10);
}

/* ---- 24: a word that a device adds to ------------------------------------- */

static struct hmm_driver driver;

static void writes_77(void *unused)
{
	mm_bind(mm);
	cpu_writes(mm, A, 77);
}

/* The device mirrors A, reads it, and writes what it read plus one; T1 writes 77 in
 * between.  Returns what the process then reads. */
static uint64_t added(struct iommu_fixture *s, bool alone)
{
	uint64_t v;

	mm = process(1, "P");
	hmm_driver_start(&driver, s, 0, mm, 0, 1);
	explain_name(EXPLAIN_ADDRESS, IO(0), "A");
	explain_name(EXPLAIN_DOMAIN, driver.domain->id, "d0");
	explain_begin();
	if (alone)
		EXPECT_EQ(hmm_driver_make_exclusive(&driver), 0);
	else
		EXPECT_EQ(hmm_driver_fault(&driver, WRITE), 0);
	v = fixture_read(s, 0, IO(0));
	go(&t1, 1, "T1", writes_77, NULL);
	if (alone)
		EXPECT(still_waits(&t1));
	else
		join(&t1);
	fixture_write(s, 0, IO(0), v + 1);
	if (alone) {
		hmm_driver_unlock(&driver);
		join(&t1);
	}
	v = cpu_reads(mm, A);
	explain_end();
	hmm_driver_stop(&driver);
	fixture_detach(s, 0);
	mm_put(mm);
	return v;
}

IOMMU_TEST(race, addition_beside_a_store_loses_it,
	   "a device that adds to a word which a CPU may write at the same "
	   "time undoes the CPU's store (C64)")
{
	EXPECT_EQ(added(s, false), 11);
}

IOMMU_TEST(race, addition_alone_loses_no_store,
	   "while a device has the page alone a store of a CPU waits, and "
	   "follows the device's addition (C64)")
{
	EXPECT_EQ(added(s, true), 77);
}

/* ---- 25: an exclusive page goes during the fault --------------------------- */

/* End the device's exclusive use of A, and map the page without a second look. */
static void blind_fault(void *unused)
{
	struct mmu_notifier_range range;
	uint64_t e;

	spin_lock(&mm->pt_lock);
	e = pte_read(slot_of_a());
	spin_unlock(&mm->pt_lock);
	says("finds page 1");
	sync_point_enter(&t0_turn);
	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, mm, A, B);
	mmu_notifier_invalidate_range_start(&range);
	says("maps page 1");
	spin_lock(&mm->pt_lock);
	pt_set(&mm->pt, slot_of_a(),
	       page_pa(entry_page(e)) | entry_rights(RW, false));
	spin_unlock(&mm->pt_lock);
	mmu_notifier_invalidate_range_end(&range);
	mm_bind(mm);
	cpu_reads(mm, A);
}

static void undo_blind_fault(void)
{
	spin_lock(&mm->pt_lock);
	pt_set(&mm->pt, slot_of_a(), 0);
	tlb_flush_range(mm, A, B);
	spin_unlock(&mm->pt_lock);
}

static void discard_and_take(void *unused)
{
	sync_point_enter(&t1_turn);
	EXPECT_EQ(mm_discard(mm, A, B), 0);
	take(&victim, page);
}

/* T0 faults A, which the device has alone, and stops when it has found page 1; T1
 * discards A.  Returns what the process then reads. */
static uint64_t discarded(struct iommu_fixture *s, bool looks_again)
{
	uint64_t v;

	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	hmm_driver_start(&driver, s, 0, mm, 0, 1);
	explain_name(EXPLAIN_ADDRESS, IO(0), "A");
	explain_name(EXPLAIN_DOMAIN, driver.domain->id, "d0");
	sync_point_set(&t1_turn, NULL, NULL);
	go(&t1, 0, "T1", discard_and_take, NULL);
	explain_begin();
	EXPECT_EQ(hmm_driver_make_exclusive(&driver), 0);
	fixture_write(s, 0, IO(0), fixture_read(s, 0, IO(0)) + 1);
	hmm_driver_unlock(&driver);
	sync_point_set(&t0_turn, looks_again ? "exclusive_found" : NULL, mm);
	go(&t0, 1, "T0", looks_again ? reads_a : blind_fault, NULL);
	sync_point_await(&t0_turn);
	sync_point_release(&t1_turn);
	join(&t1);
	sync_point_release(&t0_turn);
	join(&t0);
	v = cpu_reads(mm, A);
	explain_end();
	if (!looks_again)
		undo_blind_fault();
	hmm_driver_stop(&driver);
	fixture_detach(s, 0);
	victim_end(&victim);
	mm_put(mm);
	return v;
}

IOMMU_TEST(race, fault_without_a_second_look_maps_a_freed_page,
	   "a fault that ends a device's exclusive use, and maps the page that "
	   "it found before, maps a page of another process (H46)")
{
	EXPECT_EQ(discarded(s, false), 77);
}

IOMMU_TEST(race, fault_with_a_second_look_maps_nothing,
	   "a fault that ends a device's exclusive use reads the entry again "
	   "under the page-table lock, and finds a hole (H46)")
{
	EXPECT_EQ(discarded(s, true), 0);
}
