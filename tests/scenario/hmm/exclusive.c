/* SPDX-License-Identifier: MIT */
/*
 * exclusive.c - a device has a page alone while it works on it: C64, H46
 */
#include "drivers/lsi.h"
#include "kernel/err.h"
#include "mm/huge/collapse.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sweep.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/fake/recorder.h"
#include "tests/scenario/hmm/alone.h"

static struct hmm_driver second;
static struct mm *child;

/* What the device has when the CPU's entry changes. */
static void entry_is_back(uint64_t mm, uint64_t va, void *reached)
{
	*(unsigned *)reached +=
		alone_reaches((unsigned)((va - VA) >> PAGE_SHIFT));
}

IOMMU_TEST(exclusive, cpu_access_ends_it,
	   "a device has pages that no CPU maps; a load and a store of a CPU "
	   "each find its last word, after it was told and before the page is "
	   "mapped; no reference is left (C64)")
{
	struct mm *mm = alone_begin(s);
	unsigned reached = 0;

	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(alone_state(mm, i), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(mm->mapped, 0);
	EXPECT_EQ(alone.notified, 0);
	alone_add_held(s, 0);
	alone_add_held(s, 1);
	hmm_driver_unlock(&alone);

	hook("pte_set", entry_is_back, &reached);
	EXPECT_EQ(rd(mm, P(0)), 2);
	EXPECT_EQ(alone.ended, 1);
	EXPECT_EQ(wr(mm, P(1), 70), 0);
	EXPECT_EQ(alone.ended, 2);
	unhook("pte_set");
	EXPECT_EQ(reached, 0);
	EXPECT_EQ(rd(mm, P(1)), 70);
	alone_mapped_again(mm, 0);
	alone_mapped_again(mm, 1);
	EXPECT_EQ(mm->mapped, 2);
	EXPECT(!alone_reaches(0) && !alone_reaches(1) && alone_reaches(2));
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), BLOCKED);
	alone_end(s, mm);
}

IOMMU_TEST(
	exclusive, cached_translation_is_flushed,
	"a CPU that has the page's translation cached, and keeps the address "
	"space, faults at its next store: the device is told (B9)")
{
	struct mm *mm = alone_begin(s);

	mm_bind(mm);
	EXPECT_EQ(wr(mm, P(0), 40), 0);
	alone_add(s, 0);
	EXPECT_EQ(alone.ended, 0);
	EXPECT_EQ(rd(mm, P(0)), 41);
	EXPECT_EQ(alone.ended, 1);
	EXPECT_EQ(wr(mm, P(0), 50), 0);
	alone_add(s, 0);
	EXPECT_EQ(wr(mm, P(0), 60), 0);
	EXPECT_EQ(alone.ended, 2);
	EXPECT_EQ(rd(mm, P(0)), 60);
	mm_bind(NULL);
	alone_end(s, mm);
}

IOMMU_TEST(exclusive, again_and_again,
	   "a page that a device has alone may be made exclusive again, and "
	   "after a CPU used it")
{
	struct mm *mm = alone_begin(s);

	for (unsigned i = 0; i < 4; i++)
		alone_add(s, 3);
	EXPECT_EQ(rd(mm, P(3)), 8);
	for (unsigned i = 0; i < 4; i++)
		alone_add(s, 3);
	EXPECT_EQ(rd(mm, P(3)), 12);
	alone_end(s, mm);
}

/* ---- a CPU in the middle of the operation -------------------------------------- */

struct access {
	struct mm *mm;
	unsigned i;
	uint64_t v;
};

static void store(void *arg)
{
	struct access *a = arg;

	EXPECT_EQ(wr(a->mm, P(a->i), a->v), 0);
}

static void load(void *arg)
{
	struct access *a = arg;

	a->v = rd(a->mm, P(a->i));
}

IOMMU_TEST(exclusive, cpu_waits_for_the_operation,
	   "a store and a load of two CPUs between the device's read and its "
	   "write wait for the write: the store is not lost, and the load does "
	   "not read the old word (C64)")
{
	struct mm *mm = alone_begin(s);
	struct access a = { mm, 0, 70 }, b = { mm, 1, 0 };
	struct task t, u;
	uint64_t v, w;

	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	v = fixture_read(s, 0, IO(0));
	w = fixture_read(s, 0, IO(1));
	spawn(&t, store, &a);
	spawn(&u, load, &b);
	EXPECT(still_waits(&t));
	EXPECT(still_waits(&u));
	fixture_write(s, 0, IO(0), v + 1);
	fixture_write(s, 0, IO(1), w + 1);
	hmm_driver_unlock(&alone);
	join(&t);
	join(&u);
	EXPECT_EQ(rd(mm, P(0)), 70);
	EXPECT_EQ(b.v, 3);
	alone_end(s, mm);
}

static void exclusive_program(struct iommu_fixture *s);
FIXTURE_TEST(exclusive, program, qemu,
	     "a program of the LSI loads, adds and stores, one instruction at "
	     "a time; a store of a CPU before its last one waits for it (C64)",
	     1, 0);
static void exclusive_program(struct iommu_fixture *s)
{
	const struct lsi_insn program[] = {
		lsi_load(LSI_SCRATCHA, IO(0), 4),
		lsi_add(LSI_SCRATCHA, 1),
		lsi_store(LSI_SCRATCHA, IO(0), 4),
		lsi_interrupt(9),
	};
	struct mm *mm = alone_begin(s);
	struct access a = { mm, 0, 70 };
	uint32_t tag = 0;
	struct task t;

	EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
	REQUIRE(!lsi_load_program(lsi_at(0), LSI_IN_MEMORY, program,
				  ARRAY_SIZE(program)));
	EXPECT_EQ(lsi_step(lsi_at(0), &tag), -EAGAIN);
	EXPECT_EQ(lsi_step(lsi_at(0), &tag), -EAGAIN);
	EXPECT_EQ(lsi_scratch(lsi_at(0), LSI_SCRATCHA), 2);
	spawn(&t, store, &a);
	EXPECT(still_waits(&t));
	EXPECT_EQ(lsi_step(lsi_at(0), &tag), -EAGAIN);
	EXPECT_EQ(lsi_step(lsi_at(0), &tag), 0);
	EXPECT_EQ(tag, 9);
	hmm_driver_unlock(&alone);
	join(&t);
	EXPECT_EQ(rd(mm, P(0)), 70);
	alone_end(s, mm);
}

#define ROUNDS 40u
#define STEP   1000u /* more than the device adds in a run                */

static _Atomic bool adding;
static _Atomic unsigned added; /* by the device */

/* Store growing words; each must still be there, or have grown, at the next look. */
static void store_growing(void *arg)
{
	struct mm *mm = arg;

	for (unsigned i = 1; i <= ROUNDS || atomic_load(&added) < 2; i++) {
		uint64_t v;

		EXPECT_EQ(wr(mm, P(0), i * STEP), 0);
		yield();
		v = rd(mm, P(0));
		EXPECT(v >= i * STEP && v < (i + 1) * STEP);
	}
	atomic_store(&adding, false);
}

IOMMU_TEST(exclusive, no_store_is_lost,
	   "while a device adds and a CPU stores to the same word, free "
	   "running, no store of the CPU is undone (C64)")
{
	struct mm *mm = alone_begin(s);
	struct task t;

	atomic_store(&added, 0);
	atomic_store(&adding, true);
	spawn(&t, store_growing, mm);
	for (; atomic_load(&adding) && added < STEP - 1; added++) {
		uint64_t v;

		EXPECT_EQ(hmm_driver_make_exclusive(&alone), 0);
		v = fixture_read(s, 0, IO(0));
		yield();
		fixture_write(s, 0, IO(0), v + 1);
		hmm_driver_unlock(&alone);
		yield();
	}
	join(&t);
	alone_end(s, mm);
}

/* ---- refused ----------------------------------------------------------------------- */

IOMMU_TEST(exclusive, used_page_is_refused,
	   "a pinned page is -EPERM, an address that cannot be written "
	   "-EFAULT, a range that is empty, unaligned or beyond the interval "
	   "-EINVAL; nothing is taken")
{
	struct mm *mm = alone_begin(s);
	struct hmm_range range = alone.range;
	struct page *pin;

	EXPECT_EQ(pin_pages(mm, P(0), 1, PIN_WRITE, &pin), 0);
	EXPECT_EQ(alone_ask(0, 1), -EPERM);
	EXPECT_EQ(alone_state(mm, 0), STATE_EXCLUSIVE);
	unpin_pages(&pin, 1);
	EXPECT_EQ(alone_ask(0, 1), 0);
	EXPECT_EQ(mm_unmap(mm, P(2), P(3)), 0);
	EXPECT_EQ(alone_ask(2, 3), -EFAULT);
	EXPECT_EQ(alone_ask(1, 1), -EINVAL);
	EXPECT_EQ(alone_ask(3, PAGES + 1), -EINVAL);
	range.end--;
	EXPECT_EQ(make_device_exclusive(&range, &alone), -EINVAL);
	EXPECT_EQ(alone_state(mm, 1), STATE_EXCLUSIVE);
	alone_end(s, mm);
}

IOMMU_TEST(exclusive, shared_memory_is_refused,
	   "a page of an object is -EPERM, and stays mapped")
{
	struct object *object = object_create(PAGES);
	struct mm *mm = mm_fixture_shared(object, PAGES);

	object_put(object);
	hmm_driver_start(&alone, s, 0, mm, 0, PAGES);
	EXPECT_EQ(wr(mm, P(0), 5), 0);
	EXPECT_EQ(hmm_driver_make_exclusive(&alone), -EPERM);
	EXPECT(entry_at(mm, P(0)) & PTE_W);
	EXPECT_EQ(rd(mm, P(0)), 5);
	alone_end(s, mm);
}

/* ---- two clients -------------------------------------------------------------------- */

IOMMU_TEST(exclusive, second_device_ends_the_first,
	   "of two devices only the one that asked last reaches the page, and "
	   "finds the other's word; a range fault of the first takes it back "
	   "(C64)")
{
	struct mm *mm = alone_begin(s);

	hmm_driver_start(&second, s, 1, mm, 0, PAGES);
	alone_add(s, 0);
	EXPECT_EQ(hmm_driver_make_exclusive(&second), 0);
	EXPECT(!alone_reaches(0));
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), BLOCKED);
	EXPECT_EQ(fixture_read(s, 1, IO(0)), 2);
	fixture_write(s, 1, IO(0), 3);
	hmm_driver_unlock(&second);
	EXPECT_EQ(hmm_driver_fault(&alone, 0),
		  0); /* a snapshot has no such page */
	EXPECT(!alone_reaches(0));
	EXPECT_EQ(alone_state(mm, 0), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(hmm_driver_fault(&alone, READ), 0);
	EXPECT_EQ(fixture_read(s, 0, IO(0)), 3);
	EXPECT_EQ(second.ended, 2 * PAGES);
	EXPECT_EQ(rd(mm, P(0)), 3);
	hmm_driver_stop(&second);
	fixture_detach(s, 1);
	alone_end(s, mm);
}

/* ---- huge pages ------------------------------------------------------------------------ */

IOMMU_TEST(exclusive, huge_page_is_split,
	   "of a huge page one page is taken and the others stay mapped; while "
	   "a device has it no collapse succeeds")
{
	struct mm *mm = huge_filled();

	hmm_driver_start(&alone, s, 0, mm, 7, 8);
	alone_add(s, 0);
	EXPECT_EQ(alone_state(mm, 7), STATE_DEVICE_EXCLUSIVE);
	EXPECT(entry_mapped(entry_at(mm, P(6))));
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	EXPECT_EQ(alone_state(mm, 7), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(rd(mm, P(7)), 9);
	EXPECT_EQ(wr(mm, P(7), 8), 0);
	EXPECT_EQ(huge_wrong(mm, 0, N), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	alone_add(s, 0);
	EXPECT_EQ(rd(mm, P(7)), 9);
	alone_end(s, mm);
}

/* ---- two threads, no memory --------------------------------------------------------- */

IOMMU_TEST(exclusive, discard_between_look_and_map_wins,
	   "a fault that has found the device's page, and meets a discard "
	   "before it maps it, maps nothing of it: the address reads 0, and "
	   "the frame is free (H46)")
{
	struct mm *mm = alone_begin(s);
	struct access a = { mm, 1, BAD };
	struct sync_point stop;
	struct page *page;
	struct task t;

	alone_add(s, 1);
	page = alone_page(mm, 1);
	sync_point_set(&stop, "exclusive_found", mm);
	spawn(&t, load, &a);
	sync_point_await(&stop);
	EXPECT_EQ(mm_discard(mm, P(1), P(2)), 0);
	EXPECT_EQ(page_count(page), PAGE_REF); /* ours: none of the fault */
	sync_point_release(&stop);
	join(&t);
	EXPECT_EQ(a.v, 0);
	EXPECT_EQ(page_count(page), PAGE_REF);
	page_put(page);
	alone_end(s, mm);
}

IOMMU_TEST(exclusive, two_faults_map_once,
	   "two threads that both find the device's page map it once (H46)")
{
	struct mm *mm = alone_begin(s);
	struct access a = { mm, 1, BAD }, b = { mm, 1, BAD };
	struct sync_point stop;
	struct task t, u;

	alone_add(s, 1);
	sync_point_set(&stop, "exclusive_found", mm);
	spawn(&t, load, &a);
	sync_point_await(&stop);
	spawn(&u, load, &b);
	join(&u);
	EXPECT_EQ(b.v, 3);
	sync_point_release(&stop);
	join(&t);
	EXPECT_EQ(a.v, 3);
	alone_mapped_again(mm, 1);
	EXPECT_EQ(mm->mapped, 1);
	alone_end(s, mm);
}

static void add_one(void *s)
{
	alone_add(s, 1);
}

IOMMU_TEST(exclusive, page_is_looked_at_again,
	   "a page that a discard frees after the begin of the invalidation is "
	   "faulted again: the device gets a page that is mapped (H46)")
{
	struct mm *mm = alone_begin(s);
	struct sync_point stop;
	struct task t;

	fixture_may_be_refused(s, 0); /* a new page reads as BLOCKED does: 0 */
	sync_point_set(&stop, "range_started", mm);
	spawn(&t, add_one, s);
	sync_point_await(&stop);
	EXPECT_EQ(mm_discard(mm, P(0), P(2)), 0);
	sync_point_release(&stop);
	join(&t);
	EXPECT_EQ(alone_state(mm, 0), STATE_DEVICE_EXCLUSIVE);
	EXPECT_EQ(rd(mm, P(0)), 0);
	EXPECT_EQ(rd(mm, P(1)), 1);
	alone_end(s, mm);
}

/* The operation of the sweep: all pages, one by one, as a client of its own. */
static int take_eight(struct mm *mm)
{
	static struct watch w;
	uint64_t pfns[8];
	struct hmm_range range = {
		.notifier = &w.mni, .start = P(0), .end = P(8), .hmm_pfns = pfns
	};
	int ret;

	spin_init(&w.lock, RANK_DOMAIN, "watch");
	ret = mmu_interval_notifier_insert(&w.mni, mm, P(0), 8 * PAGE_SIZE,
					   &watch_ops);
	if (ret)
		return ret;
	do {
		range.notifier_seq = mmu_interval_read_begin(&w.mni);
		ret = make_device_exclusive(&range, &w);
	} while (ret == -EBUSY);
	mmu_interval_notifier_remove(&w.mni);
	return ret;
}

/* Two holes, a zero page, and the rest shared with a child. */
static void mixed(struct mm *mm)
{
	change(mm, 0, 3);
	EXPECT_EQ(rd(mm, P(2)), 0);
	child = fork_of(mm);
}

/* The child is not the sweep's. */
static int take_mixed(struct mm *mm)
{
	int ret = take_eight(mm);

	if (!ret)
		mm_put(child);
	return ret;
}

TEST(exclusive, no_memory_takes_nothing_away,
     "whichever allocation fails, the call returns -ENOMEM, every page keeps "
     "its word, and the next call succeeds")
{
	sweep(mixed, take_mixed, SNAP_CONTENTS, 8);
}
