/* SPDX-License-Identifier: MIT */
/*
 * sync.c - SRCU, and the locks that do not wait
 */
#include "kernel/panic.h"
#include "kernel/srcu.h"
#include "tests/base/test.h"

/* ---- locks that do not wait -------------------------------------------- */

static struct spinlock spin = SPINLOCK_INIT(RANK_PT, "tried");
static struct rwsem sem;

struct tries {
	bool spin, read, write;
};

static void try_all(void *arg)
{
	struct tries *got = arg;

	got->spin = spin_trylock(&spin);
	if (got->spin)
		spin_unlock(&spin);
	got->write = rw_write_trylock(&sem);
	if (got->write)
		rw_write_unlock(&sem);
	got->read = rw_read_trylock(&sem);
	if (got->read)
		rw_read_unlock(&sem);
}

static struct tries tried_by_another(void)
{
	struct tries got = { false, false, false };
	struct thread *t = thread_create("tries", try_all, &got);

	REQUIRE(t);
	thread_join(t);
	return got;
}

TEST(lock, try_takes_only_what_is_free,
     "a trylock fails where a lock would wait")
{
	struct tries got;

	rw_init(&sem, RANK_MM, "tried");
	got = tried_by_another();
	EXPECT(got.spin && got.read && got.write);

	rw_read_lock(&sem);
	got = tried_by_another();
	EXPECT(got.spin && got.read && !got.write);
	rw_read_unlock(&sem);

	rw_write_lock(&sem);
	got = tried_by_another();
	EXPECT(!got.read && !got.write);
	rw_write_unlock(&sem);
}

static void try_held(void *arg)
{
	*(bool *)arg = spin_trylock(&spin);
}

TEST(lock, try_leaves_the_record_true,
     "a lock taken by trylock is recorded as held")
{
	bool twice = true;

	EXPECT(spin_trylock(&spin));
	EXPECT(spin_held(&spin));
	try_held(&twice);
	EXPECT(!twice);
	spin_unlock(&spin);
	EXPECT(spin_trylock(&spin));
	spin_unlock(&spin);
}

/* ---- SRCU -------------------------------------------------------------- */

static struct srcu srcu;

static struct {
	struct waitq q;
	_Atomic bool inside, go, gone, synced;
} stage;

static void stage_reset(void)
{
	srcu_init(&srcu, RANK_TEST, "srcu");
	waitq_init(&stage.q);
	atomic_store(&stage.inside, false);
	atomic_store(&stage.go, false);
	atomic_store(&stage.gone, false);
	atomic_store(&stage.synced, false);
}

static void raise(_Atomic bool *flag)
{
	atomic_store(flag, true);
	wake_all(&stage.q);
}

static void await(_Atomic bool *flag)
{
	wait_event(&stage.q, atomic_load(flag));
}

static void sleeping_reader(void *arg)
{
	unsigned side = srcu_read_lock(&srcu);

	raise(&stage.inside);
	await(&stage.go);
	atomic_store(&stage.gone, true);
	srcu_read_unlock(&srcu, side);
}

static void synchroniser(void *arg)
{
	synchronize_srcu(&srcu);
	*(bool *)arg = atomic_load(&stage.gone);
	raise(&stage.synced);
}

TEST(srcu, waits_for_a_sleeping_reader,
     "a grace period waits for the readers that it found and for no others")
{
	bool after = false;
	struct thread *reader, *sync;
	unsigned late;

	stage_reset();
	reader = thread_create("reader", sleeping_reader, NULL);
	REQUIRE(reader);
	await(&stage.inside);
	sync = thread_create("sync", synchroniser, &after);
	REQUIRE(sync);
	while (!atomic_load(&srcu.side)) /* it has flipped, and waits */
		yield();
	late = srcu_read_lock(&srcu);
	EXPECT(!atomic_load(&stage.synced));

	raise(&stage.go);
	await(&stage.synced);

	EXPECT(after);
	srcu_read_unlock(&srcu, late);
	thread_join(reader);
	thread_join(sync);
}

/* A reader has read `side` before a flip, and counts itself after it. */
TEST(srcu, waits_for_a_reader_counted_late,
     "a grace period waits for a reader on the old side before it reuses that "
     "side")
{
	bool after = false;
	struct thread *sync;

	stage_reset();
	synchronize_srcu(&srcu);
	EXPECT_EQ(atomic_load(&srcu.side), 1);
	atomic_fetch_add(&srcu.cpu[0].entered[0], 1);
	sync = thread_create("sync", synchroniser, &after);
	REQUIRE(sync);
	while (!atomic_load(&srcu.waiting) && !atomic_load(&stage.synced))
		yield();
	for (unsigned i = 0; i < 100; i++)
		yield(); /* enough time for a thread that does not wait */

	atomic_store(&stage.gone, true);
	srcu_read_unlock(&srcu, 0);
	await(&stage.synced);

	EXPECT(after);
	thread_join(sync);
}

TEST(srcu, empty_is_quick, "without readers a grace period does not sleep")
{
	stage_reset();
	for (unsigned i = 0; i < 10; i++) {
		unsigned side = srcu_read_lock(&srcu);

		srcu_read_unlock(&srcu, side);
		synchronize_srcu(&srcu);
		EXPECT_EQ(atomic_load(&srcu.side), (i + 1) & 1);
	}
}

#define GENERATIONS 300 /* or more, until there were so many reads */
#define READS       (GENERATIONS / 4)
#define LIVE        0x1111
#define DEAD        0xdead

/* Slots represent freed memory: a reader that reads DEAD was not waited for. */
static struct {
	uint64_t slot[2];
	_Atomic uint32_t current;
	_Atomic uint64_t seen_dead, reads;
	_Atomic bool done;
} rcu;

static void rcu_reader(void *arg)
{
	while (!atomic_load(&rcu.done)) {
		unsigned side = srcu_read_lock(&srcu);
		uint32_t i = atomic_load(&rcu.current);

		yield(); /* sleeps, and moves to another CPU perhaps */
		if (READ_ONCE(rcu.slot[i]) != LIVE)
			atomic_fetch_add(&rcu.seen_dead, 1);
		atomic_fetch_add(&rcu.reads, 1);
		srcu_read_unlock(&srcu, side);
	}
}

TEST(srcu, no_reader_sees_freed_memory,
     "readers on all CPUs never see what was freed after a grace period")
{
	struct thread *t[3];

	stage_reset();
	atomic_store(&rcu.done, false);
	atomic_store(&rcu.seen_dead, 0);
	atomic_store(&rcu.reads, 0);
	atomic_store(&rcu.current, 0);
	rcu.slot[0] = LIVE;
	for (unsigned i = 0; i < 3; i++) {
		t[i] = thread_create("reader", rcu_reader, NULL);
		REQUIRE(t[i]);
	}
	for (unsigned n = 0; n < GENERATIONS || atomic_load(&rcu.reads) < READS;
	     n++) {
		uint32_t old = atomic_load(&rcu.current);

		WRITE_ONCE(rcu.slot[!old], LIVE);
		atomic_store(&rcu.current, !old);
		synchronize_srcu(&srcu);
		WRITE_ONCE(rcu.slot[old], DEAD);
		yield();
	}
	atomic_store(&rcu.done, true);
	for (unsigned i = 0; i < 3; i++)
		thread_join(t[i]);
	EXPECT_EQ(atomic_load(&rcu.seen_dead), 0);
}

/* ---- call_srcu --------------------------------------------------------- */

struct called {
	struct srcu_head head;
	unsigned number;
};

static unsigned calls[4], n_calls;

static void note_call(struct srcu_head *head)
{
	struct called *c = container_of(head, struct called, head);

	if (n_calls < ARRAY_SIZE(calls))
		calls[n_calls] = c->number;
	n_calls++;
}

static void serve_twice(void *arg)
{
	srcu_serve(&srcu);
	srcu_serve(&srcu);
}

TEST(srcu, callback_runs_after_the_readers,
     "callbacks queued by a reader run after it left, in the order of the "
     "calls")
{
	struct called c[3] = { { .number = 1 },
			       { .number = 2 },
			       { .number = 3 } };
	struct thread *t;
	unsigned side;

	stage_reset();
	n_calls = 0;
	side = srcu_read_lock(&srcu);
	for (unsigned i = 0; i < 3; i++)
		call_srcu(&srcu, &c[i].head, note_call);
	t = thread_create("worker", serve_twice, NULL);
	REQUIRE(t);
	while (!atomic_load(&srcu.waiting))
		yield();
	for (unsigned i = 0; i < 100; i++)
		yield(); /* enough time for a thread that does not wait */
	EXPECT_EQ(READ_ONCE(n_calls), 0);

	srcu_read_unlock(&srcu, side);
	while (READ_ONCE(n_calls) < 3) /* or the barrier joins this round */
		yield();
	srcu_barrier(&srcu);

	EXPECT_EQ(n_calls, 3);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(calls[i], i + 1);
	thread_join(t);
}
