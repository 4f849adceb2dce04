/* SPDX-License-Identifier: MIT */
/*
 * probe.h - the one trace facility: a mark at every step of a protocol
 *
 *	PROBE(pte_clear, mm, va);
 *
 * A hit appends to the ring of its CPU; panics and failed tests dump the rings,
 * merged by time.  A test can run code in the middle of a protocol by hooking a
 * probe: that makes races deterministic, on one CPU too.
 *
 * Switched off (as RELEASE starts) a probe is one load and one branch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "arch/compiler.h"

/* Runs at the probe, with the locks held that are held there. */
typedef void probe_fn(uint64_t a, uint64_t b, void *arg);

struct probe_point {
	const char *name, *file;
	int line;
	uint32_t name_size; /* with the zero: most names differ in it       */
	probe_fn *hook; /* NULL, or run at every hit                        */
	void *arg;
	probe_fn *watch; /* the same, of a checker; its arg is the name     */
};

struct probe_hit {
	uint64_t tsc;
	const struct probe_point *point;
	uint64_t a, b;
	uint32_t thread, cpu;
};

extern bool probe_on;

void probe_record(const struct probe_point *point, uint64_t a, uint64_t b);

/* The compiler would load the flag, and then test it. */
static inline bool probes_on(void)
{
	bool on;

	__asm__ volatile("cmpb $0, %1" : "=@ccne"(on) : "m"(probe_on));
	return on;
}

#define PROBE(name_, a_, b_)                                                   \
	do {                                                                   \
		static struct probe_point point_ = { #name_,   __FILE__,       \
						     __LINE__, sizeof(#name_), \
						     NULL,     NULL,           \
						     NULL };                   \
		static struct probe_point *const at_point_                     \
			__attribute__((section("vv_probes"), used)) = &point_; \
		if (unlikely(probes_on()))                                     \
			probe_record(&point_, (uint64_t)(a_), (uint64_t)(b_)); \
	} while (0)

/*
 * Run fn(a, b, arg) at every probe of this name; NULL: no more, but one that
 * already runs on another CPU may still be running.  Without probe_on nothing
 * is hit and no hook runs.  Returns how many probes have the name.
 */
unsigned probe_hook(const char *name, probe_fn *fn, void *arg);

/*
 * The same for checkers, which run while tests have hooks of their own: fn runs
 * before the hook, and its arg is the probe's name.
 */
unsigned probe_watch(const char *name, probe_fn *fn);

/*
 * Call fn(hit) at every hit of every probe, on its CPU, after the checkers' functions
 * and before hooks; NULL: no more.  For timelines: one at a time.
 */
void probe_observe(void (*fn)(const struct probe_hit *hit));

/*
 * Copy the newest hits since `since` (TSC), oldest first, at most max; of first
 * argument a, of any if a is 0.  Returns how many.
 */
size_t probe_collect(struct probe_hit *out, size_t max, uint64_t since,
		     uint64_t a);

/* Prints the last n hits of all CPUs, merged by time. */
void probe_dump(size_t n);
