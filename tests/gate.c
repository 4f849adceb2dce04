/* SPDX-License-Identifier: MIT */
/*
 * gate.c - threads that stand still where a test wants them
 */
#include "tests/gate.h"
#include "arch/clock.h"

#define PATIENCE 200 /* turns that an unhindered thread needs many times less */
#define READY_NS UINT64_C(100000000)

void hook(const char *probe, probe_fn *fn, void *arg)
{
	probes_begin();
	EXPECT(probe_hook(probe, fn, arg) > 0);
}

void unhook(const char *probe)
{
	probe_hook(probe, NULL, NULL);
}

static void at_probe(uint64_t a, uint64_t b, void *arg)
{
	struct gate *g = arg;

	if (a == (uint64_t)g->of)
		gate_enter(g);
}

void gate_close(struct gate *g, const char *probe, const void *of)
{
	*g = (struct gate){ .probe = probe, .of = of };
	if (probe)
		hook(probe, at_probe, g);
}

void gate_enter(struct gate *g)
{
	if (atomic_fetch_add(&g->came, 1))
		return;
	while (!atomic_load(&g->open))
		yield();
}

void gate_await(struct gate *g)
{
	while (!atomic_load(&g->came))
		yield();
}

void gate_open(struct gate *g)
{
	if (g->probe)
		unhook(g->probe);
	atomic_store(&g->open, true);
}

static void task_main(void *arg)
{
	struct task *t = arg;

	t->fn(t->arg);
	atomic_store(&t->done, true);
}

void spawn_on(struct task *t, uint64_t cpus, void (*fn)(void *arg), void *arg)
{
	*t = (struct task){ .fn = fn, .arg = arg };
	t->thread = thread_create_on(cpus, "task", task_main, t);
	REQUIRE(t->thread);
}

void spawn(struct task *t, void (*fn)(void *arg), void *arg)
{
	spawn_on(t, UINT64_MAX, fn, arg);
}

void join(struct task *t)
{
	thread_join(t->thread);
}

/*
 * Blocked is waiting; but one that is ready may only not have run yet, on a host
 * that is busy: it gets time.
 */
bool still_waits(struct task *t)
{
	uint64_t end = clock_ns() + READY_NS;
	unsigned looks = 0, blocked = 0;

	while (!atomic_load(&t->done) && blocked < PATIENCE &&
	       (looks++ < PATIENCE || clock_ns() < end)) {
		yield();
		if (READ_ONCE(t->thread->state) == THREAD_BLOCKED)
			blocked++;
		else
			blocked = 0;
	}
	return !atomic_load(&t->done);
}
