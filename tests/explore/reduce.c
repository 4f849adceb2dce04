/* SPDX-License-Identifier: MIT */
/*
 * reduce.c - with fewer orders, the same final states
 *
 * Random programs: three actors read, write and add to two words, some under a
 * lock.  An execution's final state is the words and what each actor has read.
 */
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/rand.h"
#include "kernel/string.h"
#include "tests/explore/explore.h"
#include "tests/explore/footprint.h"

#define ACTORS   3
#define OPS      3
#define WORDS    2
#define STATES   1024
#define PROGRAMS 9 /* of which two show a lost order of writes */

enum op {
	READ,
	WRITE,
	ADD,
	ADD_LOCKED
};

static struct {
	enum op op[ACTORS][OPS];
	unsigned word[ACTORS][OPS];
} program;

static struct {
	uint64_t word[WORDS];
	uint64_t read[ACTORS]; /* digest of what the actor has read          */
	struct spinlock lock;
} state;

static void setup(const struct exploration *x)
{
	memset(&state, 0, sizeof(state));
	spin_init(&state.lock, RANK_DOMAIN, "words");
}

static void teardown(const struct exploration *x)
{
}

static void declare(const void *p, bool write)
{
	footprint_touch((uint64_t)p, 8, write);
}

static uint64_t load(unsigned actor, unsigned word)
{
	uint64_t v;

	declare(&state.word[word], false);
	v = state.word[word];
	state.read[actor] = state.read[actor] * 31 + v;
	return v;
}

static void store(unsigned word, uint64_t v)
{
	declare(&state.word[word], true);
	state.word[word] = v;
}

/* The second half is a step of its own: another may come between. */
static void add(unsigned actor, unsigned word, unsigned n)
{
	uint64_t v = load(actor, word);

	PROBE(explore_step, 0, 0);
	store(word, v + n);
}

static void add_locked(unsigned actor, unsigned word, unsigned n)
{
	declare(&state.lock, true);
	spin_lock(&state.lock);
	declare(&state.lock, true);
	add(actor, word, n);
	declare(&state.lock, true);
	spin_unlock(&state.lock);
}

static void run_op(unsigned actor, unsigned i)
{
	unsigned word = program.word[actor][i], n = actor * OPS + i + 1;

	switch (program.op[actor][i]) {
	case READ:
		load(actor, word);
		break;
	case WRITE:
		store(word, n);
		break;
	case ADD:
		add(actor, word, n);
		break;
	default:
		add_locked(actor, word, n);
	}
}

static void run(unsigned actor)
{
	for (unsigned i = 0; i < OPS; i++) {
		if (i)
			PROBE(explore_step, 0, 0);
		run_op(actor, i);
	}
}

static void run_0(const struct exploration *x)
{
	run(0);
}

static void run_1(const struct exploration *x)
{
	run(1);
}

static void run_2(const struct exploration *x)
{
	run(2);
}

/* ---- sets of final states ------------------------------------------------ */

static struct states {
	uint64_t hash[STATES];
	unsigned n;
} all, fewer, *states;

static const char *remember(const struct exploration *x)
{
	uint64_t hash = 1;

	for (unsigned i = 0; i < WORDS; i++)
		hash = hash * UINT64_C(0xd6e8feb86659fd93) + state.word[i];
	for (unsigned i = 0; i < ACTORS; i++)
		hash = hash * UINT64_C(0xd6e8feb86659fd93) + state.read[i];
	for (unsigned i = 0; i < states->n; i++)
		if (states->hash[i] == hash)
			return NULL;
	if (states->n == STATES)
		return "more final states than there is room for";
	states->hash[states->n++] = hash;
	return NULL;
}

static struct exploration random = {
	.setup = setup,
	.teardown = teardown,
	.verdict = remember,
	.declares = true,
	.actors = { { "0", run_0 }, { "1", run_1 }, { "2", run_2 } },
};

static void draw(struct rng *rng)
{
	static const enum op ops[] = { READ,  READ, WRITE,     WRITE,
				       WRITE, ADD,  ADD_LOCKED };

	for (unsigned a = 0; a < ACTORS; a++) {
		for (unsigned i = 0; i < OPS; i++) {
			program.op[a][i] = ops[rng_below(rng, ARRAY_SIZE(ops))];
			program.word[a][i] = (unsigned)rng_below(rng, WORDS);
		}
	}
}

static struct explore_result explored_with(struct states *to, bool equivalents)
{
	struct explore_result r;

	states = to;
	states->n = 0;
	random.equivalents = equivalents;
	r = explore(&random, 2);
	EXPECT(r.complete);
	return r;
}

TEST(explore, reduction_keeps_every_final_state,
     "of random programs the reduced search reaches the final states that the "
     "whole one reaches, with the same bound and in fewer executions")
{
	struct rng rng = rng_seed(test_seed());
	uint64_t executions = 0, reduced = 0;

	for (unsigned i = 0; i < PROGRAMS; i++) {
		draw(&rng);
		executions += explored_with(&all, true).executions;
		reduced += explored_with(&fewer, false).executions;
		EXPECT_EQ(fewer.n, all.n); /* it is a part of all */
	}
	test_note("%lu executions, %lu with the reduction", executions,
		  reduced);
	EXPECT(reduced < executions);
}
