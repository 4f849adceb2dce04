/* SPDX-License-Identifier: MIT */
/*
 * kcsan.c - planted data races: each is reported, and correct accesses are not
 */
#include <stdatomic.h>
#include "kernel/lock.h"
#include "kernel/san/san.h"
#include "kernel/string.h"
#include "tests/base/test.h"
#include "tests/fixture/mm/sync_point.h"

#define ROUNDS 200000

static uint64_t word;
static uint32_t pair[2];
static _Atomic uint64_t counter;
static struct {
	uint64_t a, b, c;
} big;
static struct spinlock lock = SPINLOCK_INIT(RANK_TEST, "kcsan");

/* Threads that have finished their rounds: none stops before the other one. */
static _Atomic unsigned done;

/* Run two threads on two CPUs; returns the first report, or NULL. */
static const char *race(void (*a)(void *), void (*b)(void *))
{
	struct task t[2];

	atomic_store(&done, 0);
	spawn_on(&t[0], BIT(0), a, NULL);
	spawn_on(&t[1], BIT(1), b, NULL);
	join(&t[0]);
	join(&t[1]);
	return san_take();
}

#define ACTOR(name, ...)                                                      \
	static void name(void *arg)                                           \
	{                                                                     \
		for (unsigned i = 0; i < ROUNDS || atomic_load(&done) < 2;) { \
			__VA_ARGS__;                                          \
			barrier();                                            \
			if (++i == ROUNDS)                                    \
				atomic_fetch_add(&done, 1);                   \
		}                                                             \
	}

/* A busy host can prevent two CPUs from running at once: try again. */
#define EXPECT_REPORT(glob, a, b)                      \
	do {                                           \
		const char *got_ = NULL;               \
		for (int i = 0; i < 20 && !got_; i++)  \
			got_ = race(a, b);             \
		EXPECT(got_ &&glob_match(glob, got_)); \
		if (got_)                              \
			test_note("%s", got_);         \
	} while (0)

ACTOR(write_plain, word = i)
ACTOR(read_plain, uint64_t got = word; __asm__ volatile("" ::"r"(got)))
ACTOR(write_once, WRITE_ONCE(word, i))
ACTOR(read_once, (void)READ_ONCE(word))
ACTOR(add_half, pair[0]++)
ACTOR(add_other_half, pair[1]++)
ACTOR(count, atomic_fetch_add(&counter, 1))
ACTOR(read_count, uint64_t got = *(uint64_t *)&counter;
      __asm__ volatile("" ::"r"(got)))
ACTOR(fill, big.a = i; big.b = i; big.c = i)
ACTOR(copy, __typeof__(big) b = big; __asm__ volatile("" ::"r"(b.b)))
ACTOR(locked, spin_lock(&lock); word++; spin_unlock(&lock))

TEST_SMP(kcsan, two_writes, "two plain writes of one word are reported", 2)
{
	EXPECT_REPORT("*write*races with a write*", write_plain, write_plain);
}

TEST_SMP(kcsan, read_and_write,
	 "a plain read that races with a plain write "
	 "is reported",
	 2)
{
	EXPECT_REPORT("*races with a*", read_plain, write_plain);
}

TEST_SMP(kcsan, marked_read,
	 "a plain write that races with READ_ONCE is "
	 "reported",
	 2)
{
	EXPECT_REPORT("*write*races with a marked read*", read_once,
		      write_plain);
}

TEST_SMP(kcsan, plain_read_of_an_atomic,
	 "a plain read that races with an atomic addition is reported", 2)
{
	EXPECT_REPORT("*read*races with a marked write*", read_count, count);
}

TEST_SMP(kcsan, part_of_a_structure,
	 "a copy of a structure that races with a write to it is reported", 2)
{
	EXPECT_REPORT("*races with a*", fill, copy);
}

TEST_SMP(kcsan, no_race_is_no_report,
	 "marked pairs, neighbours in a word and accesses under a lock are "
	 "not reported",
	 2)
{
	EXPECT(!race(read_once, write_once));
	EXPECT(!race(add_half, add_other_half));
	EXPECT(!race(locked, locked));
	EXPECT(!race(count, count));
	EXPECT(!race(read_plain, read_plain));
}
