/* SPDX-License-Identifier: MIT */
/*
 * guest_people.c - a whole machine goes on while everything happens to its memory
 *
 * The guest of vm.h computes.  The process's memory that it is made of, page tables
 * and interrupt table included, is swapped out page by page, evicted, moved to other
 * frames, merged, and shared with forked children; a device that is bound to the process writes its
 * blocks.  Three MMUs translate the same memory: the CPU's, the IOMMU, the guest's.
 */
#include "arch/uaccess.h"
#include "drivers/lsi.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/ksm/ksm.h"
#include "tests/fixture/guest/resident.h"
#include "tests/fixture/guest/vm.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/swap_fixture.h"

#define PAGES  32u
#define ALL    (VM_DATA + PAGES) /* of the guest; the next one is the disk's   */
#define PASSES 16u
#define SOURCE P(ALL)
#define LAST   (PAGE_SIZE - 8)

static struct vm vm;
static struct mm *mm;
static struct {
	unsigned swapped, evicted, moved, forks;
	_Atomic uint64_t steps;
} did;

/* ---- the disk ----------------------------------------------------------- */

static uint64_t buffer_word(void)
{
	return rd(mm, P(VM_BUFFER) + LAST);
}

/*
 * Bring block n by DMA.  A page may be gone again between the device's fault and its
 * access: then it is refused, and a page of this chip moves as a whole or not at all.
 */
static void transfer(uint64_t n)
{
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		REQUIRE(!wr(mm, SOURCE + 8 * i, vm_disk(n, i)));
	while (!atomic_load(&vm.over) && buffer_word() != n) {
		REQUIRE(!fixture_fault(0, SOURCE, PROT_R));
		REQUIRE(!fixture_fault(0, P(VM_BUFFER), PROT_W));
		REQUIRE(!dma_copy(&lsi_at(0)->engine, P(VM_BUFFER), SOURCE,
				  PAGE_SIZE));
	}
}

/* Block n comes after so many steps of disturb(): the guest cannot outrun them. */
#define STEPS(n) (6 * (n))

static void disk(void *unused)
{
	uint64_t done = 0;

	while (!atomic_load(&vm.over)) {
		uint64_t n = atomic_load(&vm.wanted);

		if (n != done && atomic_load(&did.steps) >= STEPS(n)) {
			transfer(n);
			done = n;
		}
		yield();
	}
}

/* ---- what happens to the memory ----------------------------------------- */

/* A fork keeps what was there, whatever the guest goes on to write. */
static void fork_and_compare(void)
{
	struct mm *child = fork_of(mm);
	uint64_t before[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		before[i] = rd(child, P(VM_DATA + i));
	for (unsigned i = 0; i < 8; i++)
		yield();
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(rd(child, P(VM_DATA + i)), before[i]);
	mm_put(child);
	did.forks++;
}

static void evict(unsigned page)
{
	struct page *found = page_at(mm, P(page));

	if (!found)
		return;
	did.evicted += !try_to_unmap(found);
	page_put(found);
}

/* Let the guest go on: what follows is to happen to a guest that has come further. */
static void wait_for_exit(void)
{
	uint64_t before = atomic_load(&vm.vcpu.exits);

	while (atomic_load(&vm.vcpu.exits) == before && !atomic_load(&vm.over))
		yield();
}

/* Each page of the guest is gone several times before the guest has ended. */
static void disturb(void)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t n = atomic_fetch_add(&did.steps, 1);
		unsigned page = (unsigned)(n * 5 % ALL);

		if (n % 4 == 2)
			evict(page);
		else if (n % 4 == 3)
			did.moved += !migrate_at(mm, P(page));
		else
			did.swapped += !swap_out_at(mm, P(page));
	}
	EXPECT(ksm_scan(8) >= 0);
	if (atomic_load(&did.steps) % 64 == 0)
		fork_and_compare();
	wait_for_exit();
}

static void begin(unsigned pages)
{
	did.swapped = did.evicted = did.moved = did.forks = 0;
	atomic_store(&did.steps, 0);
	REQUIRE(!ksm_mergeable(mm, VA, P(ALL)));
	REQUIRE(!vm_load(&vm, mm, VA, pages, PASSES));
}

/* Check what the guest printed, and that it took each interrupt once. */
static void expect_sum(void)
{
	uint64_t waits = !!(vm.vcpu.vmcb->interrupt_control & V_IRQ);
	char wanted[VM_TEXT];

	EXPECT_EQ(vm.why, VCPU_HLT);
	EXPECT_EQ(vm_word(&vm, VM_DONE), PASSES);
	EXPECT_EQ(vm_word(&vm, VM_SUM), vm_sum(PAGES, PASSES));
	EXPECT_EQ(vm_word(&vm, VM_TICKS), vm.ticks - waits);
	EXPECT(vm.ticks > 1);
	snprintk(wanted, sizeof(wanted), "sum %016lx\n", vm_sum(PAGES, PASSES));
	EXPECT(!strcmp(vm.text, wanted));
}

static void guest_sums_under_all(struct iommu_fixture *s)
{
	struct task task;

	need_svm();
	swap_fixture_begin(4 * ALL);
	mm = fixture_mm(s, ALL + 1);
	begin(PAGES);
	vm.has_disk = true;
	fixture_bind(s, 0, mm);
	spawn(&task, disk, NULL);
	REQUIRE(vm_start(&vm, UINT64_MAX));
	while (!atomic_load(&vm.over))
		disturb();
	vm_wait(&vm);
	join(&task);
	expect_sum();
	test_note("%u swapped out, %u evicted, %u moved, %u forks", did.swapped,
		  did.evicted, did.moved, did.forks);
	EXPECT(did.swapped > PASSES && did.evicted > PASSES / 2 &&
	       did.moved > PASSES / 2 && did.forks);
	vm_destroy(&vm);
	fixture_unbind(s, 0);
	fixture_exit(mm);
	swap_fixture_end();
	ksm_knobs_reset();
}

#define CLAIM                                                                  \
	"a guest with its own page tables, timer and disk computes the right " \
	"sum while its memory is swapped out, evicted, moved, merged and "     \
	"forked, and a device writes it"

USER_TEST_AS(guest, sums_under_all, sva, USER_SVA, qemu, CLAIM);
USER_TEST_AS(guest, sums_under_all, mirror, USER_MIRROR, qemu, CLAIM);
