/* SPDX-License-Identifier: MIT */
/*
 * srcu.c - the grace period
 *
 *   side 0   ==r1====            ====r4==
 *   side 1             ==r3=====
 *             ^ flip: newcomers go to side 1, r1 is waited for
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
}

/*
 * Exits are summed before entries: a reader who comes and goes between the two
 * sums makes the side look busy, never empty.
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
