/* SPDX-License-Identifier: MIT */
/*
 * footprint.c - a hash of the happens-before order of an execution's steps
 *
 *   step   = hash of the actor's step before, and for each word that it touches:
 *            whether it writes it, and of the step that wrote it last
 *   order  = sum of the hashes of all steps
 *
 * So the hashes say which write each read follows, and in which order each word was
 * written: that is all that values depend on.  The sum does not depend on the order
 * of independent steps.  (Musuvathi, Qadeer:
 * Partial-order reduction for context-bounded state exploration, MSR-TR-2007-12.)
 *
 * Not instrumented, as it runs inside each access (SAN_OFF in the Makefile).
 */
#include "tests/explore/footprint.h"
#include "arch/cpu.h"
#include "kernel/string.h"
#include "tests/explore/actors.h"

/* Words of an execution, a power of 2; those of one step. */
#define WORDS      (CONFIG_KCSAN ? 1u << 17 : 64u)
#define STEP_WORDS (CONFIG_KCSAN ? 16384u : 64u)

/* What is known of a word.  addr 1 stands for what cannot be seen. */
static struct word {
	uint64_t addr;      /* 0: free; else of its 8 bytes, plus 1    */
	uint64_t writer;    /* hash of the step that wrote it last     */
	uint32_t execution; /* in which the above holds                */
	uint32_t step;      /* the last that touched it                */
	bool written;       /* by that step                            */
} words[WORDS];

static struct {
	struct word *touched[STEP_WORDS];
	unsigned n_touched, n_words;
	uint64_t last[ACTORS_MAX]; /* hash of each actor's last step     */
	uint64_t order;
	uint32_t execution, step;
	unsigned cpu, observers;
	bool open;     /* a step has begun                                 */
	bool overflow; /* the execution touches too many words             */
} now;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

void footprint_begin(void)
{
	now.cpu = cpu_id();
	now.execution++;
	now.order = 1;
	now.n_words = 0;
	now.open = now.overflow = false;
	now.observers = 0;
	memset(now.last, 0, sizeof(now.last));
}

void footprint_end(void)
{
	now.open = false;
}

/* Returns NULL if there is no room. */
static struct word *find(uint64_t key)
{
	uint64_t at = mix(key);

	for (;; at++) {
		struct word *w = &words[at % WORDS];

		if (w->execution == now.execution && w->addr == key)
			return w;
		if (w->execution == now.execution)
			continue;
		if (++now.n_words > WORDS / 2)
			return NULL;
		*w = (struct word){ .addr = key, .execution = now.execution };
		return w;
	}
}

static void touch(uint64_t key, bool write)
{
	struct word *w = now.overflow ? NULL : find(key);

	if (w && w->step == now.step) {
		w->written |= write;
		return;
	}
	if (!w || now.n_touched == STEP_WORDS) {
		now.overflow = true;
		return;
	}
	w->step = now.step;
	w->written = write;
	now.touched[now.n_touched++] = w;
}

/* The CPU's own words: each thread counts its preemptions as on a CPU of its own. */
static bool of_the_cpu(uint64_t addr)
{
	return addr - (uint64_t)cpus < sizeof(struct cpu) * MAX_CPUS;
}

static bool counts(void)
{
	return now.open && cpu_id() == now.cpu &&
	       (!now.observers || cpu_irq_depth());
}

void footprint_touch(uint64_t addr, size_t size, bool write)
{
	uint64_t flags;

	if (!counts() || of_the_cpu(addr))
		return;
	flags = irq_save(); /* an interrupt is a part of the step */
	for (uint64_t word = addr >> 3; size && word <= (addr + size - 1) >> 3;
	     word++)
		touch(word + 2, write);
	irq_restore(flags);
}

void footprint_unseen(void)
{
	uint64_t flags = irq_save();

	if (counts())
		touch(1, true);
	irq_restore(flags);
}

void footprint_observe(bool begin)
{
	now.observers += begin ? 1 : -1u;
}

void footprint_step(void)
{
	now.step++;
	now.n_touched = 0;
	now.open = true;
	touch(1, false);
}

void footprint_step_end(unsigned actor)
{
	uint64_t hash;

	if (!now.open)
		return;
	now.open = false;
	hash = mix(now.last[actor] + actor + 1);
	for (unsigned i = 0; i < now.n_touched; i++) {
		const struct word *w = now.touched[i];

		hash += mix(w->writer + w->written);
	}
	hash = mix(hash);
	for (unsigned i = 0; i < now.n_touched; i++)
		if (now.touched[i]->written)
			now.touched[i]->writer = hash;
	now.last[actor] = hash;
	now.order += mix(hash);
}

uint64_t footprint_order(void)
{
	return now.overflow ? 0 : now.order;
}
