/* SPDX-License-Identifier: MIT */
/*
 * unit_queue.c - the command ring: wrap, room, numbers, and hardware that fails
 *
 * Every command here has an id of its own, in its address, and the model tells
 * (probe model_done) which were done: each once, and before whoever queued it
 * was told so.
 */
#include "iommu/queue.h"
#include "arch/clock.h"
#include "iommu/log.h"
#include "iommu/regs.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/pmm.h"
#include "tests/gate.h"
#include "tests/ktap.h"
#include "tests/model.h"

#define SLOTS   256u
#define ROOM    (SLOTS - 1)
#define IDS     8192u
#define DOMAIN  7
#define PATIENT 100000u

static struct ring {
	struct model *m;
	struct iommu_port port;
	struct command_queue q;
	struct page *events;
	bool complaints_expected;
	uint64_t last; /* number of the last COMPLETION_WAIT that was done  */
	unsigned next; /* id, for the tests with one thread                 */
	_Atomic uint8_t done[IDS];
} ring;

/* The model has done a command.  Context: its lock. */
static void was_done(uint64_t w0, uint64_t w1, void *arg)
{
	struct ring *r = arg;

	if (FIELD_GET(CMD0_OP, w0) == COMPLETION_WAIT) {
		EXPECT_EQ(w1, r->last + 1);
		r->last = w1;
	} else if (FIELD_GET(CMD0_DOMAIN, w0) == DOMAIN) {
		EXPECT(!atomic_fetch_add(&r->done[w1 / PAGE_SIZE % IDS], 1));
	}
}

static struct command with_id(unsigned id)
{
	iova_t iova = id * PAGE_SIZE;

	assert(id < IDS);
	return command_invalidate_iommu_pages(
		DOMAIN, command_range(iova, iova + PAGE_SIZE), false);
}

static struct ring *ring_open(enum model_mode mode, unsigned delay)
{
	struct ring *r = &ring;

	memset(r, 0, sizeof(*r));
	r->m = model_create(&(struct model_config){ .name = "ring",
						    .mode = mode,
						    .delay = delay,
						    .seed = test_seed() });
	r->events = page_alloc_zeroed();
	REQUIRE(r->m && r->events);
	r->port = model_port(r->m);
	REQUIRE(!queue_start(&r->q, &r->port, QUEUE_MIN_BITS));
	reg_write(&r->port, REG_EVENT_BASE,
		  page_pa(r->events) | FIELD_PREP(RING_LENGTH, 8));
	reg_write(&r->port, REG_CONTROL,
		  CONTROL_IOMMU_EN | CONTROL_EVENT_LOG_EN | CONTROL_CMD_BUF_EN);
	hook("model_done", was_done, r);
	return r;
}

static void ring_close(struct ring *r)
{
	if (!r->complaints_expected)
		EXPECT_STR_NULL(model_complaint(r->m));
	reg_write(&r->port, REG_CONTROL, 0);
	EXPECT(model_drain(r->m, PATIENT));
	unhook("model_done");
	queue_stop(&r->q);
	page_put(r->events);
	model_destroy(r->m);
}

/* Queue the next n ids; returns the number to wait for. */
static uint64_t submit(struct ring *r, unsigned n)
{
	struct command c[SLOTS];
	uint64_t seq;

	for (unsigned i = 0; i < n; i++)
		c[i] = with_id(r->next++);
	EXPECT_EQ(queue_submit(&r->q, c, n, &seq), 0);
	return seq;
}

static void expect_done(struct ring *r, unsigned from, unsigned end)
{
	for (; from < end; from++)
		EXPECT_EQ(atomic_load(&r->done[from]), 1);
}

static char printed[4096];
static size_t n_printed;

/* Context: the console's lock. */
static void collect(const char *text, size_t len)
{
	while (len-- && n_printed < sizeof(printed) - 1)
		printed[n_printed++] = *text++;
	printed[n_printed] = 0;
}

/* ---- the ring ---------------------------------------------------------- */

static void wraps(enum model_mode mode, unsigned delay)
{
	struct rng rng = rng_seed(test_seed());
	struct ring *r = ring_open(mode, delay);

	while (r->next < 4 * SLOTS) {
		unsigned from = r->next;
		uint64_t seq = submit(r, 1 + (unsigned)rng_below(&rng, 40));

		EXPECT_EQ(queue_wait(&r->q, seq), 0);
		expect_done(r, from, r->next);
	}
	EXPECT_EQ(r->last, r->q.seq);
	EXPECT(r->q.commands > 4 * SLOTS && r->q.waits == r->q.seq);
	ring_close(r);
}

TEST(queue, wraps_four_rounds,
     "over four rounds each command is done once, before its wait returns")
{
	wraps(MODEL_IMMEDIATE, 0);
	wraps(MODEL_DELAYED, 3);
	wraps(MODEL_SHUFFLED, 1);
}

TEST(queue, batch_as_long_as_the_ring,
     "a batch that does not fit at once is fed in as the hardware takes it")
{
	struct ring *r = ring_open(MODEL_DELAYED, 1);

	submit(r, 200);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t seq = submit(r, SLOTS);

		EXPECT_EQ(queue_wait(&r->q, seq), 0);
		expect_done(r, 0, r->next);
	}
	ring_close(r);
}

TEST(queue, tail_never_passes_head,
     "with hardware that takes nothing 255 commands fit; none is written over, "
     "and all are done when it goes on (B57)")
{
	struct ring *r = ring_open(MODEL_STOPPED, 0);
	static struct command before[SLOTS];
	struct command c = with_id(IDS - 1);
	uint64_t seq, last;

	submit(r, 99);
	last = submit(r, ROOM - 100 - 1);
	EXPECT_EQ(reg_read(&r->port, REG_CMD_TAIL), ROOM * sizeof(c));
	memcpy(before, r->q.ring, sizeof(before));
	printk_set_sink(collect);
	r->port.limit_ns = IOMMU_LIMIT_NS / 50;
	EXPECT_EQ(queue_submit(&r->q, &c, 1, &seq), -ETIMEDOUT);
	printk_set_sink(ktap_sink);
	r->port.limit_ns = 0;
	EXPECT_EQ(reg_read(&r->port, REG_CMD_TAIL), ROOM * sizeof(c));
	EXPECT(!memcmp(before, r->q.ring, sizeof(before)));

	model_set_mode(r->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(queue_wait(&r->q, last), 0);
	expect_done(r, 0, r->next);
	EXPECT(!r->done[IDS - 1]);
	EXPECT_EQ(queue_run(&r->q, &c, 1), 0);
	expect_done(r, IDS - 1, IDS);
	ring_close(r);
}

/* ---- four producers ---------------------------------------------------- */

#define PRODUCERS 4u
#define EACH      250u /* commands outstanding at once, of one producer     */
#define ROUNDS    3u

struct batch {
	unsigned from, end;
	uint64_t seq;
};

/* EACH commands in batches, none waited for. */
static unsigned queue_all(struct ring *r, struct rng *rng, unsigned id,
			  struct batch *b)
{
	struct command c[17];
	unsigned end = id + EACH, n = 0;

	while (id < end) {
		unsigned len = 1 + (unsigned)rng_below(rng, ARRAY_SIZE(c));

		len = len < end - id ? len : end - id;
		for (unsigned i = 0; i < len; i++)
			c[i] = with_id(id + i);
		b[n].from = id;
		b[n].end = id += len;
		EXPECT(!queue_submit(&r->q, c, len, &b[n].seq));
		n++;
	}
	return n;
}

static void producer(void *arg)
{
	unsigned which = (unsigned)(uintptr_t)arg;
	struct rng rng = rng_seed(test_seed() + which);
	struct batch b[EACH];
	struct ring *r = &ring;

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned id = (which * ROUNDS + round) * EACH;
		unsigned n = queue_all(r, &rng, id, b);

		while (n) {
			struct batch *one = &b[rng_below(&rng, n)];

			EXPECT_EQ(queue_wait(&r->q, one->seq), 0);
			expect_done(r, one->from, one->end);
			*one = b[--n];
		}
	}
}

static void four_producers(enum model_mode mode, unsigned delay)
{
	struct ring *r = ring_open(mode, delay);
	struct thread *t[PRODUCERS];

	for (uintptr_t i = 0; i < PRODUCERS; i++) {
		t[i] = thread_create_on(BIT(i), "producer", producer,
					(void *)i);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		thread_join(t[i]);
	expect_done(r, 0, PRODUCERS * ROUNDS * EACH);
	EXPECT_EQ(r->last, r->q.seq);
	ring_close(r);
}

TEST_SMP(queue, full_ring_from_four_cpus,
	 "four CPUs with 1000 commands outstanding share a ring of 255: each "
	 "command is done once, and before its own wait returns (C17, C119)",
	 PRODUCERS)
{
	four_producers(MODEL_DELAYED, 2);
	four_producers(MODEL_SHUFFLED, 0);
}

/* Somebody is late between taking his number and queueing it. */
static struct {
	struct thread *late;
	_Atomic bool taken, overtaken;
} race;

static void dawdle(uint64_t seq, uint64_t n, void *arg)
{
	uint64_t end = clock_ns() + 2000000;

	if (current() != race.late)
		return;
	atomic_store(&race.taken, true);
	while (!atomic_load(&race.overtaken) && clock_ns() < end)
		cpu_pause();
}

static void overtake(void *arg)
{
	struct ring *r = arg;
	struct command c = with_id(1);
	uint64_t seq;

	while (!atomic_load(&race.taken))
		cpu_pause();
	EXPECT(!queue_submit(&r->q, &c, 1, &seq));
	atomic_store(&race.overtaken, true);
	EXPECT(!queue_wait(&r->q, seq));
	expect_done(r, 1, 2);
}

TEST_SMP(queue, numbers_follow_the_ring,
	 "who is late after taking its number is not overtaken in the ring: a "
	 "larger number done means that all smaller ones are (H50, H51)",
	 2)
{
	struct ring *r = ring_open(MODEL_DELAYED, 1);
	struct command c = with_id(0);
	struct thread *other;

	race.late = current();
	atomic_store(&race.taken, false);
	atomic_store(&race.overtaken, false);
	hook("iommu_number", dawdle, NULL);
	other = thread_create_on(BIT(cpu_id() ? 0 : 1), "other", overtake, r);
	REQUIRE(other);
	EXPECT_EQ(queue_run(&r->q, &c, 1), 0);
	expect_done(r, 0, 1);
	thread_join(other);
	EXPECT(race.taken);
	unhook("iommu_number");
	ring_close(r);
}

TEST(queue, numbers_wrap,
     "the number after the largest is 0, and waits across it end in time")
{
	struct ring *r = ring_open(MODEL_DELAYED, 2);
	uint64_t seq[12];

	r->last = r->q.seq = *r->q.done = UINT64_MAX - 6;
	for (unsigned i = 0; i < ARRAY_SIZE(seq); i++)
		seq[i] = submit(r, 2);
	EXPECT_EQ(seq[6], 0);
	/* Nothing is done yet: no number may look smaller than it is. */
	for (unsigned i = 0; i < ARRAY_SIZE(seq); i++) {
		EXPECT_EQ(queue_wait(&r->q, seq[i]), 0);
		expect_done(r, 0, 2 * i + 2);
	}
	EXPECT_EQ(r->last, 5);
	ring_close(r);
}

/* ---- hardware that fails ----------------------------------------------- */

/* A run that ends badly: what it printed is in `printed`, its time returned. */
static uint64_t fails(struct ring *r, struct command c)
{
	uint64_t start = clock_ns();
	int error;

	n_printed = 0;
	printed[0] = 0;
	printk_set_sink(collect);
	error = queue_run(&r->q, &c, 1);
	printk_set_sink(ktap_sink);
	EXPECT_EQ(error, -ETIMEDOUT);
	return clock_ns() - start;
}

static bool says(const char *words)
{
	return glob_match(words, printed);
}

TEST(queue, lost_completion_ends_the_wait,
     "hardware that hangs: -ETIMEDOUT after a second, dumped in words, once; "
     "and nobody is told that it was done (C120)")
{
	struct ring *r = ring_open(MODEL_STOPPED, 0);
	uint64_t ns = fails(r, with_id(r->next++));

	EXPECT(ns >= IOMMU_LIMIT_NS && ns < 2 * IOMMU_LIMIT_NS);
	EXPECT(says("*a command was not completed*"));
	EXPECT(says("*head 0, tail 20*completed 0 of 1*"));
	EXPECT(says("*INVALIDATE_IOMMU_PAGES*COMPLETION_WAIT*"));
	EXPECT(!says("*COMPLETION_WAIT*COMPLETION_WAIT*"));
	EXPECT(!r->done[0]);
	r->port.limit_ns = IOMMU_LIMIT_NS / 50;
	fails(r, with_id(r->next++));
	r->port.limit_ns = 0;
	EXPECT_EQ(n_printed, 0);

	/* It comes back: what was queued is done, late, and waits end well. */
	model_set_mode(r->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(queue_wait(&r->q, submit(r, 1)), 0);
	expect_done(r, 0, r->next);
	ring_close(r);
}

TEST(queue, illegal_command_halts_and_is_shown,
     "a ring that halts at a command is noticed at once, not after a second")
{
	struct ring *r = ring_open(MODEL_DELAYED, 1);
	struct command bad = { { FIELD_PREP(CMD0_OP, 15), 0xbad } };

	EXPECT_EQ(queue_wait(&r->q, submit(r, 3)), 0);
	EXPECT(fails(r, bad) < IOMMU_LIMIT_NS / 10);
	EXPECT(says("*the command ring has halted*"));
	EXPECT(says("*> *bad no such command*"));
	EXPECT(model_complaint(r->m));
	r->complaints_expected = true;
	ring_close(r);
}
