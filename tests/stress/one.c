/* SPDX-License-Identifier: MIT */
/*
 * one.c - many threads in one address space, while others change it
 *
 *   owner 0, owner 1    map, unmap, protect, discard, remap their half of the
 *                       pages, which begins 2 MiB that may be a huge page; fork;
 *                       evict
 *   user 0, 1, 2        load, store, pin, fault anywhere in it
 *   rover               try_to_unmap() and collapse anywhere; fork, and watch the
 *                       child
 *   scanner             merges what is equal (tests/stress/ksm.c)
 *
 * What each access may find is computed by the model of tests/stress/page_model.h.  The run
 * is cut in rounds; each makes a new address space, and all threads meet at its
 * end, where everything is quiet: the tables are compared with the reverse map
 * and the contents with the model once more.  A round needs nothing of those
 * before, so a failure is replayed by its own round.
 *
 * On one CPU threads change at ticks only.  So every round sets another rate of
 * the timer, up to a tick in a few thousand instructions; one that comes while
 * a spin lock is held takes effect exactly where the lock is dropped, which is
 * where other threads can break a protocol.
 */
#include "arch/lapic.h"
#include "arch/smp.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "mm/check/check.h"
#include "mm/huge/collapse.h"
#include "tests/fixture/mm/ksm_fixture.h"
#include "tests/stress/ksm.h"
#include "tests/stress/one.h"

#define USERS     3u
#define ROUNDS    9
#define ROUND_OPS 240 /* numbers of an actor in a round                   */

struct one one;

static unsigned merged; /* by the scanner, in all rounds */

/* ---- devices ------------------------------------------------------------ */

unsigned one_page_for(const struct op *op, enum prot right)
{
	unsigned page = op->page;

	for (unsigned i = 0; i < 8 && op->dice & 0x7000; i++) {
		if (cell_look(page).now & right)
			break;
		page = (page + 1) % CELL_PAGES;
	}
	return page;
}

/* ---- users -------------------------------------------------------------- */

/* What was loaded from word k, by its address or in the frame of a pin. */
void one_value(struct one_actor *a, const struct look *before, unsigned page,
	       unsigned k, uint64_t low, uint64_t got)
{
	struct bounds bounds = { low, cell_high(k) };
	struct look after = cell_look(page);
	char why[160];

	if (cell_judge(before, &after, k, bounds, got, why, sizeof(why)))
		ONE_WRONG(a, "page %u word %u: %s", page, k, why);
}

void one_may(struct one_actor *a, enum may may, int ret)
{
	if (ret == 0 ? may == MAY_NOT : may == MAY_SURELY)
		ONE_WRONG(a, "%s",
			  ret ? "fails, and must not"
			      : "succeeds, and must not");
}

static void load(struct one_actor *a, unsigned page, unsigned k)
{
	struct look before = cell_look(page), after;
	uint64_t low = cell_low(&before, k),
		 got = rd(one.mm, one_va(page) + 8 * k);

	after = cell_look(page);
	one_may(a, cell_may(&before, &after, PROT_R), got == BAD ? -1 : 0);
	if (got != BAD)
		one_value(a, &before, page, k, low, got);
}

static void one_read(struct one_actor *a, const struct op *op)
{
	load(a, op->page, op->dice % one.writers);
}

static void one_write(struct one_actor *a, const struct op *op)
{
	struct look before = cell_look(op->page), after;
	uint64_t tag = cell_store_begin(a->writer, op->page);
	int ret = wr(one.mm, one_va(op->page) + 8 * a->writer, tag);

	after = cell_look(op->page);
	one_may(a, cell_may(&before, &after, PROT_W), ret);
	cell_store_end(a->writer, &before, &after, ret == 0);
}

static void one_fault(struct one_actor *a, const struct op *op)
{
	enum prot right = op->dice & 1 ? PROT_W : PROT_R;
	struct look before = cell_look(op->page), after;
	int ret = mm_fault(one.mm, one_va(op->page), right);

	after = cell_look(op->page);
	one_may(a, cell_may(&before, &after, right), ret);
}

/* The frame's owner, say a device, reads and writes it: all see one memory. */
static void use_pinned(struct one_actor *a, const struct op *op,
		       const struct look *before, struct page *page)
{
	volatile uint64_t *frame = page_va(page);
	unsigned k = op->dice % one.writers;
	uint64_t low = cell_low(before, k);
	struct look after;

	one_value(a, before, op->page, k, low, frame[k]);
	if (!(op->dice & BIT(8)))
		return;
	frame[a->writer] = cell_store_begin(a->writer, op->page);
	after = cell_look(op->page);
	cell_store_end(a->writer, before, &after, true);
	load(a, op->page, a->writer);
}

static void one_pin(struct one_actor *a, const struct op *op)
{
	bool write = op->dice & BIT(8);
	struct look before = cell_look(op->page), after;
	struct page *page;
	int ret = pin_pages(one.mm, one_va(op->page), 1, write ? PIN_WRITE : 0,
			    &page);

	after = cell_look(op->page);
	one_may(a, cell_may(&before, &after, write ? PROT_W : PROT_R), ret);
	if (ret)
		return;
	for (unsigned i = 0; i <= op->dice % 4; i++) {
		use_pinned(a, op, &before, page);
		yield();
	}
	unpin_pages(&page, 1);
}

/* ---- owners and rover -------------------------------------------------- */

static void one_evict(struct one_actor *a, const struct op *op)
{
	struct page *page = stress_page(one.mm, one_va(op->page));

	(void)a;
	if (!page)
		return;
	stress_take(page, op->dice);
	page_put(page);
}

/* What the 2 MiB hold does not change, whatever the answer is. */
void one_collapse(struct one_actor *a, const struct op *op)
{
	int ret = mm_collapse(one.mm, one_va(op->page));

	if (ret && ret != -EBUSY && ret != -EINVAL && ret != -ENOENT &&
	    ret != -ENOMEM)
		ONE_WRONG(a, "returns %d", ret);
}

static const struct role owner = {
	{ { "map", 20, OP_RANGE | OP_PROT | OP_OBJECT },
	  { "unmap", 12, OP_RANGE },
	  { "protect", 20, OP_RANGE | OP_PROT },
	  { "discard", 14, OP_RANGE },
	  { "remap", 16, OP_RANGE | OP_TO },
	  { "fork", 4, 0 },
	  { "look at the child, write", 4, OP_PAGE },
	  { "evict", 8, OP_PAGE },
	  { "map 2 MiB", 2, 0 },
	  { NULL, 0, 0 } },
	{ one_map, one_unmap, one_protect, one_discard, one_remap, one_fork,
	  one_kid, one_evict, one_map_huge },
	60
};

static const struct role user = { { { "write", 40, OP_PAGE },
				    { "read", 36, OP_PAGE },
				    { "pin", 12, OP_PAGE },
				    { "fault", 8, OP_PAGE },
				    { "evict", 4, OP_PAGE },
				    { NULL, 0, 0 } },
				  { one_write, one_read, one_pin, one_fault,
				    one_evict },
				  ROUND_OPS };

static const struct role rover = {
	{ { "evict", 60, OP_PAGE },
	  { "fork", 12, 0 },
	  { "look at the child, write", 22, OP_PAGE },
	  { "collapse", 6, OP_PAGE },
	  { NULL, 0, 0 } },
	{ one_evict, one_fork, one_kid, one_collapse },
	60
};

static const struct role *role_of(unsigned actor)
{
	return actor < ONE_OWNERS   ? &owner
	       : actor < ONE_ROVER  ? &user
	       : actor == ONE_ROVER ? &rover
				    : one.device;
}

/* ---- the run ----------------------------------------------------------- */

static struct op draw(unsigned actor, unsigned number)
{
	struct op_limits limits = { .spaces = 1,
				    .pages = CELL_PAGES,
				    .longest = 6,
				    .object_pages = CELL_OBJECT };

	if (actor < ONE_OWNERS) {
		limits.pages = CELL_PAGES / ONE_OWNERS;
		limits.first = actor * limits.pages;
	}
	return op_draw(role_of(actor)->kinds, &limits, test_seed(), actor,
		       number);
}

static void words(unsigned actor, unsigned number, char *buf, size_t len)
{
	struct op op = draw(actor, number);

	if (number % one.round_ops < role_of(actor)->ops)
		op_words(role_of(actor)->kinds, &op, buf, len);
	else
		snprintk(buf, len, "no operation: the end of its round");
}

static void actor_main(void *arg)
{
	struct one_actor *a = arg;
	const struct role *role = role_of(a->id);
	unsigned begin = one.run.from, end = begin + role->ops;

	mm_bind(one.mm);
	for (a->number = stress_next(&one.run, a->id, begin, end);
	     a->number < end;
	     a->number = stress_next(&one.run, a->id, a->number + 1, end)) {
		struct op op = draw(a->id, a->number);

		role->run[op.kind](a, &op);
	}
	one_kid_end(a);
	mm_bind(NULL);
}

static void set_tick(void *hz)
{
	lapic_timer_start(*(unsigned *)hz);
}

static void set_ticks(unsigned hz)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		on_cpu(i, set_tick, &hz);
}

/* 500 to 32,000 a second, each octave as likely as any other.  With devices to
 * 4,000: their threads and the ticks of all CPUs share a host's few. */
static unsigned some_rate(struct rng *rng)
{
	unsigned octaves = one.others ? 3 : 6;
	unsigned octave = (500u << rng_below(rng, octaves)) / cpu_count();

	return octave + (unsigned)rng_below(rng, octave);
}

/* All, or two of them: a host with fewer CPUs than we waits for each flush.
 * Devices and the threads that serve them run on all CPUs. */
static uint64_t some_cpus(struct rng *rng)
{
	unsigned a = (unsigned)rng_below(rng, cpu_count());
	unsigned b = (unsigned)rng_below(rng, cpu_count());

	if (one.others || rng_below(rng, 4))
		return BIT(a) | BIT(b);
	return smp_online_mask();
}

/* Does any actor do anything in the round that begins at this number? */
static bool round_runs(unsigned begin)
{
	for (unsigned i = 0; i < one.actors; i++)
		if (stress_any(i, begin, begin + role_of(i)->ops))
			return true;
	return false;
}

/* All actors have stopped: the model is exact except for stores that raced. */
static void last_look(struct one_actor *a)
{
	mm_bind(one.mm);
	for (unsigned i = 0; i < CELL_PAGES; i++)
		for (unsigned k = 0; k < one.writers; k++)
			load(a, i, k);
	mm_bind(NULL);
	EXPECT_STR_NULL(mm_check());
	EXPECT_KSM_SOUND();
	if (one.others)
		one.others->quiet();
}

/* Users write words 0 to 2, devices those behind. */
static unsigned writer_of(unsigned actor)
{
	return actor < ONE_ROVER ? actor - ONE_OWNERS
				 : actor - ONE_ROVER - 1 + USERS;
}

static void run_actors(uint64_t cpus)
{
	static struct one_actor actor[STRESS_ACTORS];
	struct thread *t[STRESS_ACTORS];

	stress_ksm_begin(test_seed() + one.run.from, cpus);
	for (unsigned i = 0; i < one.actors; i++) {
		actor[i] =
			(struct one_actor){ .id = i, .writer = writer_of(i) };
		t[i] = thread_create_on(cpus, "actor", actor_main, &actor[i]);
		EXPECT(t[i]);
	}
	for (unsigned i = 0; i < one.actors; i++)
		if (t[i])
			thread_join(t[i]);
	merged += stress_ksm_end();
	last_look(&actor[ONE_ROVER]);
}

/* Nothing in here ends the test: the ticks must be set back. */
static void one_round(unsigned round, uint64_t cpus)
{
	const struct one_others *g = one.others;

	atomic_store(&one.run.from, round * one.round_ops);
	cells_reset();
	one.mm = g ? g->begin(round) : mm_create();
	one.object = object_create(CELL_OBJECT);
	if (one.mm && one.object && one_map_all(round % 4) == 0)
		run_actors(cpus);
	else
		ONE_WRONG(&(struct one_actor){ .id = ONE_ROVER }, "no memory");
	if (g)
		g->end(round);
	else if (one.mm)
		mm_put(one.mm);
	if (one.object)
		object_put(one.object);
	stress_ksm_reset();
}

static unsigned ops_of_round(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < one.actors; i++)
		n += role_of(i)->ops;
	return n;
}

void one_run(unsigned rounds, const struct one *how)
{
	static unsigned repetition; /* of repeat=: the same, but other ticks */

	rounds *= stress_times();
	merged = 0;
	one = *how;
	one.run = (struct stress){ .actors = how->actors,
				   .ops = rounds * how->round_ops,
				   .words = words };
	cells_begin();
	stress_memory_begin();
	stress_begin(&one.run);
	for (unsigned r = 0; r < rounds && !one.run.failed; r++) {
		unsigned begin = r * one.round_ops;
		struct rng rng = rng_seed(test_seed() + begin +
					  repetition * one.run.ops);

		if (!round_runs(begin))
			continue;
		set_ticks(some_rate(&rng));
		one_round(r, some_cpus(&rng));
	}
	repetition++;
	set_ticks(TICK_HZ);
	stress_end(&one.run);
	stress_memory_end();
	test_note("%u pages were merged meanwhile", merged);
	if (!stress_planned() && !one.run.failed)
		EXPECT_EQ(one.run.done, rounds * ops_of_round());
}

TEST_FULL(stress, one_mm,
	  "threads that share an address space read what the layout changes of "
	  "other threads allow, and nothing else",
	  1, 300)
{
	one_run(ROUNDS, &(struct one){ .writers = USERS,
				       .actors = ONE_ROVER + 1,
				       .round_ops = ROUND_OPS });
}
