/* SPDX-License-Identifier: MIT */
/*
 * self.c - the explorer runs every order once, and finds what is known to be there
 */
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "kernel/waitq.h"
#include "tests/explore/explore.h"

static struct {
	char order[16];
	unsigned n;
	unsigned counter;
	bool flag;
	struct spinlock lock;
	struct rwsem sem;
	struct waitq queue;
} shared;

static void setup(const struct exploration *x)
{
	memset(&shared, 0, sizeof(shared));
	spin_init(&shared.lock, RANK_DOMAIN, "counter");
	rw_init(&shared.sem, RANK_MM, "counter");
	waitq_init(&shared.queue);
}

static void teardown(const struct exploration *x)
{
}

static void segment(char name)
{
	shared.order[shared.n++] = name;
}

/* ---- every order, once -------------------------------------------------- */

static void two_a(const struct exploration *x)
{
	segment('a');
	PROBE(explore_step, 0, 0);
	segment('a');
}

static void two_b(const struct exploration *x)
{
	segment('b');
	PROBE(explore_step, 0, 0);
	segment('b');
}

/* Orders that were seen, and how often. */
static char seen[8][16];
static unsigned times[8];

static const char *remember(const struct exploration *x)
{
	for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
		if (seen[i][0] && strcmp(seen[i], shared.order))
			continue;
		memcpy(seen[i], shared.order, sizeof(seen[i]));
		times[i]++;
		return NULL;
	}
	return "more orders than there are";
}

static unsigned orders(unsigned bound, uint64_t executions)
{
	static const struct exploration x = {
		.setup = setup,
		.teardown = teardown,
		.verdict = remember,
		.actors = { { "a", two_a }, { "b", two_b } },
	};
	unsigned n = 0;

	memset(seen, 0, sizeof(seen));
	memset(times, 0, sizeof(times));
	EXPECT_EQ(explore(&x, bound).executions, executions);
	while (n < ARRAY_SIZE(seen) && times[n])
		n++;
	return n;
}

TEST(explore, every_order_is_run_once,
     "two actors of two steps have 2 orders without a preemption, 4 with one, "
     "6 in "
     "all, and each bound runs each of its orders once")
{
	EXPECT_EQ(orders(0, 2), 2);
	EXPECT_EQ(orders(1, 2 + 4), 4);
	EXPECT_EQ(orders(2, 2 + 4 + 6), 6);
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(times[i], i < 2 ? 3 : i < 4 ? 2 : 1);
	EXPECT_EQ(orders(3, 2 + 4 + 6 + 6), 6);
}

/* ---- a lost update ------------------------------------------------------ */

static void increment(const struct exploration *x)
{
	unsigned n = shared.counter;

	PROBE(explore_step, 0, 0);
	shared.counter = n + 1;
}

static void increment_locked(const struct exploration *x)
{
	spin_lock(&shared.lock);
	increment(x);
	spin_unlock(&shared.lock);
}

static void increment_asleep(const struct exploration *x)
{
	rw_write_lock(&shared.sem);
	increment(x);
	rw_write_unlock(&shared.sem);
}

static const char *counted(const struct exploration *x)
{
	return shared.counter == 2 ? NULL : "an increment is lost";
}

static struct exploration increments(void (*fn)(const struct exploration *x))
{
	return (struct exploration){
		.setup = setup,
		.teardown = teardown,
		.verdict = counted,
		.actors = { { "a", fn }, { "b", fn } },
	};
}

TEST(explore, lost_update_is_found,
     "two increments without a lock lose one in an order with one preemption")
{
	struct exploration x = increments(increment);
	struct explore_result r = explore(&x, 2);

	EXPECT(r.broken && r.preemptions == 1);
	EXPECT(!explore(&x, 0).broken);
}

TEST(explore, spin_lock_orders_updates,
     "two increments under a spin lock are both counted in every order, "
     "although "
     "the holder loses the CPU")
{
	struct exploration x = increments(increment_locked);

	/* Two without a preemption; then those two, and one at each of two points of
	 * each actor: before the lock and under it. */
	EXPECT_EQ(explore(&x, 1).executions, 2 + 2 + 2 * 2);
	EXPECT_EXPLORED(&x);
	EXPECT(explore(&x, 2).complete);
}

TEST(explore, sleeping_lock_orders_updates,
     "two increments under a sleeping lock are both counted in every order")
{
	struct exploration x = increments(increment_asleep);

	EXPECT_EXPLORED(&x);
	EXPECT(explore(&x, 2).complete);
}

/* ---- waiting ------------------------------------------------------------ */

static void raise_flag(const struct exploration *x)
{
	PROBE(explore_step, 0, 0);
	WRITE_ONCE(shared.flag, true);
	PROBE(explore_step, 0, 0);
	wake_all(&shared.queue);
}

static void poll_flag(const struct exploration *x)
{
	while (!READ_ONCE(shared.flag))
		yield();
	shared.counter = 2;
}

static void await_flag(const struct exploration *x)
{
	wait_event(&shared.queue, READ_ONCE(shared.flag));
	shared.counter = 2;
}

static struct exploration flag(void (*fn)(const struct exploration *x))
{
	return (struct exploration){
		.setup = setup,
		.teardown = teardown,
		.verdict = counted,
		.actors = { { "raises", raise_flag }, { "waits", fn } },
	};
}

TEST(explore, polling_ends,
     "an actor that polls lets the others run, and no order makes it poll for "
     "ever")
{
	struct exploration x = flag(poll_flag);

	EXPECT_EXPLORED(&x);
	EXPECT(explore(&x, 2).complete);
}

TEST(explore, waiting_ends,
     "an actor that sleeps until a flag is set is woken in every order")
{
	struct exploration x = flag(await_flag);

	EXPECT_EXPLORED(&x);
	EXPECT(explore(&x, 2).complete);
}

TEST_FULL(explore, two_pollers_let_a_third_run,
	  "two actors that poll do not pass the CPU to each other for ever", 1,
	  10)
{
	static const struct exploration x = {
		.setup = setup,
		.teardown = teardown,
		.verdict = counted,
		.actors = { { "polls", poll_flag },
			    { "polls too", poll_flag },
			    { "raises", raise_flag } },
	};

	EXPECT(explore(&x, 1).complete);
}
