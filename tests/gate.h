/* SPDX-License-Identifier: MIT */
/*
 * gate.h - stop a thread at a named step, do something, let it go on
 *
 *	struct gate g;
 *
 *	gate_close(&g, "range_started", mm);
 *	t = spawn(discard, mm);
 *	gate_await(&g);			t stands between start and the lock
 *	...
 *	gate_open(&g);
 *	join(t);
 *
 * Only the first who comes is stopped.  Steps under a spin lock cannot be gates:
 * there a probe_hook() does its work on the spot.
 */
#pragma once

#include <stdatomic.h>
#include "kernel/probe.h"
#include "tests/world.h"

struct gate {
	const char *probe; /* NULL: entered by gate_enter() only           */
	const void *of;    /* first argument of the probe                  */
	_Atomic unsigned came;
	_Atomic bool open;
};

/* probes_begin(), and run fn(a, b, arg) at every probe of this name. */
void hook(const char *probe, probe_fn *fn, void *arg);
void unhook(const char *probe);

void gate_close(struct gate *g, const char *probe, const void *of);

/* Be stopped, as at a probe: for hooks of a test's own. */
void gate_enter(struct gate *g);

void gate_await(struct gate *g);
void gate_open(struct gate *g);

/* A thread that runs fn(arg); fails the test if there is none. */
struct task {
	void (*fn)(void *arg);
	void *arg;
	struct thread *thread;
	_Atomic bool done;
};

void spawn(struct task *t, void (*fn)(void *arg), void *arg);
void spawn_on(struct task *t, uint64_t cpus, void (*fn)(void *arg), void *arg);
void join(struct task *t);

/* Is it still running, after time enough for one who does not wait? */
bool still_waits(struct task *t);
