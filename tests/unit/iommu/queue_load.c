/* SPDX-License-Identifier: MIT */
/*
 * queue_load.c - the command ring under load: a million commands
 *
 * tests/unit/iommu/queue.c looks at each step of a ring that is driven by hand.
 * Here four CPUs keep the smallest possible ring full until it has wrapped
 * thousands of times, on QEMU's device and on the model.  Most commands are
 * COMPLETION_WAITs that store a unique number, each into the next word of its
 * producer's page.  A slot that was overwritten, taken half written, or skipped
 * leaves an old number there, and one that is done twice brings one back.
 */
#include "iommu/hw/queue.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define PRODUCERS 4u
#define WORDS     ((unsigned)(PAGE_SIZE / sizeof(uint64_t)))
#define LONGEST   300u  /* commands of a batch: more than the ring holds     */
#define NO_DOMAIN 0xfeu /* a domain without members                         */

static struct producer {
	struct command_queue *q;
	unsigned commands, queued;
	struct rng rng;
	struct page *page;
	uint64_t want[WORDS], number;
	unsigned next; /* word                                              */
	struct command c[LONGEST];
} producers[PRODUCERS];

static struct command store_next(struct producer *p)
{
	unsigned i = p->next++ % WORDS;

	p->want[i] = ++p->number;
	return command_completion_wait(
		page_pa(p->page) + i * sizeof(p->want[0]), p->want[i]);
}

static struct command flush_next(struct producer *p)
{
	iova_t iova = rng_below(&p->rng, 1 << 20) * PAGE_SIZE;

	return command_invalidate_iommu_pages(
		NO_DOMAIN, command_range(iova, iova + PAGE_SIZE), true);
}

/* Queue up to a page full of numbers in batches; *seq is the last one's. */
static unsigned queue_some(struct producer *p, uint64_t *seq)
{
	unsigned left = WORDS;

	do {
		unsigned n = 1 + (unsigned)rng_below(&p->rng, LONGEST);

		n = n < left ? n : left;
		for (unsigned i = 0; i < n; i++)
			p->c[i] = rng_below(&p->rng, 8) ? store_next(p)
							: flush_next(p);
		if (queue_submit(p->q, p->c, n, seq))
			return 0;
		left -= n;
	} while (left && rng_below(&p->rng, 4));
	return WORDS - left;
}

static bool all_stored(const struct producer *p)
{
	const uint64_t *word = page_va(p->page);

	for (unsigned i = 0; i < WORDS; i++)
		if (READ_ONCE(word[i]) != p->want[i])
			return false;
	return true;
}

static void producer(void *arg)
{
	struct producer *p = arg;
	uint64_t seq;

	while (p->queued < p->commands) {
		unsigned n = queue_some(p, &seq);

		EXPECT(n);
		EXPECT_EQ(queue_wait(p->q, seq), 0);
		EXPECT(all_stored(p));
		p->queued += n;
		if (!n || !all_stored(p))
			return;
	}
}

static void open_producer(unsigned which, struct command_queue *q,
			  unsigned commands)
{
	struct producer *p = &producers[which];

	memset(p, 0, sizeof(*p));
	p->q = q;
	p->commands = commands;
	p->rng = rng_seed(test_seed() + which);
	p->number = (uint64_t)which << 60;
	p->page = page_alloc_zeroed();
	REQUIRE(p->page);
	page_set_kind(p->page, PAGE_DMA);
}

/* Queue so many commands from four CPUs; returns how often the ring wrapped. */
static unsigned load(struct command_queue *q, unsigned commands)
{
	struct thread *t[PRODUCERS];
	uint64_t before = q->commands, all = 0;

	for (unsigned i = 0; i < PRODUCERS; i++)
		open_producer(i, q, commands / PRODUCERS);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		t[i] = thread_create_on(BIT(i), "producer", producer,
					&producers[i]);
		REQUIRE(t[i]);
	}
	for (unsigned i = 0; i < PRODUCERS; i++) {
		thread_join(t[i]);
		all += producers[i].queued;
		page_put(producers[i].page);
	}
	EXPECT(all >= commands);
	return (unsigned)((q->commands - before) * sizeof(struct command) /
			  q->size);
}

/* ---- a CPU that stood still ---------------------------------------------- */

#define LATE 100u /* reads of registers until the model does anything         */

static struct {
	const struct iommu_port *port;
	struct model *m;
	unsigned reads;
} late;

static void be_late(struct iommu_fixture *s)
{
	late.m = s->model;
	late.reads = 0;
	if (s->model)
		model_set_mode(s->model, MODEL_STOPPED, 0);
}

static uint64_t read_late(void *ctx, unsigned reg)
{
	if (++late.reads == LATE && late.m)
		model_set_mode(late.m, MODEL_IMMEDIATE, 0);
	return reg_read(late.port, reg);
}

IOMMU_TEST(
	queue, time_alone_ends_no_wait,
	"a wait for a command or for room whose time is over when it "
	"begins, as for a CPU that stood still, goes on for some looks (C120)")
{
	struct command_queue *q = &s->iommu->queue;
	struct producer *p = &producers[0];
	struct iommu_port hasty = *q->port;
	uint64_t seq;

	open_producer(0, q, 0);
	for (unsigned i = 0; i < LONGEST; i++)
		p->c[i] = store_next(p);
	late.port = q->port;
	hasty.limit_ns = 1;
	hasty.read = read_late;
	q->port = &hasty;
	be_late(s);
	EXPECT_EQ(queue_run(q, p->c, 1), 0);
	be_late(s);
	EXPECT_EQ(queue_submit(q, p->c, LONGEST, &seq), 0);
	q->port = late.port;
	EXPECT_EQ(queue_wait(q, seq), 0);
	EXPECT(all_stored(p));
	page_put(p->page);
}

IOMMU_TEST_SMP(queue, wraps_thousands_of_times,
	       "four CPUs keep the smallest ring full for 10^6 commands (the "
	       "model: 10^5), and each is done once, before its own wait "
	       "returns (C119)",
	       PRODUCERS)
{
	struct command_queue *q = &s->iommu->queue;

	EXPECT_EQ(q->size, sizeof(struct command) << QUEUE_MIN_BITS);
	if (!s->model) {
		EXPECT(load(q, 1000000) > 3900);
		return;
	}
	/* Late and out of order, then late and many at once. */
	EXPECT(load(q, 40000) > 150);
	model_set_mode(s->model, MODEL_DELAYED, 2);
	EXPECT(load(q, 60000) > 230);
}
