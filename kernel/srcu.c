/* SPDX-License-Identifier: MIT */
/*
 * srcu.c - the grace period
 *
 *   side 0   ==r1====            ====r4==
 *   side 1             ==r3=====
 *             ^ flip: later readers use side 1, r1 is waited for
 *
 * A reader that has read `side` but is not counted yet may be counted on a side
 * long after the flip: so a side is drained before it is used again, and a
 * grace period drains both.
 */
#include "kernel/srcu.h"

void srcu_init(struct srcu *s, enum lock_rank rank, const char *name)
{
	for (unsigned i = 0; i < MAX_CPUS; i++)
		for (unsigned side = 0; side < 2; side++) {
			atomic_init(&s->cpu[i].entered[side], 0);
			atomic_init(&s->cpu[i].left[side], 0);
		}
	atomic_init(&s->side, 0);
	atomic_init(&s->waiting, 0);
	rw_init(&s->sync, rank, name);
	waitq_init(&s->drained);
	atomic_init(&s->later, NULL);
	waitq_init(&s->called);
	waitq_init(&s->passed);
}

/*
 * Returns whether a side has no reader.  Exits are summed before entries: a reader
 * that enters and exits between the two sums makes the side look busy, never empty.
 */
static bool side_empty(struct srcu *s, unsigned side)
{
	uint64_t left = 0, entered = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		left += atomic_load(&s->cpu[i].left[side]);
	for (unsigned i = 0; i < MAX_CPUS; i++)
		entered += atomic_load(&s->cpu[i].entered[side]);
	return left == entered;
}

static void drain(struct srcu *s, unsigned side)
{
	atomic_store(&s->waiting, 1);
	wait_event(&s->drained, side_empty(s, side));
	atomic_store(&s->waiting, 0);
}

void synchronize_srcu(struct srcu *s)
{
	unsigned side;

	rw_write_lock(&s->sync);
	side = atomic_load(&s->side) & 1;
	drain(s, !side);
	atomic_store(&s->side, !side);
	drain(s, side);
	rw_write_unlock(&s->sync);
}

void call_srcu(struct srcu *s, struct srcu_head *head, srcu_fn *fn)
{
	head->fn = fn;
	head->next = atomic_load(&s->later);
	while (!atomic_compare_exchange_weak(&s->later, &head->next, head))
		;
	wake_all(&s->called);
}

/* Takes all calls from the list, the oldest first. */
static struct srcu_head *take_called(struct srcu *s)
{
	struct srcu_head *newest = atomic_exchange(&s->later, NULL);
	struct srcu_head *oldest = NULL;

	while (newest) {
		struct srcu_head *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

void srcu_serve(struct srcu *s)
{
	struct srcu_head *head, *next;

	wait_event(&s->called, atomic_load(&s->later));
	head = take_called(s);
	synchronize_srcu(s);
	for (; head; head = next) {
		next = head->next; /* head may be freed */
		head->fn(head);
	}
}

void srcu_worker(void *srcu)
{
	for (;;)
		srcu_serve(srcu);
}

struct barrier {
	struct srcu_head head;
	struct srcu *srcu;
	_Atomic bool passed;
};

static void barrier_pass(struct srcu_head *head)
{
	struct barrier *b = container_of(head, struct barrier, head);
	struct srcu *s = b->srcu;

	atomic_store(&b->passed, true); /* and with that it may be gone */
	wake_all(&s->passed);
}

void srcu_barrier(struct srcu *s)
{
	struct barrier b = { .srcu = s };

	call_srcu(s, &b.head, barrier_pass);
	wait_event(&s->passed, atomic_load(&b.passed));
}
