/* SPDX-License-Identifier: MIT */
/*
 * steps.c - one random step at a time, and all checkers after each
 *
 * Where the other stress tests race, this one stops and looks: up to six spaces
 * over the edge of the first 512 GiB, every operation on them, in every second
 * step with an allocation that fails (kernel/inject.h).  After each step every
 * space is compared with the flat model (tests/stress/flat_model.h), a refused operation
 * with the state before it (tests/fixture/mm/snapshot.h), and the checkers recompute what mm
 * and its scanner believe.  What holds only sometimes is found where it broke.
 *
 * With more CPUs than one, in every 16th step another has used a page of the
 * space before the operation, and uses it again after it (onlooker.h).
 *
 * A round begins and ends with no space at all.  A step is drawn from the seed
 * and its number alone, so a part of a round can be replayed: ops=0:400-423.
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/notifier/mmu_notifier.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/fixture/mm/onlooker.h"
#include "tests/stress/steps.h"

#define ROUND_STEPS 400u
#define ROUNDS      4u /* 1,600 steps; stress=1200: 1,920,000             */

struct stepping stepping;

static const struct op_kind kinds[] = {
	{ "write", 16, OP_SPACE | OP_PAGE },
	{ "read", 8, OP_SPACE | OP_PAGE },
	{ "fault", 4, OP_SPACE | OP_PAGE },
	{ "map", 12, OP_SPACE | OP_RANGE | OP_PROT | OP_OBJECT },
	{ "unmap", 5, OP_SPACE | OP_RANGE },
	{ "protect", 8, OP_SPACE | OP_RANGE | OP_PROT },
	{ "discard", 4, OP_SPACE | OP_RANGE },
	{ "remap", 10, OP_SPACE | OP_RANGE | OP_TO },
	{ "fork", 5, OP_SPACE | OP_TO_SPACE },
	{ "exit", 2, OP_SPACE },
	{ "reap", 1, OP_SPACE },
	{ "evict", 6, OP_SPACE | OP_PAGE },
	{ "age", 2, OP_SPACE | OP_PAGE },
	{ "pin or use the pin", 5, OP_SPACE | OP_PAGE },
	{ "unpin", 3, 0 },
	{ "opt in", 4, OP_SPACE | OP_RANGE },
	{ "opt out", 2, OP_SPACE | OP_RANGE },
	{ "scan", 2, 0 },
	{ "show other pages", 1, OP_SPACE | OP_RANGE | OP_OBJECT },
	{ NULL, 0, 0 },
};

/* In the order of kinds[]. */
static step_op *const run_step[] = {
	step_write,   step_read,    step_fault, step_map,  step_unmap,
	step_protect, step_discard, step_remap, step_fork, step_exit,
	step_reap,    step_evict,   step_age,   step_pin,  step_unpin,
	step_opt_in,  step_opt_out, step_scan,  step_show,
};
_Static_assert(ARRAY_SIZE(run_step) + 1 == ARRAY_SIZE(kinds), "one each");

static struct op draw(unsigned number)
{
	static const struct op_limits limits = { .spaces = STEP_SPACES,
						 .pages = STEP_PAGES,
						 .longest = 8,
						 .object_pages = STEP_WORDS };

	return op_draw(kinds, &limits, test_seed(), 0, number);
}

/* Bits 8 to 11 and 15 of the dice, which no operation uses. */
static unsigned fails_at(const struct op *op)
{
	return op->dice & BIT(15) ? 1 + (op->dice >> 8) % 16 : 0;
}

static bool looked_at(const struct op *op, unsigned number)
{
	return cpu_count() > 1 && !(op->dice >> 12 & 7) && number & 1 &&
	       run_step[op->kind] != step_exit;
}

static void words(unsigned actor, unsigned number, char *buf, size_t len)
{
	struct op op = draw(number);
	char text[80];

	(void)actor;
	op_words(kinds, &op, text, sizeof(text));
	if (fails_at(&op))
		snprintk(buf, len, "%s, allocation %u fails, dice %x", text,
			 fails_at(&op), op.dice);
	else
		snprintk(buf, len, "%s, dice %x", text, op.dice);
}

/* ---- one call ------------------------------------------------------------ */

void step_begin(enum snap_scope scope)
{
	if (!stepping.fail)
		return;
	if (scope != SNAP_NOTHING)
		snapshot_take(scope);
	inject_arm(stepping.fail);
}

void step_end(enum snap_scope scope, int64_t ret)
{
	const char *why;

	if (!stepping.fail)
		return;
	stepping.delivered = inject_disarm();
	if (ret >= 0 || scope == SNAP_NOTHING)
		return;
	why = snapshot_changed();
	if (why)
		STEP_WRONG("it returns %ld and has changed: %s", ret, why);
}

bool step_ended(int ret, int want)
{
	if (ret == -ENOMEM && stepping.delivered)
		return false;
	if (ret != want)
		STEP_WRONG("it returns %d, want %d", ret, want);
	return ret == want && !ret;
}

/* ---- one step ------------------------------------------------------------ */

static void check(unsigned number)
{
	const char *why = steps_check(&stepping.model);

	if (!why)
		why = mm_check();
	if (!why)
		why = ksm_check();
	if (!why)
		why = mmu_notifier_check();
	if (!why && number % 64 == 0)
		why = pmm_check();
	if (why)
		STEP_WRONG("%s", why);
}

/* The space that a step needs, made if it is not there. */
static bool space_exists(struct step_space *s)
{
	if (!s->mm)
		s->mm = mm_create();
	if (!s->mm)
		STEP_WRONG("no memory for a space");
	return s->mm;
}

/* Half of the steps store one of few tags: so that there is something to merge. */
static uint64_t tag_of(unsigned number, const struct op *op)
{
	return op->dice & 1 ? UINT64_C(1) << 32 | number
			    : 1 + (op->dice >> 1) % 3;
}

static void one_step(unsigned number)
{
	struct op op = draw(number);
	struct step_space *s = &stepping.model.space[op.space];
	bool look = looked_at(&op, number);
	struct step_page *p;
	uint64_t got;

	if (!space_exists(s))
		return;
	if (op.dice & BIT(7) && kinds[op.kind].shows & OP_PAGE)
		op.page = step_near(s, op.page);
	p = &s->page[op.page];
	stepping.fail = fails_at(&op);
	stepping.delivered = false;
	stepping.tag = tag_of(number, &op);
	if (look)
		onlooker_begin(s->mm, S(op.page));
	run_step[op.kind](s, &op);
	if (look) {
		got = onlooker_end();
		if (got != step_reads(&stepping.model, p))
			STEP_WRONG("another CPU reads %lx, want %lx", got,
				   step_reads(&stepping.model, p));
	}
	check(number);
}

/* ---- rounds -------------------------------------------------------------- */

static uint64_t frames_free(void)
{
	pool_trim_all();
	pmm_drain();
	return pmm_free_pages();
}

static void round_begin(unsigned round)
{
	static const unsigned bounds[] = { 2, 3, KSM_DEFAULT_BOUND };

	stepping.model = (struct steps){ .object = object_create(STEP_WORDS) };
	EXPECT_EQ(ksm_set_bound(bounds[round % 3]), 0);
	ksm_knobs.use_zero_pages = round & 1;
}

static void round_end(void)
{
	struct steps *m = &stepping.model;

	for (unsigned i = 0; i < STEP_PINS; i++)
		if (m->pin[i].page)
			unpin_pages(&m->pin[i].page, 1);
	for (unsigned i = 0; i < STEP_SPACES; i++)
		if (m->space[i].mm)
			mm_put(m->space[i].mm);
	object_put(m->object);
	ksm_knobs_reset();
}

static void one_round(unsigned round)
{
	struct stress *run = &stepping.run;
	unsigned begin = round * ROUND_STEPS, end = begin + ROUND_STEPS;
	uint64_t frames = frames_free(), objects = pool_live_all();

	if (!stress_any(0, begin, end))
		return;
	atomic_store(&run->from, begin);
	round_begin(round);
	for (unsigned n = stress_next(run, 0, begin, end); n < end;
	     n = stress_next(run, 0, n + 1, end))
		one_step(n);
	round_end();
	if (run->failed)
		return;
	if (frames_free() != frames || pool_live_all() != objects)
		STEP_WRONG("the round leaves %ld frames and %ld objects behind",
			   frames - frames_free(), pool_live_all() - objects);
}

TEST_FULL(stress, steps_without_memory,
	  "after each of 1,600 random steps, half of them with an allocation "
	  "that fails, all address spaces equal the flat model, and all "
	  "checkers pass",
	  1, 60)
{
	unsigned rounds = ROUNDS * stress_times();

	stepping.run = (struct stress){ .actors = 1,
					.ops = rounds * ROUND_STEPS,
					.words = words };
	stress_begin(&stepping.run);
	if (cpu_count() > 1)
		onlooker_start(1);
	for (unsigned r = 0; r < rounds && !stepping.run.failed; r++)
		one_round(r);
	if (cpu_count() > 1)
		onlooker_stop();
	stress_end(&stepping.run);
	EXPECT_EQ(ksm_set_bound(KSM_DEFAULT_BOUND), 0);
	if (!stress_planned() && !stepping.run.failed)
		EXPECT_EQ(stepping.run.done, stepping.run.ops);
}
