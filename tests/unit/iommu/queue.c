/* SPDX-License-Identifier: MIT */
/*
 * queue.c - the command ring: wrap, room, numbers, and hardware that fails
 *
 * Every command here has an id of its own in its address, and the model reports
 * (probe model_done) which were done: each once, and before the wait of its
 * producer returns.
 */
#include "arch/clock.h"
#include "iommu/hw/log_entry.h"
#include "iommu/hw/queue.h"
#include "iommu/hw/regs.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "tests/base/capture.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/model/model.h"

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
	uint64_t last; /* of the last COMPLETION_WAIT that was done         */
	unsigned next; /* id, for the tests with one thread                 */
	_Atomic uint8_t done[IDS];
} ring;

/* The model has done a command.  Context: the model's lock. */
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
     "over four rounds of the ring each command is done once, before its wait "
     "returns")
{
	wraps(MODEL_IMMEDIATE, 0);
	wraps(MODEL_DELAYED, 3);
	wraps(MODEL_SHUFFLED, 1);
}

static struct {
	unsigned commands, submits;
	uint64_t last[2]; /* words of the last command                    */
	uint64_t seq;
} marks;

static void command_marked(uint64_t w0, uint64_t w1, void *arg)
{
	marks.commands++;
	marks.last[0] = w0;
	marks.last[1] = w1;
}

static void submit_marked(uint64_t seq, uint64_t n, void *arg)
{
	marks.submits++;
	marks.seq = seq;
	EXPECT_EQ(n, 3);
}

TEST(queue, each_step_leaves_its_mark,
     "each command and each batch is a row of a timeline, with its words and "
     "its "
     "number")
{
	struct command wait;
	struct ring *r;
	uint64_t seq;

	CHECKED_ONLY("marks each command");
	r = ring_open(MODEL_IMMEDIATE, 0);
	memset(&marks, 0, sizeof(marks));
	hook("iommu_command", command_marked, NULL);
	hook("iommu_submit", submit_marked, NULL);
	seq = submit(r, 3);
	unhook("iommu_command");
	unhook("iommu_submit");
	wait = command_completion_wait(page_pa(r->q.done_page), seq);
	EXPECT_EQ(marks.commands, 4);
	EXPECT_EQ(marks.last[0], wait.w[0]);
	EXPECT_EQ(marks.last[1], wait.w[1]);
	EXPECT_EQ(marks.submits, 1);
	EXPECT_EQ(marks.seq, seq);
	EXPECT_EQ(queue_wait(&r->q, seq), 0);
	ring_close(r);
}

TEST(queue, batch_as_long_as_the_ring,
     "a batch longer than the free room is queued as the hardware makes room")
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
     "255 commands fit while the hardware takes none; none is overwritten, "
     "and all are done when it continues (B57)")
{
	struct ring *r = ring_open(MODEL_STOPPED, 0);
	static struct command before[SLOTS];
	struct command c = with_id(IDS - 1);
	uint64_t seq, last;

	submit(r, 99);
	last = submit(r, ROOM - 100 - 1);
	EXPECT_EQ(reg_read(&r->port, REG_CMD_TAIL), ROOM * sizeof(c));
	memcpy(before, r->q.ring, sizeof(before));
	capture_begin();
	r->port.limit_ns = IOMMU_LIMIT_NS / 50;
	EXPECT_EQ(queue_submit(&r->q, &c, 1, &seq), -ETIMEDOUT);
	capture_end();
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
#define EACH      250u /* outstanding commands of one producer              */
#define ROUNDS    3u

struct batch {
	unsigned from, end;
	uint64_t seq;
};

/* Queue EACH commands in batches, without waiting. */
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
	 "four CPUs with 1000 outstanding commands share a ring of 255, and "
	 "each command is done once, before its own wait returns (C17, C119)",
	 PRODUCERS)
{
	four_producers(MODEL_DELAYED, 2);
	four_producers(MODEL_SHUFFLED, 0);
}

/* One thread is slow between taking its number and queueing it. */
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
	 "a thread that is slow after taking its number is not overtaken: a "
	 "completed number means that all smaller ones are done (H50, H51)",
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
	/* No command is done yet: no number may seem smaller than it is. */
	for (unsigned i = 0; i < ARRAY_SIZE(seq); i++) {
		EXPECT_EQ(queue_wait(&r->q, seq[i]), 0);
		expect_done(r, 0, 2 * i + 2);
	}
	EXPECT_EQ(r->last, 5);
	ring_close(r);
}

/* ---- hardware that fails ----------------------------------------------- */

/* Run a command that fails; returns its time, the output is in `captured`. */
static uint64_t fails(struct ring *r, struct command c)
{
	uint64_t start = clock_ns();
	int error;

	capture_begin();
	error = queue_run(&r->q, &c, 1);
	capture_end();
	EXPECT_EQ(error, -ETIMEDOUT);
	return clock_ns() - start;
}

static bool says(const char *glob)
{
	return glob_match(glob, captured);
}

TEST(queue, lost_completion_ends_the_wait,
     "hardware that hangs gives -ETIMEDOUT after a second and one dump, and "
     "no command is reported as done (C120)")
{
	struct ring *r = ring_open(MODEL_STOPPED, 0);
	uint64_t ns = fails(r, with_id(r->next++));

	EXPECT(ns >= IOMMU_LIMIT_NS && ns < 10 * IOMMU_LIMIT_NS);
	EXPECT(says("*a command was not completed*"));
	EXPECT(says("*head 0, tail 20*completed 0 of 1*"));
	EXPECT(says("*INVALIDATE_IOMMU_PAGES*COMPLETION_WAIT*"));
	EXPECT(!says("*COMPLETION_WAIT*COMPLETION_WAIT*"));
	EXPECT(!r->done[0]);
	r->port.limit_ns = IOMMU_LIMIT_NS / 50;
	fails(r, with_id(r->next++));
	r->port.limit_ns = 0;
	EXPECT_EQ(captured[0], 0);

	/* It recovers: what was queued is done late, and waits succeed. */
	model_set_mode(r->m, MODEL_IMMEDIATE, 0);
	EXPECT_EQ(queue_wait(&r->q, submit(r, 1)), 0);
	expect_done(r, 0, r->next);
	ring_close(r);
}

TEST(queue, illegal_command_halts_and_is_shown,
     "a ring that halts at a command is noticed at once")
{
	struct ring *r = ring_open(MODEL_DELAYED, 1);
	struct command bad = { { FIELD_PREP(CMD0_OP, 15), 0xbad } };

	EXPECT_EQ(queue_wait(&r->q, submit(r, 3)), 0);
	EXPECT(fails(r, bad) < IOMMU_LIMIT_NS); /* a busy host */
	EXPECT(says("*the command ring has halted*"));
	EXPECT(says("*> *bad no such command*"));
	EXPECT(model_complaint(r->m));
	r->complaints_expected = true;
	ring_close(r);
}
