/* SPDX-License-Identifier: MIT */
/*
 * migrator.c - a device that takes pages while a stress test's actors run
 */
#include "tests/fake/migrator.h"
#include "kernel/rand.h"
#include "mm/hmm/exclusive.h"
#include "mm/rmap/migrate.h"
#include "tests/fake/fake_device.h"
#include "tests/fake/recorder.h"

#define ROOM  48u /* pages of the device: fewer than the spaces have       */
#define TAKES 12u
#define TRIES 4u

static struct {
	struct thread *thread;
	struct rng rng;
	struct fake_device *d;
	unsigned pages;
	struct migrator_count count;
	_Atomic bool stop;
} migrator;

static unsigned below(unsigned n)
{
	return (unsigned)rng_below(&migrator.rng, n);
}

/* Have pages go to the device, which sometimes fails. */
static void takes(struct mm *mm)
{
	unsigned first = below(migrator.pages), n = 1 + below(TAKES);
	bool fails = !below(4);
	int taken;

	migrator.d->succeed = below(4);
	migrator.d->fail = fails;
	taken = device_take(migrator.d, mm, first, n);
	if (taken > 0)
		migrator.count.taken += (unsigned)taken;
	migrator.count.refused += fails && !migrator.d->fail;
	migrator.d->fail = 0;
}

/* Read the word of a page that the device has alone, and write it back. */
static bool rewrites(struct watch *w, const struct hmm_range *range)
{
	volatile uint64_t *word;
	bool valid;

	spin_lock(&w->lock);
	valid = !mmu_interval_read_retry(&w->mni, range->notifier_seq);
	if (valid) {
		word = page_va(page_of(hmm_pfn(range->hmm_pfns[0])));
		*word = *word;
	}
	spin_unlock(&w->lock);
	return valid;
}

/* Have one page alone, and write to it. */
static void has_alone(struct mm *mm)
{
	va_t va = P(below(migrator.pages));
	static struct watch w;
	uint64_t pfn;
	struct hmm_range range = { .notifier = &w.mni,
				   .start = va,
				   .end = va + PAGE_SIZE,
				   .hmm_pfns = &pfn };
	int ret = 1;

	spin_init(&w.lock, RANK_DOMAIN, "watch");
	if (mmu_interval_notifier_insert(&w.mni, mm, va, PAGE_SIZE, &watch_ops))
		return;
	for (unsigned i = 0; i < TRIES && ret; i++) {
		range.notifier_seq = mmu_interval_read_begin(&w.mni);
		ret = make_device_exclusive(&range, &w);
		if (!ret)
			ret = !rewrites(&w, &range);
	}
	migrator.count.alone += !ret;
	mmu_interval_notifier_remove(&w.mni);
}

static void step(struct mm *mm)
{
	switch (below(8)) {
	case 0:
		device_memory_evict(&migrator.d->memory, 1 + below(ROOM));
		break;
	case 1:
	case 2:
		has_alone(mm);
		break;
	default:
		takes(mm);
	}
}

static void migrate(void *arg)
{
	(void)arg;
	for (unsigned id = 0; !atomic_load(&migrator.stop);) {
		struct mm *mm = mm_next(id);

		id = 0;
		if (mm) {
			id = mm->id;
			step(mm);
			mm_put(mm);
		}
		if (!below(4))
			yield();
	}
}

void migrator_begin(uint64_t seed, uint64_t cpus, unsigned n)
{
	migrator.rng = rng_seed(seed);
	migrator.pages = n;
	migrator.count = (struct migrator_count){ 0 };
	migrator.d = fake_device(0, ROOM);
	migrator.d->returns = true; /* no access of an actor may fail */
	atomic_store(&migrator.stop, false);
	migrator.thread = thread_create_on(cpus, "migrator", migrate, NULL);
	EXPECT(migrator.thread);
}

struct migrator_count migrator_end(void)
{
	atomic_store(&migrator.stop, true);
	if (migrator.thread)
		thread_join(migrator.thread);
	return migrator.count;
}

void migrator_reset(void)
{
	fake_device_end(migrator.d);
}
