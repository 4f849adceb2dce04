/* SPDX-License-Identifier: MIT */
/*
 * huge_stream.c - a device streams across 2 MiB that a thread takes apart and puts
 * together at random
 *
 * The stream uses even pages, in both directions: what the device writes the CPU reads,
 * and the reverse.  The other thread splits, collapses, discards, unmaps, protects, pins,
 * evicts and forks; what changes contents it does to odd pages.  A protect of all 2 MiB
 * refuses a write of the stream for a while, which is then repeated.  The two take turns:
 * each change waits until the stream has made a step since the one before.
 */
#include "kernel/err.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "mm/huge/collapse.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/stress/stress.h"

#define CHANGES       125u /* 5,000 of each form with stress=40               */
#define MODEL_CHANGES 30u  /* its steps are slow                             */
#define FROM_DEVICE   8
#define FROM_CPU      16

static struct {
	struct mm *mm;
	unsigned changes;
	struct rng rng;
	_Atomic bool stop;
	_Atomic unsigned steps, done;
	_Atomic unsigned phase; /* odd: a change is under way                 */
	unsigned collapses;
	uint64_t last[N]; /* what the device has written and the CPU has read */
} run;

/* ---- changes ---------------------------------------------------------------- */

static void collapse(va_t va)
{
	int ret = mm_collapse(run.mm, va);

	if (ret != -EBUSY)
		EXPECT_EQ(ret, 0);
	run.collapses += !ret;
}

static void split(va_t va)
{
	huge_split_at(run.mm, va);
}

static void discard(va_t va)
{
	EXPECT_EQ(mm_discard(run.mm, va, va + PAGE_SIZE), 0);
}

static void unmap(va_t va)
{
	EXPECT_EQ(mm_unmap(run.mm, va, va + PAGE_SIZE), 0);
	EXPECT_EQ(mm_map(run.mm, va, PAGE_SIZE, RW, MAP_HUGE, NULL, 0, NULL),
		  0);
}

static void protect(va_t va)
{
	EXPECT_EQ(mm_protect(run.mm, va, va + PAGE_SIZE, PROT_R), 0);
	EXPECT_EQ(mm_protect(run.mm, va, va + PAGE_SIZE, RW), 0);
}

static void protect_all(va_t va)
{
	EXPECT_EQ(mm_protect(run.mm, P(0), P(N), PROT_R), 0);
	EXPECT_EQ(mm_protect(run.mm, P(0), P(N), RW), 0);
}

static void pin(va_t va)
{
	struct page *page;

	EXPECT_EQ(pin_pages(run.mm, va, 1, PIN_WRITE, &page), 0);
	unpin_pages(&page, 1);
}

static void evict(va_t va)
{
	struct page *page = page_at(run.mm, va);
	int ret = page && page != zero_page ? try_to_unmap(page) : 0;

	EXPECT(ret == 0 || ret == -EBUSY);
	if (page)
		page_put(page);
	/* What stays evicted refuses each collapse. */
	EXPECT_EQ(mm_fault(run.mm, va, PROT_W), 0);
}

static void fork_and_exit(va_t va)
{
	struct mm *child;

	EXPECT_EQ(mm_fork(run.mm, &child), 0);
	mm_put(child);
}

/* Collapses undo what the others do. */
static void (*const changes[])(va_t va) = {
	collapse, split,       discard, collapse, unmap, protect,
	collapse, protect_all, pin,     collapse, evict, fork_and_exit,
};

static void change(void *unused)
{
	for (unsigned i = 0; i < run.changes && !atomic_load(&run.stop); i++) {
		unsigned odd = (unsigned)rng_below(&run.rng, N) | 1;

		atomic_fetch_add(&run.phase, 1);
		changes[rng_below(&run.rng, ARRAY_SIZE(changes))](P(odd));
		atomic_fetch_add(&run.phase, 1);
		atomic_store(&run.done, i + 1);
		while (i >= atomic_load(&run.steps) && !atomic_load(&run.stop))
			yield();
	}
}

/* ---- the stream -------------------------------------------------------------- */

/* Each of these is tried again as long as a change may have refused it.  There is one
 * change at most in a step. */

static bool disturbed(unsigned phase)
{
	return phase & 1 || phase != atomic_load(&run.phase);
}

/* Let the device write until it reads that back: some writes are refused. */
static bool device_stores(struct iommu_fixture *s, va_t va, uint64_t v)
{
	unsigned phase;

	do {
		phase = atomic_load(&run.phase);
		if (!fixture_store(s, 0, va, v) && fixture_load(s, 0, va) == v)
			return true;
		yield();
	} while (disturbed(phase));
	return false;
}

/* Return what the device reads when it is not refused. */
static uint64_t device_loads(struct iommu_fixture *s, va_t va)
{
	unsigned phase;
	uint64_t v;

	do {
		phase = atomic_load(&run.phase);
		v = fixture_load(s, 0, va);
		if (v == BLOCKED)
			yield();
	} while (v == BLOCKED && disturbed(phase));
	return v;
}

static bool cpu_stores(va_t va, uint64_t v)
{
	unsigned phase;

	do {
		phase = atomic_load(&run.phase);
		if (!wr(run.mm, va, v))
			return true;
		yield();
	} while (disturbed(phase));
	return false;
}

/* One step in both directions.  Returns how many values were wrong. */
static unsigned step(struct iommu_fixture *s, unsigned i)
{
	unsigned at = i * 74 % N & ~1u, wrong = 0;

	EXPECT(device_stores(s, P(at) + FROM_DEVICE, i));
	wrong += rd(run.mm, P(at) + FROM_DEVICE) != i;
	EXPECT(cpu_stores(P(at) + FROM_CPU, i));
	wrong += device_loads(s, P(at) + FROM_CPU) != i;
	run.last[at] = i;
	return wrong;
}

static unsigned stream(struct iommu_fixture *s)
{
	unsigned wrong = 0;

	for (unsigned i = 1; atomic_load(&run.done) < run.changes; i++) {
		wrong += step(s, i);
		atomic_store(&run.steps, i);
		yield(); /* the other may be on this CPU */
	}
	for (unsigned i = 0; i < N; i++)
		wrong += run.last[i] &&
			 (rd(run.mm, P(i) + FROM_DEVICE) != run.last[i] ||
			  device_loads(s, P(i) + FROM_CPU) != run.last[i]);
	return wrong;
}

static void stress_huge_stream(struct iommu_fixture *s)
{
	uint64_t splits = huge_splits();
	struct task t;

	memset(run.last, 0, sizeof(run.last));
	run.mm = fixture_mm(s, N);
	REQUIRE(!mm_advise_huge(run.mm, P(0), P(N), true));
	run.changes = (s->model ? MODEL_CHANGES : CHANGES) * stress_times();
	run.rng = rng_seed(test_seed());
	run.collapses = 0;
	atomic_store(&run.steps, 0);
	atomic_store(&run.done, 0);
	atomic_store(&run.phase, 0);
	atomic_store(&run.stop, false);
	/* Even pages stay: a collapse always finds one that was written. */
	REQUIRE(!wr(run.mm, P(0), 0));
	fixture_bind(s, 0, run.mm);
	fixture_may_be_refused(s, 0);
	spawn(&t, change, NULL);
	EXPECT_EQ(stream(s), 0);
	atomic_store(&run.stop, true);
	join(&t);
	splits = huge_splits() - splits;
	test_note(
		"stress: %u changes, %u collapses, %lu splits of an entry, %u "
		"steps of the stream",
		atomic_load(&run.done), run.collapses, splits,
		atomic_load(&run.steps));
	EXPECT(run.collapses >= run.changes / 16);
	EXPECT(splits >= run.changes / 16);
	EXPECT_STR_NULL(fixture_check(0));
}

#define LIMIT 300 /* seconds, on a busy host */

USER_TEST_IN(
	stress, huge_stream, sva, USER_SVA, qemu,
	"a stream of a device that walks the mm's page table loses no write "
	"and reads nothing stale while 2 MiB are split, collapsed and changed "
	"in part, on QEMU's IOMMU",
	LIMIT);
USER_TEST_IN(
	stress, huge_stream, sva, USER_SVA, model,
	"a stream of a device that walks the mm's page table loses no write "
	"and reads nothing stale while 2 MiB are split, collapsed and changed "
	"in part, on the strict model",
	LIMIT);
USER_TEST_IN(
	stress, huge_stream, mirror, USER_MIRROR, qemu,
	"a stream of a device with a mirror loses no write and reads nothing "
	"stale while 2 MiB are split, collapsed and changed in part, on QEMU's "
	"IOMMU",
	LIMIT);
USER_TEST_IN(
	stress, huge_stream, mirror, USER_MIRROR, model,
	"a stream of a device with a mirror loses no write and reads nothing "
	"stale while 2 MiB are split, collapsed and changed in part, on the "
	"strict model",
	LIMIT);
