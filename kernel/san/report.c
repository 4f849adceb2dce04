/* SPDX-License-Identifier: MIT */
/*
 * report.c - print what a sanitizer found, and keep it for the running test
 *
 * Locks: one report at a time (busy); a report on another CPU waits, one from
 * within a report on the same CPU is dropped.  So is one that waits for a CPU
 * which a panic has stopped: it never gives busy up.
 */
#include <stdatomic.h>
#include "arch/cpu.h"
#include "arch/layout.h"
#include "arch/uaccess.h"
#include "kernel/ksym.h"
#include "kernel/printk.h"
#include "kernel/san/san.h"

#define PLACES 256

/* Key: (B) the CPU that holds busy */
static _Atomic unsigned busy;      /* 1 + the CPU that reports             */
static uint64_t places[PLACES];    /* (B) printed already                  */
static unsigned n_places;          /* (B)                                  */
static char first[200], took[200]; /* (B) first: for san_take(); ""     */

static bool enter(uint64_t *flags)
{
	unsigned none = 0, self;

	*flags = irq_save();
	self = cpu_id() + 1;
	if (atomic_load(&busy) == self) {
		irq_restore(*flags);
		return false;
	}
	while (!atomic_compare_exchange_weak(&busy, &none, self)) {
		if (none && atomic_load(&cpus[none - 1].stopped)) {
			irq_restore(*flags);
			return false;
		}
		none = 0;
		cpu_pause();
	}
	return true;
}

static void leave(uint64_t flags)
{
	atomic_store(&busy, 0);
	irq_restore(flags);
}

static bool is_known(uint64_t place)
{
	for (unsigned i = 0; i < n_places; i++)
		if (places[i] == place)
			return true;
	if (n_places < PLACES)
		places[n_places++] = place;
	return false;
}

static void print_trace(const struct san_trace *trace)
{
	for (unsigned i = 0; i < SAN_FRAMES && trace->rip[i]; i++) {
		uint64_t offset, size, at = trace->rip[i] - 1;
		const char *name = ksym_find(at, &offset, &size);

		printk("#   [<%016lx>] %s+0x%lx/0x%lx\n", at, name, offset,
		       size);
	}
}

/* A frame is two words, the caller's frame and the return address. */
noinline void san_trace(struct san_trace *trace)
{
	uint64_t rbp = (uint64_t)__builtin_frame_address(0), rip, next;
	unsigned n = 0;

	for (unsigned skip = 1; n < SAN_FRAMES; rbp = next) {
		if (rbp < VMAP_BASE || rbp & 7 || kernel_load64(rbp, &next) ||
		    kernel_load64(rbp + 8, &rip) || !rip)
			break;
		if (!skip)
			trace->rip[n++] = rip;
		skip = 0;
		if (next <= rbp)
			break;
	}
	if (n < SAN_FRAMES)
		trace->rip[n] = 0;
}

noinline void san_report(uint64_t rip, const struct san_trace *second,
			 const char *other, const char *fmt, ...)
{
	struct san_trace trace;
	uint64_t flags;
	char line[200];
	va_list args;

	if (!enter(&flags))
		return;
	va_start(args, fmt);
	vsnprintk(line, sizeof(line), fmt, args);
	va_end(args);
	if (!first[0])
		snprintk(first, sizeof(first), "%s", line);
	/* The second access by its caller: the first is the runtime itself. */
	if (!is_known(rip * 31 + (second ? second->rip[1] : 0))) {
		san_trace(&trace);
		printk("# sanitizer: %s\n", line);
		print_trace(&trace);
		if (second) {
			printk("#   %s:\n", other);
			print_trace(second);
		}
	}
	leave(flags);
}

const char *san_take(void)
{
	uint64_t flags;
	bool any;

	if (!enter(&flags))
		return NULL;
	any = first[0];
	snprintk(took, sizeof(took), "%s", first);
	first[0] = 0;
	leave(flags);
	return any ? took : NULL;
}

__attribute__((weak)) void san_end(void)
{
}
