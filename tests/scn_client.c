/* SPDX-License-Identifier: MIT */
/*
 * scn_client.c - mistakes that clients of the chain have made
 *
 *   cache   keeps one page's frame for a long time (KVM's pfncache)
 *   guest   a table, and a TLB behind it that is flushed one step later (KVM)
 *   holder  keeps references instead of listening to release (KVM before it
 *           had one)
 *
 * Each is here in the version that is right, and guest and holder also in the
 * one that was wrong, which is seen to do harm.
 */
#include "kernel/err.h"
#include "kernel/probe.h"
#include "kernel/waitq.h"
#include "tests/cast.h"
#include "tests/gate.h"

/* ---- cache -------------------------------------------------------------- */

/* Key: (L) lock */
static struct cache {
	struct mmu_notifier mn;
	struct spinlock lock; /* RANK_DOMAIN                              */
	va_t va;              /* (L) of the page that it keeps            */
	struct page *page;    /* (L) no reference; NULL: not valid        */
	unsigned active;      /* (L) windows open over va                 */
	uint64_t seq;         /* (L) such windows closed                  */
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
		c.active++;
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
		c.active--;
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

/* Look the page up and keep it.  -EAGAIN: it is changing, or has changed. */
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

/* Use it if it is valid; the lock keeps it so meanwhile. */
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

/* Another address, as when a guest's memory is laid out anew.  Windows are
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

TEST(client, cache_is_good_until_it_is_told,
     "a frame that was looked up long ago is used without a look while nothing "
     "changes, and not once more after that (C48)")
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

TEST(client, cache_is_not_refreshed_inside_a_window,
     "what is looked up while a window is open is not kept, and what was "
     "looked "
     "up before it neither (C48, H20)")
{
	struct mm *mm = written(1);
	struct task changer, refresh;
	struct gate window, look;
	uint64_t v;
	int ret;

	cache_open(mm);
	gate_close(&window, "range_started", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&window); /* the page is still mapped */
	EXPECT_EQ(cache_refresh(), -EAGAIN);
	EXPECT(!cache_use(&v));
	gate_open(&window);
	join(&changer);

	wr(mm, P(0), 7);
	gate_close(&look, "cache_looked", &c);
	spawn(&refresh, refresh_once, &ret);
	gate_await(&look);
	change(mm, 0, 1); /* from beginning to end */
	gate_open(&look);
	join(&refresh);
	EXPECT_EQ(ret, -EAGAIN);
	EXPECT(!cache_use(&v));
	cache_close();
	mm_put(mm);
}

TEST(client, cache_moves_between_windows,
     "who counts windows by address changes his address while none is open: "
     "each that was counted is counted down (H20)")
{
	struct mm *mm = written(2);
	struct task changer, move;
	struct gate window;

	cache_open(mm);
	gate_close(&window, "range_started", mm);
	spawn(&changer, discard_first, mm);
	gate_await(&window);
	spawn(&move, cache_move, (void *)P(1));
	EXPECT(still_waits(&move));
	EXPECT_EQ(c.va, P(0));
	gate_open(&window);
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
	flush = guest.table != NULL; /* else nobody can have it cached */
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
 * One thread that takes the page stands between the guest's table and its TLB;
 * a second one finds the table empty, and frees.  Is the page, ours by then,
 * still written to by the guest?
 */
static uint64_t second_one_frees(bool late)
{
	struct mm *mm = written(1);
	struct page *page = page_at(mm, P(0));
	struct task first;
	struct gate g;
	uint64_t v;

	guest = (struct guest){ .mn.ops = &guest_ops, .late = late };
	spin_init(&guest.lock, RANK_DOMAIN, "guest");
	REQUIRE(mmu_notifier_register(&guest.mn, mm) == 0);
	guest.table = guest.tlb = page;
	gate_close(&g, "guest_unlocked", &guest);
	spawn(&first, discard_first, mm);
	gate_await(&g);
	change(mm, 0, 1);
	EXPECT_EQ(page_maps(page), 0);
	*(uint64_t *)page_va(page) = 'C';
	spin_lock(&guest.lock);
	if (guest.tlb)
		*(uint64_t *)page_va(guest.tlb) = 'X';
	spin_unlock(&guest.lock);
	gate_open(&g);
	join(&first);
	v = *(uint64_t *)page_va(page);
	page_put(page);
	mmu_notifier_unregister(&guest.mn);
	mm_put(mm);
	return v;
}

TEST(client, late_flush_lets_the_second_one_free,
     "a client that drops its lock before it flushes lets a second change "
     "free the page under its TLB (H11)")
{
	EXPECT_EQ(second_one_frees(true), 'X');
}

TEST(client, flush_under_the_lock_holds_for_both,
     "a client that flushes before it drops its lock holds for whoever finds "
     "its table empty (H11)")
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

/* References on the page of an object when its mm has gone, and it too. */
static unsigned left_by(const struct mmu_notifier_ops *ops)
{
	struct object *file = object_create(1);
	struct page *page;
	struct mm *mm;
	unsigned left;

	REQUIRE(file);
	mm = world_shared(file, 1);
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

TEST(client, without_release_references_stay,
     "exit opens no window: a client that holds pages and hears no release "
     "keeps them when mm and file are gone (H12)")
{
	EXPECT_EQ(left_by(&deaf_ops), 1);
}

TEST(client, release_leaves_no_reference,
     "a client that drops all in release lets the file's pages go with it "
     "(H12, C49)")
{
	EXPECT_EQ(left_by(&holder_ops), 0);
}
