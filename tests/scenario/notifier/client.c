/* SPDX-License-Identifier: MIT */
/*
 * client.c - mistakes that clients of the chain have made
 *
 *   cache   keeps one page's frame for a long time (KVM's pfncache)
 *   guest   a table, and a TLB of it that is flushed one step later (KVM)
 *   holder  keeps references instead of using release (KVM before it had one)
 *
 * Each is tested in its right version; guest and holder also in the wrong one,
 * whose harm the test sees.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/sync_point.h"

/* ---- cache -------------------------------------------------------------- */

/* Key: (L) lock */
static struct cache {
	struct mmu_notifier mn;
	struct spinlock lock; /* RANK_DOMAIN                              */
	va_t va;              /* (L) of the page that it keeps            */
	struct page *page;    /* (L) no reference; NULL: not valid        */
	unsigned active;      /* (L) open invalidations of va             */
	uint64_t seq;         /* (L) ended invalidations of va            */
	struct waitq idle;
} c;

static bool meets(const struct mmu_notifier_range *range)
{
	return c.va >= range->start && c.va < range->end;
}

static int cache_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	spin_lock(&c.lock);
	if (meets(range)) {
		WRITE_ONCE(c.active, c.active + 1);
		c.page = NULL;
	}
	spin_unlock(&c.lock);
	return 0;
}

static void cache_end(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	spin_lock(&c.lock);
	if (meets(range)) {
		EXPECT(c.active > 0);
		WRITE_ONCE(c.active, c.active - 1);
		c.seq++;
	}
	spin_unlock(&c.lock);
	wake_all(&c.idle);
}

static const struct mmu_notifier_ops cache_ops = {
	.invalidate_range_start = cache_start,
	.invalidate_range_end = cache_end,
};

static void cache_open(struct mm *mm)
{
	c = (struct cache){ .mn.ops = &cache_ops, .va = P(0) };
	spin_init(&c.lock, RANK_DOMAIN, "cache");
	waitq_init(&c.idle);
	REQUIRE(mmu_notifier_register(&c.mn, mm) == 0);
}

static void cache_close(void)
{
	EXPECT_EQ(c.active, 0);
	mmu_notifier_unregister(&c.mn);
}

/* Look the page up and keep it.  -EAGAIN: it is or was invalidated. */
static int cache_refresh(void)
{
	uint64_t seq = __atomic_load_n(&c.seq, __ATOMIC_ACQUIRE);
	struct mm *mm = c.mn.mm;
	struct page *page;
	int ret = mm_fault(mm, c.va, PROT_R);

	if (ret)
		return ret;
	page = page_at(mm, c.va);
	if (!page)
		return -EAGAIN;
	PROBE(cache_looked, &c, c.va);
	spin_lock(&c.lock);
	if (c.active || c.seq != seq)
		ret = -EAGAIN;
	else
		c.page = page;
	spin_unlock(&c.lock);
	page_put(page);
	return ret;
}

static void refresh_once(void *ret)
{
	*(int *)ret = cache_refresh();
}

/* Read by the cached frame if it is valid; the lock keeps it valid. */
static bool cache_use(uint64_t *v)
{
	bool valid;

	spin_lock(&c.lock);
	valid = c.page != NULL;
	if (valid)
		*v = *(uint64_t *)page_va(c.page);
	spin_unlock(&c.lock);
	return valid;
}

/* Change the address, as when a guest's memory is remapped.  Invalidations are
 * counted by address: none may be open that was counted by the old one. */
static void cache_move(void *va)
{
	for (;;) {
		bool done;

		wait_event(&c.idle, !READ_ONCE(c.active));
		PROBE(cache_idle, &c, va);
		spin_lock(&c.lock);
		done = !c.active;
		if (done) {
			c.va = (va_t)va;
			c.page = NULL;
		}
		spin_unlock(&c.lock);
		if (done)
			return;
	}
}

TEST(client, cache_is_valid_until_invalidated,
     "a cached frame is used without a lookup as long as no invalidation "
     "covers it, and never after one (C48)")
{
	struct mm *mm = written(2);
	uint64_t v = 0;

	cache_open(mm);
	EXPECT(!cache_use(&v));
	EXPECT_EQ(cache_refresh(), 0);
	for (unsigned i = 0; i < 8; i++) {
		wr(mm, P(0), i);
		change(mm, 1, 2); /* the neighbour */
		EXPECT(cache_use(&v) && v == i);
	}
	mm_put(fork_of(mm));
	EXPECT(!cache_use(&v));
	EXPECT_EQ(cache_refresh(), 0);
	change(mm, 0, 1);
	EXPECT(!cache_use(&v));
	EXPECT_EQ(cache_refresh(), 0);
	EXPECT(cache_use(&v) && v == 0);
	cache_close();
	mm_put(mm);
}

TEST(client, cache_is_not_refreshed_inside_an_invalidation,
     "a lookup during an invalidation, or one that an invalidation overtakes, "
     "is not kept (C48, H20)")
{
	struct mm *mm = written(1);
	struct task changer, refresh;
	struct sync_point started, look;
	uint64_t v;
	int ret;

	cache_open(mm);
	sync_point_set(&started, "range_started", mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&started); /* the page is still mapped */
	EXPECT_EQ(cache_refresh(), -EAGAIN);
	EXPECT(!cache_use(&v));
	sync_point_release(&started);
	join(&changer);

	wr(mm, P(0), 7);
	sync_point_set(&look, "cache_looked", &c);
	spawn(&refresh, refresh_once, &ret);
	sync_point_await(&look);
	change(mm, 0, 1); /* from beginning to end */
	sync_point_release(&look);
	join(&refresh);
	EXPECT_EQ(ret, -EAGAIN);
	EXPECT(!cache_use(&v));
	cache_close();
	mm_put(mm);
}

TEST(client, cache_moves_between_invalidations,
     "a client that counts invalidations by address changes its address only "
     "while none is open, so that the count returns to zero (H20)")
{
	struct mm *mm = written(2);
	struct task changer, move;
	struct sync_point started;

	cache_open(mm);
	sync_point_set(&started, "range_started", mm);
	spawn(&changer, discard_first, mm);
	sync_point_await(&started);
	spawn(&move, cache_move, (void *)P(1));
	EXPECT(still_waits(&move));
	EXPECT_EQ(c.va, P(0));
	sync_point_release(&started);
	join(&changer);
	join(&move);
	EXPECT_EQ(c.va, P(1));
	change(mm, 1, 2);
	cache_close();
	mm_put(mm);
}

/* ---- guest -------------------------------------------------------------- */

static struct guest {
	struct mmu_notifier mn;
	struct spinlock lock;     /* RANK_DOMAIN                          */
	struct page *table, *tlb; /* of P(0)                              */
	bool late;                /* drops the lock before the flush      */
} guest;

static void guest_flush(void)
{
	spin_lock(&guest.lock);
	guest.tlb = NULL;
	spin_unlock(&guest.lock);
}

static int guest_start(struct mmu_notifier *mn,
		       const struct mmu_notifier_range *range)
{
	bool flush;

	spin_lock(&guest.lock);
	flush = guest.table != NULL; /* else the TLB cannot have it */
	guest.table = NULL;
	if (flush && !guest.late)
		guest.tlb = NULL;
	spin_unlock(&guest.lock);
	PROBE(guest_unlocked, &guest, range->start);
	if (flush && guest.late)
		guest_flush();
	return 0;
}

static const struct mmu_notifier_ops guest_ops = {
	.invalidate_range_start = guest_start,
};

/*
 * Stop a first change after it has cleared the guest's table; let a second one
 * find the table empty, and free the page.  Returns what the page's next owner
 * reads after the guest has written by its TLB.
 */
static uint64_t second_one_frees(bool late)
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, P(0));
	struct task first;
	struct sync_point g;
	uint64_t v;

	guest = (struct guest){ .mn.ops = &guest_ops, .late = late };
	spin_init(&guest.lock, RANK_DOMAIN, "guest");
	REQUIRE(mmu_notifier_register(&guest.mn, mm) == 0);
	guest.table = guest.tlb = page;
	sync_point_set(&g, "guest_unlocked", &guest);
	spawn(&first, discard_first, mm);
	sync_point_await(&g);
	change(mm, 0, 1);
	EXPECT_EQ(page_maps(page), 0);
	*(uint64_t *)page_va(page) = 'C';
	spin_lock(&guest.lock);
	if (guest.tlb)
		*(uint64_t *)page_va(guest.tlb) = 'X';
	spin_unlock(&guest.lock);
	sync_point_release(&g);
	join(&first);
	v = *(uint64_t *)page_va(page);
	page_put(page);
	mmu_notifier_unregister(&guest.mn);
	mm_put(mm);
	return v;
}

TEST(client, late_flush_lets_a_second_change_free,
     "a client that drops its lock before it flushes lets a second change free "
     "the page that its TLB still maps (H11)")
{
	EXPECT_EQ(second_one_frees(true), 'X');
}

TEST(client, flush_under_the_lock_covers_both_changes,
     "a client that flushes before it drops its lock has flushed when a second "
     "change finds its table empty (H11)")
{
	EXPECT_EQ(second_one_frees(false), 'C');
}

/* ---- holder ------------------------------------------------------------- */

static struct holder {
	struct mmu_notifier mn;
	struct page *_Atomic page; /* with a reference                    */
} holder;

static void holder_drop(void)
{
	struct page *page = atomic_exchange(&holder.page, NULL);

	if (page)
		page_put(page);
}

static int holder_start(struct mmu_notifier *mn,
			const struct mmu_notifier_range *range)
{
	holder_drop();
	return 0;
}

static void holder_release(struct mmu_notifier *mn, struct mm *mm)
{
	holder_drop();
}

static const struct mmu_notifier_ops holder_ops = {
	.invalidate_range_start = holder_start,
	.release = holder_release,
};

static const struct mmu_notifier_ops deaf_ops = {
	.invalidate_range_start = holder_start,
};

/* Return the references on a page when its object and mm are gone. */
static unsigned left_by(const struct mmu_notifier_ops *ops)
{
	struct object *file = object_create(1);
	struct page *page;
	struct mm *mm;
	unsigned left;

	REQUIRE(file);
	mm = mm_fixture_shared(file, 1);
	EXPECT_EQ(wr(mm, P(0), 7), 0);
	page = page_at(mm, P(0)); /* the client's reference from now on */
	holder = (struct holder){ .mn.ops = ops, .page = page };
	REQUIRE(mmu_notifier_register(&holder.mn, mm) == 0);
	mm_put(mm);
	object_put(file);
	left = page_refs(page);
	mmu_notifier_unregister(&holder.mn);
	holder_drop();
	return left;
}

TEST(client, references_stay_without_release,
     "a client that holds pages and has no release callback keeps them after "
     "the mm and the file are gone, because exit makes no invalidation (H12)")
{
	EXPECT_EQ(left_by(&deaf_ops), 1);
}

TEST(client, release_leaves_no_reference,
     "a client that drops its references in release lets the file's pages be "
     "freed (H12, C49)")
{
	EXPECT_EQ(left_by(&holder_ops), 0);
}
