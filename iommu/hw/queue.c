/* SPDX-License-Identifier: MIT */
/*
 * queue.c - queue commands, wait for their completion
 *
 *      head (hardware)          tail (kernel)
 *        v                        v
 *   [....ccccccccccccccccccccccccc.......]   free: from tail round to head - 1
 *
 * A slot is complete in memory before the tail register names it (B57): x86 keeps
 * the order of stores, the register write is an uncached store after them, and the
 * release fence keeps the compiler from reordering them.
 *
 * Never wait for head == tail: QEMU's head reads `size` after the last slot,
 * and a head that has passed a command says only that it was fetched.
 */
#include "iommu/hw/queue.h"
#include <stdatomic.h>
#include "arch/clock.h"
#include "arch/cpu.h"
#include "iommu/hw/regs.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"

#define SLOT ((unsigned)sizeof(struct command))

#define DUMP_BEFORE \
	3u /* commands shown before the head, which may be at work */
#define DUMP_AFTER 8u

/* At least so many looks in port_limit_ns(): a virtual CPU may not have run in that
 * time.  The time is taken before a look, so what came in time is seen. */
#define LOOKS 1000u

int queue_start(struct command_queue *q, const struct iommu_port *port,
		unsigned bits)
{
	unsigned size = SLOT << bits;
	unsigned order = size > PAGE_SIZE ? bits - QUEUE_MIN_BITS : 0;
	int error;

	require(may_sleep());
	assert(bits >= QUEUE_MIN_BITS && bits <= QUEUE_MAX_BITS);
	*q = (struct command_queue){ .port = port, .size = size };
	spin_init(&q->lock, RANK_COMMAND, "command ring");
	q->pages = pages_alloc(order);
	q->done_page = page_alloc_zeroed();
	if (!q->pages || !q->done_page) {
		queue_stop(q);
		return err(ENOMEM);
	}
	page_set_kind_block(q->pages, PAGE_IOMMU);
	page_set_kind(q->done_page, PAGE_IOMMU);
	q->ring = page_va(q->pages);
	q->done = page_va(q->done_page);
	q->done_pa = page_pa(q->done_page);
	error = port_set_base(port, REG_CMD_BASE,
			      page_pa(q->pages) |
				      FIELD_PREP(RING_LENGTH, bits));
	reg_write(port, REG_CMD_HEAD, 0);
	reg_write(port, REG_CMD_TAIL, 0);
	return error;
}

void queue_stop(struct command_queue *q)
{
	if (q->pages)
		page_put(q->pages);
	if (q->done_page)
		page_put(q->done_page);
	q->pages = q->done_page = NULL;
}

static const char *const op_names[] = {
	[COMPLETION_WAIT] = "COMPLETION_WAIT",
	[INVALIDATE_DEVTAB_ENTRY] = "INVALIDATE_DEVTAB_ENTRY",
	[INVALIDATE_IOMMU_PAGES] = "INVALIDATE_IOMMU_PAGES",
	[INVALIDATE_IOTLB_PAGES] = "INVALIDATE_IOTLB_PAGES",
	[INVALIDATE_INTERRUPT_TABLE] = "INVALIDATE_INTERRUPT_TABLE",
	[PREFETCH_IOMMU_PAGES] = "PREFETCH_IOMMU_PAGES",
	[COMPLETE_PPR_REQUEST] = "COMPLETE_PPR_REQUEST",
	[INVALIDATE_IOMMU_ALL] = "INVALIDATE_IOMMU_ALL",
};

static void dump_command(const struct command_queue *q, unsigned at,
			 bool at_head)
{
	const struct command *c = &q->ring[at / SLOT];
	uint64_t op = FIELD_GET(CMD0_OP, c->w[0]);
	const char *name = op < ARRAY_SIZE(op_names) ? op_names[op] : NULL;

	printk("#  %c [%4x] %016lx %016lx %s\n", at_head ? '>' : ' ', at,
	       c->w[0], c->w[1], name ? name : "no such command");
}

void queue_dump(struct command_queue *q)
{
	unsigned head = (unsigned)reg_read(q->port, REG_CMD_HEAD) % q->size;
	unsigned tail = q->tail, used = (tail - head) % q->size / SLOT;
	uint64_t before = q->commands - used;

	printk("# iommu %s: ring of %u, head %x, tail %x, control %lx, "
	       "status %lx\n",
	       q->port->name, q->size / SLOT, head, tail,
	       reg_read(q->port, REG_CONTROL), reg_read(q->port, REG_STATUS));
	printk("# iommu %s: completed %lu of %lu\n", q->port->name,
	       READ_ONCE(*q->done), q->seq);
	before = before < DUMP_BEFORE ? before : DUMP_BEFORE;
	for (unsigned i = (unsigned)before; i; i--)
		dump_command(q, (head - i * SLOT) % q->size, false);
	for (unsigned i = 0; i < used && i < DUMP_AFTER; i++)
		dump_command(q, (head + i * SLOT) % q->size, !i);
}

/* Dump the ring, once for all threads that wait in vain.  Returns -ETIMEDOUT. */
static noinline int gave_up(struct command_queue *q, const char *what)
{
	if (!atomic_exchange(&q->broken, true)) {
		printk("# iommu %s: %s\n", q->port->name, what);
		queue_dump(q);
	}
	return err(ETIMEDOUT);
}

/* True if the hardware has stopped at a command that it does not accept. */
static bool halted(struct command_queue *q)
{
	/* Reading STATUS is also what lets the strict model's time pass. */
	return !(reg_read(q->port, REG_STATUS) & STATUS_CMD_RUN) &&
	       (reg_read(q->port, REG_CONTROL) & CONTROL_CMD_BUF_EN);
}

/* Tell the hardware the tail, an offset inside the ring.  Context: q->lock held. */
static void doorbell(struct command_queue *q)
{
	require(spin_held(&q->lock));
	require(q->tail < q->size);
	atomic_thread_fence(memory_order_release);
	reg_write(q->port, REG_CMD_TAIL, q->tail);
}

/* Wait for room for one slot; one slot always stays free.  Context: q->lock held. */
static noinline int room_wait(struct command_queue *q)
{
	uint64_t end = 0;

	require(spin_held(&q->lock));
	for (unsigned looks = 0; q->room <= SLOT; looks++) {
		bool over = looks >= LOOKS && clock_ns() > end;
		unsigned head = (unsigned)reg_read(q->port, REG_CMD_HEAD);

		q->room = (head % q->size - q->tail - 1) % q->size + 1;
		if (q->room > SLOT)
			break;
		if (!looks)
			end = clock_ns() + port_limit_ns(q->port);
		if (halted(q) || over)
			return gave_up(q, "the command ring does not move");
		cpu_pause();
	}
	return 0;
}

/* Put one command into the ring.  Context: q->lock held. */
static inline int put(struct command_queue *q, struct command c)
{
	int error = likely(q->room > SLOT) ? 0 : room_wait(q);

	require(spin_held(&q->lock));
	if (unlikely(error))
		return error;
	if (CONFIG_CHECK) /* for timelines; costs a release nothing */
		PROBE(iommu_command, c.w[0], c.w[1]);
	q->ring[q->tail / SLOT] = c;
	q->tail = (q->tail + SLOT) % q->size;
	q->room -= SLOT;
	q->commands++;
	return 0;
}

int queue_submit(struct command_queue *q, const struct command *c, unsigned n,
		 uint64_t *seq)
{
	int error = 0;

	require(locks_below(RANK_COMMAND));
	*seq = 0;
	spin_lock(&q->lock);
	for (unsigned i = 0; i < n && !error; i++) {
		/* A full ring moves only after the hardware has got the tail. */
		if (q->room <= 2 * SLOT)
			doorbell(q);
		error = put(q, c[i]);
	}
	if (!error) {
		*seq = ++q->seq; //: completion-sequence
		PROBE(iommu_number, *seq, n);
		error = put(q, command_completion_wait(q->done_pa, *seq));
	}
	doorbell(q);
	q->waits++;
	spin_unlock(&q->lock);
	PROBE(iommu_submit, *seq, n);
	return error;
}

/* Look for the number, and at the hardware, until one of them ends the wait. */
int queue_wait_slow(struct command_queue *q, uint64_t seq)
{
	uint64_t end = clock_ns() + port_limit_ns(q->port);

	for (unsigned looks = 0;; looks++) {
		bool over = looks >= LOOKS && clock_ns() > end;

		if (queue_completed(q, seq))
			return 0;
		if (halted(q) && !queue_completed(q, seq))
			return gave_up(q, "the command ring has halted");
		if (over)
			return gave_up(q, "a command was not completed");
		cpu_pause();
	}
}

int queue_run(struct command_queue *q, const struct command *c, unsigned n)
{
	uint64_t seq;
	int error = queue_submit(q, c, n, &seq);

	return error ? error : queue_wait(q, seq);
}
