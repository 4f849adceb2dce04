/* SPDX-License-Identifier: MIT */
/*
 * hold.c - clients hold no references: experiments 6, 10, 11
 *
 * A client of the chain has no reference on the pages that it reaches: they can be
 * freed at any time.  So it must check that what it has looked up is still valid,
 * drop its entries when notified, and report which pages it uses.
 */
#include "kernel/err.h"
#include "tests/fake/recorder.h"
#include "tests/race/race.h"
#include "tests/timeline/explain.h"

static struct mm *mm;
static struct page *page; /* A's, at the beginning                         */
static struct victim victim;
static struct task t0, t1, t2;
static struct sync_point looked, t2_turn;

/* A table of the device's own, filled by lookups. */
static struct {
	struct mmu_notifier mn;
	struct mmu_interval_notifier mni;
	struct domain *domain;
	struct spinlock lock; /* RANK_PT, never held together with pt_lock   */
	bool valid;           /* the flag of 2019: no invalidation is open   */
} mirror;

static void mirror_begin(struct iommu_fixture *s)
{
	FIXTURE_NEEDS(s, caches);
	victim_begin(&victim);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	mirror.domain = fixture_domain(s);
	mirror.mn = (struct mmu_notifier){ 0 };
	mirror.valid = true;
	spin_init(&mirror.lock, RANK_PT, "mirror");
	fixture_attach(s, 0, mirror.domain);
	explain_name(EXPLAIN_DOMAIN, mirror.domain->id, "d0");
}

static void mirror_end(struct iommu_fixture *s)
{
	explain_end();
	fixture_detach(s, 0);
	victim_end(&victim);
	mm_put(mm);
}

static void mirror_zap(va_t start, va_t end)
{
	REQUIRE(!domain_unmap(mirror.domain, start, end));
}

/* Look va up in the process's table; install it in the device's. */
static uint64_t look(va_t va)
{
	REQUIRE(!mm_fault(mm, va, PROT_W));
	return entry_at(mm, va) & PTE_ADDR;
}

static void install(va_t va, uint64_t pa)
{
	REQUIRE(!domain_map(mirror.domain, va, pa, PAGE_SIZE, IO_RW));
}

/* ---- 6: "range valid" without a sequence -------------------------------- */

static int flag_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	spin_lock(&mirror.lock);
	WRITE_ONCE(mirror.valid, false);
	mirror_zap(range->start, range->end);
	spin_unlock(&mirror.lock);
	return 0;
}

static void flag_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	spin_lock(&mirror.lock);
	WRITE_ONCE(mirror.valid, true);
	spin_unlock(&mirror.lock);
}

static const struct mmu_notifier_ops flag_ops = {
	.invalidate_range_start = flag_start,
	.invalidate_range_end = flag_end,
};

/* hmm_range_wait_until_valid(), hmm_range_fault(), hmm_range_valid() of 2019.
 * False: it has changed, try again. */
static bool fault_by_flag(void)
{
	uint64_t pa;
	bool valid;

	while (!READ_ONCE(mirror.valid))
		yield();
	pa = look(A);
	says("looks up A: page 1, valid");
	sync_point_enter(&looked);
	spin_lock(&mirror.lock);
	valid = mirror.valid;
	says(valid ? "flag valid: installs page 1" : "flag invalid: retries");
	if (valid)
		install(A, pa);
	spin_unlock(&mirror.lock);
	return valid;
}

static bool sequence_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				uint64_t seq)
{
	spin_lock(&mirror.lock);
	mmu_interval_set_seq(mni, seq);
	mirror_zap(range->start, range->end);
	spin_unlock(&mirror.lock);
	return true;
}

static const struct mmu_interval_notifier_ops sequence_ops = {
	.invalidate = sequence_invalidate,
};

static bool fault_by_sequence(void)
{
	uint64_t seq = mmu_interval_read_begin(&mirror.mni), pa = look(A);
	bool retry;

	says("looks up A, keeps the sequence");
	sync_point_enter(&looked);
	spin_lock(&mirror.lock);
	retry = mmu_interval_read_retry(&mirror.mni, seq);
	says(retry ? "sequence changed: retries"
		   : "same sequence: installs it");
	if (!retry)
		install(A, pa);
	spin_unlock(&mirror.lock);
	return !retry;
}

static void fault(void *by)
{
	bool (*try)(void) = by;

	while (!try())
		;
}

static void discard_a(void *unused)
{
	mm_bind(mm);
	change(mm, 0, 1);
}

static void take_page(void *unused)
{
	sync_point_enter(&t2_turn);
	take(&victim, page);
}

/* Make a whole change, and let the page get a new owner, between lookup and
 * install. */
static uint64_t overtaken(struct iommu_fixture *s, bool (*by)(void))
{
	uint64_t v;

	sync_point_set(&looked, NULL, NULL);
	sync_point_set(&t2_turn, NULL, NULL);
	go(&t2, 1, "T2", take_page, NULL);
	explain_begin();
	go(&t0, 0, "T0", fault, by);
	sync_point_await(&looked);
	go(&t1, 1, "T1", discard_a, NULL);
	join(&t1);
	sync_point_release(&t2_turn);
	join(&t2);
	sync_point_release(&looked);
	join(&t0);
	fixture_write(s, 0, A, 66);
	v = victim_reads(&victim);
	explain_end();
	return v;
}

IOMMU_TEST(race, valid_flag_misses_a_change,
	   "a flag that is valid before and after a lookup does not show a "
	   "change in between: the device gets a page of another process")
{
	mirror_begin(s);
	mirror.mn.ops = &flag_ops;
	REQUIRE(!mmu_notifier_register(&mirror.mn, mm));
	EXPECT_EQ(overtaken(s, fault_by_flag), 66);
	mmu_notifier_unregister(&mirror.mn);
	mirror_end(s);
}

IOMMU_TEST(race, sequence_shows_every_change,
	   "a sequence shows every change: the lookup is repeated, and the "
	   "device writes to the page that is mapped now")
{
	mirror_begin(s);
	REQUIRE(!mmu_interval_notifier_insert(&mirror.mni, mm, A, 2 * PAGE_SIZE,
					      &sequence_ops));
	EXPECT_EQ(overtaken(s, fault_by_sequence), 77);
	EXPECT_EQ(rd(mm, A), 66);
	mmu_interval_notifier_remove(&mirror.mni);
	mirror_end(s);
}

/* ---- 10: evicted without a pin ------------------------------------------ */

static struct client d0, d1;
static int error;

static void evict(void *unused)
{
	mm_bind(mm);
	error = try_to_unmap(page);
}

static void both_read(uint64_t of, uint64_t va, void *unused)
{
	device_reads(&d0, A);
	device_reads(&d1, A);
}

/* Two devices have A cached, to write.  What is on the disk afterwards, and
 * what the process then finds in memory? */
static void evicted(struct iommu_fixture *s, const struct mmu_notifier_ops *ops,
		    uint64_t *disk, uint64_t *memory)
{
	FIXTURE_NEEDS(s, caches);
	mm = process(2, "P");
	page = name_page(mm, A, "page 1");
	client_join(&d0, s, 0, mm, ops);
	client_join(&d1, s, 1, mm, ops);
	explain_begin();
	EXPECT_EQ(device_reads(&d0, A), 10);
	device_writes(&d1, A, 11);
	/* Three MMUs have it, and hold nothing: one mapping, the CPU's. */
	EXPECT_EQ(page_count(page), PAGE_MAP);
	EXPECT_EQ(page_pins(page), 0);
	hook("range_started", both_read, NULL);
	go(&t0, 0, "T0", evict, NULL);
	join(&t0);
	unhook("range_started");
	EXPECT_EQ(error, 0);
	*disk = fixture_word(page);
	says("page 1 is written to the disk");
	device_writes(&d0, A, 66);
	device_writes(&d1, A, 66);
	*memory = fixture_word(page);
	PROBE(victim_read, 0, *memory);
	explain_end();
	client_leave(&d1);
	client_leave(&d0);
	mm_put(mm);
}

IOMMU_TEST(race, evicted_page_is_still_written,
	   "with a flush only in start a device writes to a page after it was "
	   "evicted, and the copy on the disk is older")
{
	uint64_t disk, memory;

	evicted(s, &only_start, &disk, &memory);
	EXPECT_EQ(disk, 11);
	EXPECT_EQ(memory, 66);
}

IOMMU_TEST(race, evicted_page_is_not_reached,
	   "a page that a CPU and two devices use is evicted at the first "
	   "attempt, without a pin, and none of them reaches it")
{
	uint64_t disk, memory;

	evicted(s, SVA, &disk, &memory);
	EXPECT_EQ(disk, 11);
	EXPECT_EQ(memory, 11);
}

IOMMU_TEST(race, pinned_page_is_not_evicted,
	   "a device that holds a pin on a page keeps it from being evicted "
	   "for as long as it likes")
{
	FIXTURE_NEEDS(s, caches);
	mirror_begin(s);
	REQUIRE(!pin_pages(mm, A, 1, true, &page));
	install(A, page_pa(page));
	explain_begin();
	fixture_write(s, 0, A, 11);
	go(&t0, 0, "T0", evict, NULL);
	join(&t0);
	EXPECT_EQ(error, -EBUSY);
	fixture_write(s, 0, A, 12);
	EXPECT_EQ(rd(mm, A), 12);
	mirror_zap(A, B);
	unpin_pages(&page, 1);
	mirror_end(s);
}

/* ---- 11: aging ---------------------------------------------------------- */

static unsigned faults;

static int aged_start(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	mirror_zap(range->start, range->end);
	return 0;
}

/* v1 tables have no accessed bits here: was it there?  Then it goes, so that the
 * next use is a fault. */
static bool aged(struct mmu_notifier *mn, struct mm *of, va_t start, va_t end)
{
	enum prot prot;
	pa_t pa;

	if (!domain_lookup(mirror.domain, start, &pa, &prot))
		return false;
	mirror_zap(start, end);
	return true;
}

static const struct mmu_notifier_ops deaf_ops = {
	.invalidate_range_start = aged_start,
};
static const struct mmu_notifier_ops aged_ops = {
	.invalidate_range_start = aged_start,
	.clear_flush_young = aged,
};

/* The device reads, and faults in what it misses. */
static void device_uses(struct iommu_fixture *s, va_t va)
{
	while (fixture_read(s, 0, va) == BLOCKED) {
		says(va == A ? "page request A" : "page request B");
		faults++;
		install(va, look(va));
	}
}

/* Takes the first page that looks idle; its number. */
static unsigned reclaim_one(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct page *p = page_at(mm, P(i));
		bool idle = p && !page_referenced(p);

		if (idle) {
			says(i ? "B is idle: evicted" : "A is idle: evicted");
			EXPECT_EQ(try_to_unmap(p), 0);
		}
		if (p)
			page_put(p);
		if (idle)
			return i;
	}
	return 2;
}

/* Only the device uses A, and nothing uses B.  Returns which page is evicted. */
static unsigned aged_by(struct iommu_fixture *s,
			const struct mmu_notifier_ops *ops)
{
	unsigned taken;

	mirror_begin(s);
	mirror.mn.ops = ops;
	REQUIRE(!mmu_notifier_register(&mirror.mn, mm));
	explain_begin();
	device_uses(s, A);
	device_uses(s, B);
	EXPECT_EQ(reclaim_one(), 2); /* all is young; no more */
	device_uses(s, A);
	faults = 0;
	taken = reclaim_one();
	device_uses(s, A);
	mmu_notifier_unregister(&mirror.mn);
	mirror_end(s);
	return taken;
}

IOMMU_TEST(race, device_use_is_not_seen,
	   "without clear_flush_young() a page that only a device uses looks "
	   "idle, and is evicted before an idle one")
{
	EXPECT_EQ(aged_by(s, &deaf_ops), 0);
}

IOMMU_TEST(race, device_use_is_young,
	   "with clear_flush_young() a page that only a device uses is young, "
	   "and the idle one is evicted")
{
	EXPECT_EQ(aged_by(s, &aged_ops), 1);
	EXPECT_EQ(faults, 1); /* the price of no accessed bits */
}
