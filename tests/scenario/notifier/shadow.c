/* SPDX-License-Identifier: MIT */
/*
 * shadow.c - the protocol of mm/notifier/shadow.h with a table of eight entries
 *
 * What a table must be at each step is asked of fakes (tests/fake/fake_mmu.h)
 * and of mirrors (tests/scenario/sva/mirror.c); here is the rest of the contract.
 */
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/notifier/shadow.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

#define PAGES 8u

/* lock: the table's own; a sleeping one, unmap() takes it, map() does not. */
static struct client {
	struct shadow shadow;
	struct rwsem lock; /* RANK_TRANSFER */
	struct {
		pa_t pa;
		enum prot prot;
	} map[PAGES];
	int answer; /* of the next map()                                    */
	bool refuses;
	struct sync_point *unmapping; /* stops an unmap() that refuses      */
} c;

static int map(struct shadow *s, va_t va, pa_t pa, enum prot prot,
	       unsigned level)
{
	int answer = c.answer;

	c.answer = 0;
	if (answer)
		return answer;
	c.map[(va - VA) >> PAGE_SHIFT].pa = pa;
	c.map[(va - VA) >> PAGE_SHIFT].prot = prot;
	return 0;
}

static int unmap(struct shadow *s, va_t start, va_t end, bool may_sleep)
{
	if (!may_sleep && c.refuses) {
		if (c.unmapping)
			sync_point_enter(c.unmapping);
		return -EAGAIN;
	}
	if (may_sleep)
		rw_write_lock(&c.lock);
	for (unsigned i = 0; i < PAGES; i++)
		if (P(i) >= start && P(i) < end)
			c.map[i].prot = PROT_NONE;
	if (may_sleep)
		rw_write_unlock(&c.lock);
	return 0;
}

static bool lookup(struct shadow *s, va_t va)
{
	return c.map[(va - VA) >> PAGE_SHIFT].prot;
}

static const struct shadow_ops ops = {
	.map = map,
	.unmap = unmap,
	.lookup = lookup,
};

/* written(PAGES), and the client registered. */
static struct mm *begin(void)
{
	struct mm *mm = written(PAGES);

	c = (struct client){ 0 };
	rw_init(&c.lock, RANK_TRANSFER, "table");
	shadow_init(&c.shadow, &ops);
	REQUIRE(!mmu_notifier_register(&c.shadow.mn, mm));
	return mm;
}

static void end(struct mm *mm)
{
	EXPECT_EQ(c.shadow.active, 0);
	mmu_notifier_unregister(&c.shadow.mn);
	mm_put(mm);
}

static int fault_error;

static void fault_first(void *unused)
{
	fault_error = shadow_fault(&c.shadow, P(0), PROT_R);
}

static void reap(void *mm)
{
	EXPECT_EQ(mm_reap(mm), -EAGAIN);
}

static enum prot cpu_rights(struct mm *mm, va_t va)
{
	uint64_t e = entry_at(mm, va);

	return PROT_R | (e & PTE_W ? PROT_W : 0) | (e & PTE_NX ? 0 : PROT_X);
}

/* ---- faults ------------------------------------------------------------- */

TEST(shadow, fault_copies_frame_and_rights,
     "a fault maps the CPU's frame with the CPU's rights, before and after a "
     "fork (B32)")
{
	struct mm *mm = begin(), *child;

	EXPECT_EQ(shadow_fault(&c.shadow, P(1), PROT_W), 0);
	EXPECT_EQ(c.map[1].pa, pt_pa(entry_at(mm, P(1))));
	EXPECT_EQ(c.map[1].prot, cpu_rights(mm, P(1)));
	EXPECT(c.map[1].prot & PROT_W);
	child = fork_of(mm);
	EXPECT_EQ(c.map[1].prot, PROT_NONE);
	EXPECT_EQ(shadow_fault(&c.shadow, P(1) + 8, PROT_R), 0);
	EXPECT_EQ(c.map[1].prot, cpu_rights(mm, P(1)));
	EXPECT(!(c.map[1].prot & PROT_W));
	EXPECT_EQ(shadow_fault(&c.shadow, P(PAGES), PROT_R), -EFAULT);
	EXPECT_EQ(shadow_fault(&c.shadow, USER_END, PROT_R), -EFAULT);
	mm_put(child);
	end(mm);
}

TEST(shadow, map_decides_how_a_fault_ends,
     "an error of map() ends the fault, and -EAGAIN begins it anew")
{
	struct mm *mm = begin();

	c.answer = -ENOMEM;
	EXPECT_EQ(shadow_fault(&c.shadow, P(0), PROT_R), -ENOMEM);
	EXPECT(!lookup(&c.shadow, P(0)));
	EXPECT_EQ(c.shadow.retries, 0);
	c.answer = -EAGAIN;
	EXPECT_EQ(shadow_fault(&c.shadow, P(0), PROT_R), 0);
	EXPECT(lookup(&c.shadow, P(0)));
	EXPECT_EQ(c.shadow.faults, 3);
	EXPECT_EQ(c.shadow.retries, 1);
	end(mm);
}

/* ---- begin and retry ---------------------------------------------------- */

TEST(shadow, retry_sees_what_began_since,
     "retry is true after a whole invalidation, and while one of the range is "
     "open; one that is open elsewhere does not matter (C34, C35)")
{
	struct mm *mm = begin();
	struct shadow *s = &c.shadow;
	uint64_t seq = shadow_begin(s, P(0), P(4));
	struct mmu_notifier_range range;

	spin_lock(&s->lock);
	EXPECT(!shadow_retry(s, P(0), P(4), seq));
	spin_unlock(&s->lock);
	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 2, 6);
	spin_lock(&s->lock);
	EXPECT(shadow_retry(s, P(0), P(3), seq));
	EXPECT(shadow_retry(s, P(5), P(8), seq));
	EXPECT(!shadow_retry(s, P(0), P(2), seq));
	EXPECT(!shadow_retry(s, P(6), P(8), seq));
	spin_unlock(&s->lock);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	spin_lock(&s->lock);
	EXPECT(shadow_retry(s, P(0), P(4), seq));
	seq = s->seq;
	EXPECT(!shadow_retry(s, P(0), P(4), seq));
	spin_unlock(&s->lock);
	end(mm);
}

/* Copies pages 0 to 3 under the table's own lock, which it keeps over retry and
 * map; `copied` stops it there. */
static struct {
	struct mm *mm;
	struct sync_point copied;
	bool retry;
} copier;

static void copy_four(void *unused)
{
	struct shadow *s = &c.shadow;
	uint64_t seq = shadow_begin(s, P(0), P(4));

	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(mm_fault(copier.mm, P(i), PROT_R), 0);
	rw_write_lock(&c.lock);
	spin_lock(&s->lock);
	copier.retry = shadow_retry(s, P(0), P(4), seq);
	spin_unlock(&s->lock);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(map(s, P(i), pt_pa(entry_at(copier.mm, P(i))), PROT_R,
			      0),
			  0);
	sync_point_enter(&copier.copied);
	rw_write_unlock(&c.lock);
}

TEST(shadow, own_lock_holds_off_the_unmap,
     "a client that keeps a sleeping lock of its own from retry to map is "
     "safe: "
     "an invalidation that begins between them waits for the lock and removes "
     "the copies")
{
	struct mm *mm = begin();
	struct task copy, changer;

	copier.mm = mm;
	sync_point_set(&copier.copied, NULL, NULL);
	spawn(&copy, copy_four, NULL);
	sync_point_await(&copier.copied);
	EXPECT(!copier.retry);
	spawn(&changer, discard_first, mm);
	EXPECT(still_waits(&changer));
	EXPECT(entry_at(mm, P(0)) & PTE_P);
	sync_point_release(&copier.copied);
	join(&copy);
	join(&changer);
	EXPECT(!lookup(&c.shadow, P(0)));
	EXPECT(lookup(&c.shadow, P(1)));
	end(mm);
}

TEST(shadow, count_rises_before_the_unmap,
     "when a start has counted and not yet unmapped, a fault that has looked "
     "maps nothing: the unmap could have passed its page")
{
	struct mm *mm = begin();
	struct task changer, fault;
	struct sync_point look, started;

	sync_point_set(&look, "shadow_looked", &c.shadow);
	spawn(&fault, fault_first, NULL);
	sync_point_await(&look);
	sync_point_set(&started, "shadow_started", &c.shadow);
	spawn(&changer, discard_first, mm);
	sync_point_await(&started);
	sync_point_release(&look);
	EXPECT(still_waits(&fault));
	EXPECT(!lookup(&c.shadow, P(0)));
	sync_point_release(&started);
	join(&changer);
	join(&fault);
	EXPECT_EQ(fault_error, 0);
	EXPECT_EQ(c.map[0].pa, pt_pa(entry_at(mm, P(0))));
	end(mm);
}

/* ---- refusals ----------------------------------------------------------- */

TEST(shadow, refused_start_closes_what_it_opened,
     "a start that refuses leaves no invalidation open, keeps its entries, and "
     "wakes the fault that waited for it (B23)")
{
	struct mm *mm = begin();
	struct sync_point unmapping;
	struct task reaper, fault;

	EXPECT_EQ(shadow_fault(&c.shadow, P(0), PROT_R), 0);
	c.refuses = true;
	c.unmapping = &unmapping;
	sync_point_set(&unmapping, NULL, NULL);
	spawn(&reaper, reap, mm);
	sync_point_await(&unmapping);
	EXPECT_EQ(c.shadow.active, 1);
	spawn(&fault, fault_first, NULL);
	EXPECT(still_waits(&fault));
	sync_point_release(&unmapping);
	join(&reaper);
	join(&fault); /* or the test hangs */
	EXPECT_EQ(fault_error, 0);
	EXPECT_EQ(c.shadow.active, 0);
	EXPECT(lookup(&c.shadow, P(0)));
	EXPECT(entry_at(mm, P(0)) & PTE_P);
	c.refuses = false;
	end(mm);
}

TEST(shadow, aging_accepts_a_refusal,
     "a table that cannot be emptied under pt_lock keeps its entry, and its "
     "page stays young")
{
	struct mm *mm = begin();
	struct page *page = page_at(mm, P(0));

	EXPECT_EQ(shadow_fault(&c.shadow, P(0), PROT_R), 0);
	c.refuses = true;
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT(lookup(&c.shadow, P(0)));
	c.refuses = false;
	EXPECT_EQ(page_referenced(page), 1);
	EXPECT_EQ(page_referenced(page), 0);
	EXPECT(!lookup(&c.shadow, P(0)));
	page_put(page);
	end(mm);
}

/* ---- the end ------------------------------------------------------------ */

TEST(shadow, release_empties_the_table,
     "without a release() of the client's the exit of the mm unmaps "
     "everything, "
     "and later faults fail")
{
	struct mm *mm = begin();

	for (unsigned i = 0; i < PAGES; i++)
		EXPECT_EQ(shadow_fault(&c.shadow, P(i), PROT_R), 0);
	mm_put(mm);
	for (unsigned i = 0; i < PAGES; i++)
		EXPECT(!lookup(&c.shadow, P(i)));
	EXPECT_EQ(shadow_fault(&c.shadow, P(0), PROT_R), -EFAULT);
	mmu_notifier_unregister(&c.shadow.mn);
}

TEST(shadow, no_map_after_release,
     "a fault that has looked when the client unregisters maps nothing")
{
	struct mm *mm = begin();
	struct sync_point look;
	struct task fault;

	sync_point_set(&look, "shadow_looked", &c.shadow);
	spawn(&fault, fault_first, NULL);
	sync_point_await(&look);
	mmu_notifier_unregister(&c.shadow.mn);
	sync_point_release(&look);
	join(&fault);
	EXPECT_EQ(fault_error, -EFAULT);
	EXPECT(!lookup(&c.shadow, P(0)));
	mm_put(mm);
}

static void leave(void *unused)
{
	mmu_notifier_unregister(&c.shadow.mn);
}

TEST(shadow, unregister_ends_every_wait,
     "a fault that waits for an invalidation does not wait for ever when the "
     "client unregisters: the end of that invalidation will not be heard")
{
	struct mm *mm = begin();
	struct mmu_notifier_range range;
	struct task fault, leaver;

	rw_read_lock(&mm->lock);
	invalidation_begin(&range, mm, 0, 1);
	spawn(&fault, fault_first, NULL);
	EXPECT(still_waits(&fault));
	spawn(&leaver, leave, NULL);
	join(&leaver);
	join(&fault); /* or the test hangs */
	EXPECT_EQ(fault_error, -EFAULT);
	mmu_notifier_invalidate_range_end(&range);
	rw_read_unlock(&mm->lock);
	mm_put(mm);
}
