/* SPDX-License-Identifier: MIT */
/*
 * probe.c - a ring for every CPU, merged when read
 *
 * A CPU writes only its own ring, with interrupts off for a few instructions.
 * Readers run at quiet points or in a panic; a hit torn by a racing writer can
 * only be the oldest, which they skip.
 */
#include "kernel/probe.h"
#include "arch/cpu.h"
#include "kernel/explore.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "kernel/thread.h"

#define RING (CONFIG_CHECK ? 512u : 64u) /* a release starts with them off */

struct ring {
	struct probe_hit hits[RING];
	uint64_t next; /* hits ever; this CPU only */
};

extern struct probe_point *const __start_vv_probes[];
extern struct probe_point *const __stop_vv_probes[];

static struct ring rings[MAX_CPUS];
static void (*observer)(const struct probe_hit *hit);
bool probe_on = CONFIG_CHECK;

/* The ring may have wrapped since: hit is a copy. */
static noinline void observed(const struct probe_hit *hit)
{
	void (*fn)(const struct probe_hit *) =
		__atomic_load_n(&observer, __ATOMIC_ACQUIRE);

	if (fn)
		fn(hit);
}

void probe_record(const struct probe_point *point, uint64_t a, uint64_t b)
{
	probe_fn *hook = __atomic_load_n(&point->hook, __ATOMIC_ACQUIRE);
	probe_fn *watch = __atomic_load_n(&point->watch, __ATOMIC_ACQUIRE);
	uint64_t flags = irq_save();
	bool explores = explored();
	struct thread *t = cpu_current();
	uint32_t cpu = cpu_id(), id = t ? t->id : 0;
	struct ring *r = &rings[cpu];
	struct probe_hit *h = &r->hits[r->next % RING];
	uint64_t tsc;

	if (explores)
		explorer->observe(true);
	tsc = rdtsc();
	*h = (struct probe_hit){ tsc, point, a, b, id, cpu };
	r->next++;
	irq_restore(flags);
	if (unlikely(watch))
		watch(a, b, (void *)point->name);
	if (unlikely(READ_ONCE(observer)))
		observed(&(struct probe_hit){ tsc, point, a, b, id, cpu });
	if (explores)
		explorer->observe(false);
	if (unlikely(hook))
		hook(a, b, READ_ONCE(point->arg));
	if (explored())
		explorer->point(point->name, a, b);
}

static bool is_named(const struct probe_point *point, const char *name,
		     size_t size)
{
	return point->name_size == size && !strcmp(point->name, name);
}

unsigned probe_hook(const char *name, probe_fn *fn, void *arg)
{
	size_t size = strlen(name) + 1;
	unsigned n = 0;

	for (struct probe_point *const *at = __start_vv_probes;
	     at < __stop_vv_probes; at++) {
		if (!is_named(*at, name, size))
			continue;
		if (fn) /* removing leaves arg: a hook may be running */
			WRITE_ONCE((*at)->arg, arg);
		__atomic_store_n(&(*at)->hook, fn, __ATOMIC_RELEASE);
		n++;
	}
	return n;
}

void probe_observe(void (*fn)(const struct probe_hit *hit))
{
	__atomic_store_n(&observer, fn, __ATOMIC_RELEASE);
}

unsigned probe_watch(const char *name, probe_fn *fn)
{
	size_t size = strlen(name) + 1;
	unsigned n = 0;

	for (struct probe_point *const *at = __start_vv_probes;
	     at < __stop_vv_probes; at++) {
		if (!is_named(*at, name, size))
			continue;
		__atomic_store_n(&(*at)->watch, fn, __ATOMIC_RELEASE);
		n++;
	}
	return n;
}

/* Returns the newest hit that is older than each CPU's cursor. */
static struct probe_hit *newest(uint64_t cursor[MAX_CPUS])
{
	struct probe_hit *best = NULL;
	unsigned from = 0;

	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++) {
		struct probe_hit *h;

		if (!cursor[cpu] || cursor[cpu] + RING <= rings[cpu].next + 1)
			continue;
		h = &rings[cpu].hits[(cursor[cpu] - 1) % RING];
		if (!best || h->tsc > best->tsc) {
			best = h;
			from = cpu;
		}
	}
	if (best)
		cursor[from]--;
	return best;
}

size_t probe_collect(struct probe_hit *out, size_t max, uint64_t since,
		     uint64_t a)
{
	uint64_t cursor[MAX_CPUS];
	struct probe_hit *h;
	size_t n = 0;

	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
		cursor[cpu] = READ_ONCE(rings[cpu].next);
	while (n < max && (h = newest(cursor)) && h->tsc >= since)
		if (!a || h->a == a)
			out[n++] = *h;
	for (size_t i = 0; i < n / 2; i++) {
		struct probe_hit swap = out[i];

		out[i] = out[n - 1 - i];
		out[n - 1 - i] = swap;
	}
	return n;
}

void probe_dump(size_t n)
{
	static struct probe_hit hits[64];

	n = probe_collect(hits, n < 64 ? n : 64, 0, 0);
	for (size_t i = 0; i < n; i++)
		printk("  probe %lu cpu%u thread %u %-16s %lx %lx  %s:%d\n",
		       hits[i].tsc, hits[i].cpu, hits[i].thread,
		       hits[i].point->name, hits[i].a, hits[i].b,
		       hits[i].point->file, hits[i].point->line);
}
