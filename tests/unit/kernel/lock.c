/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the sleeping lock, one encounter at a time
 *
 * tests/unit/kernel/thread.c lets many threads collide and counts.  Here each
 * thread waits until the other one is in the required place, so that a single
 * wrong entry is always seen.
 */
#include "kernel/thread.h"
#include "tests/base/test.h"

static struct {
	struct rwsem sem;
	uint64_t a, b; /* equal unless a writer is inside */
	_Atomic unsigned inside, wrong;
} shared;

static void begin(void)
{
	rw_init(&shared.sem, RANK_TEST, "shared");
	shared.a = shared.b = 0;
	atomic_store(&shared.inside, 0);
	atomic_store(&shared.wrong, 0);
}

/* Wait until t waits for the lock, or has ended because it did not have to. */
static void until_it_waits(struct thread *t)
{
	while (READ_ONCE(t->state) == THREAD_READY)
		yield();
}

static void read_pair(void *arg)
{
	(void)arg;
	rw_read_lock(&shared.sem);
	if (READ_ONCE(shared.a) != READ_ONCE(shared.b))
		atomic_fetch_add(&shared.wrong, 1);
	rw_read_unlock(&shared.sem);
}

TEST(lock, reader_waits_for_the_writer,
     "a reader that arrives during a write waits until the write ends")
{
	struct thread *t;

	begin();
	rw_write_lock(&shared.sem);
	WRITE_ONCE(shared.a, 1);
	t = thread_create("reader", read_pair, NULL);
	REQUIRE(t);
	until_it_waits(t);
	WRITE_ONCE(shared.b, 1);
	rw_write_unlock(&shared.sem);
	thread_join(t);
	EXPECT_EQ(atomic_load(&shared.wrong), 0);
	EXPECT_EQ(atomic_load(&shared.sem.state), 0);
}

/* Each stays inside long enough for a second thread inside to be seen. */
static void write_alone(void *arg)
{
	(void)arg;
	rw_write_lock(&shared.sem);
	if (atomic_fetch_add(&shared.inside, 1))
		atomic_fetch_add(&shared.wrong, 1);
	for (unsigned i = 0; i < 10; i++)
		yield();
	atomic_fetch_sub(&shared.inside, 1);
	rw_write_unlock(&shared.sem);
}

TEST(lock, one_writer_at_a_time,
     "writers that wait for a reader enter after it, one at a time")
{
	struct thread *t[3];

	begin();
	rw_read_lock(&shared.sem);
	atomic_fetch_add(&shared.inside, 1);
	for (unsigned i = 0; i < 3; i++) {
		t[i] = thread_create("writer", write_alone, NULL);
		REQUIRE(t[i]);
		until_it_waits(t[i]);
	}
	atomic_fetch_sub(&shared.inside, 1);
	rw_read_unlock(&shared.sem);
	for (unsigned i = 0; i < 3; i++)
		thread_join(t[i]);
	EXPECT_EQ(atomic_load(&shared.wrong), 0);
	EXPECT_EQ(atomic_load(&shared.sem.state), 0);
}

static void write_a(void *arg)
{
	(void)arg;
	rw_write_lock(&shared.sem);
	WRITE_ONCE(shared.a, 1);
	rw_write_unlock(&shared.sem);
}

static void read_a(void *arg)
{
	(void)arg;
	rw_read_lock(&shared.sem);
	if (!READ_ONCE(shared.a))
		atomic_fetch_add(&shared.wrong, 1);
	rw_read_unlock(&shared.sem);
}

TEST(lock, reader_queues_behind_a_writer,
     "a reader that arrives while a writer waits for a reader enters after "
     "the writer, also if it spins first")
{
	struct thread *t[2];

	begin();
	rw_read_lock(&shared.sem);
	for (unsigned i = 0; i < 2; i++) {
		t[i] = thread_create("queued", i ? read_a : write_a, NULL);
		REQUIRE(t[i]);
		until_it_waits(t[i]);
	}
	rw_read_unlock(&shared.sem);
	for (unsigned i = 0; i < 2; i++)
		thread_join(t[i]);
	EXPECT_EQ(atomic_load(&shared.wrong), 0);
	EXPECT_EQ(atomic_load(&shared.sem.state), 0);
}
