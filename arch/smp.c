/* SPDX-License-Identifier: MIT */
/*
 * smp.c - the other CPUs: start, call, stop
 *
 * A call has one slot per caller, so that callers never wait for each other's
 * slot; a CPU that is called looks through all slots.  Who waits has interrupts
 * on and so serves the calls of others: no cycle of waits can close.
 */
#include "arch/smp.h"
#include <stdatomic.h>
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/layout.h"
#include "arch/trap.h"

#define TRAMPOLINE_PA UINT64_C(0x8000) /* below 64 KiB: never given to pmm */
#define START_NS      UINT64_C(500000000)
#define STOP_NS       UINT64_C(3000000000) /* a busy host may keep it waiting */

struct call {
	void (*fn)(void *arg);
	void *arg;
	_Atomic uint64_t pending; /* CPUs that have not answered; release
				   * publishes fn and arg, and the answer */
};

extern char ap_trampoline[], ap_trampoline_end[];

/* Read by smp_start.asm. */
pa_t ap_boot_root;
void *ap_boot_stack;

static void (*ap_entry)(void);
static uint32_t ap_lapic_id;
static unsigned ap_id;
static _Atomic unsigned online = 1; /* CPUs 0 .. online - 1 are up      */
static _Atomic uint32_t ap_claimed; /* who may still come up: see below */
static struct call calls[MAX_CPUS];

unsigned cpu_count(void)
{
	return atomic_load_explicit(&online, memory_order_acquire);
}

uint64_t smp_online_mask(void)
{
	return BIT(cpu_count()) - 1;
}

/* First C on another CPU, on its own stack, interrupts off. */
void ap_main(void);
void ap_main(void)
{
	uint32_t open = 1;

	/* Too late: the boot CPU has given up and may start another one. */
	if (!atomic_compare_exchange_strong(&ap_claimed, &open, 2))
		cpu_halt();
	cpu_init(ap_id, ap_lapic_id);
	lapic_init();
	atomic_fetch_add_explicit(&online, 1, memory_order_release);
	ap_entry();
	cpu_halt();
}

static bool ap_start_one(uint32_t id, void *stack)
{
	unsigned before = cpu_count();
	uint64_t end = clock_ns() + START_NS;
	uint32_t open = 1;

	ap_id = before;
	ap_lapic_id = id;
	ap_boot_stack = stack;
	atomic_store(&ap_claimed, 1);
	lapic_start_cpu(id, TRAMPOLINE_PA);
	while (cpu_count() == before && clock_ns() < end)
		cpu_pause();
	if (cpu_count() == before &&
	    atomic_compare_exchange_strong(&ap_claimed, &open, 0))
		return false;
	/* It has claimed its number: it is between two instructions. */
	while (cpu_count() == before)
		cpu_pause();
	return true;
}

unsigned smp_start(const uint32_t *ids, unsigned n, void *(*stack)(unsigned i),
		   pa_t root, void (*entry)(void))
{
	char *page = phys_to_virt(TRAMPOLINE_PA);
	unsigned failed = 0;

	for (long i = 0; i < ap_trampoline_end - ap_trampoline; i++)
		page[i] = ap_trampoline[i];
	ap_boot_root = root;
	ap_entry = entry;

	for (unsigned i = 0; i < n && cpu_count() < MAX_CPUS; i++) {
		void *top;

		if (ids[i] == cpus[0].lapic_id)
			continue;
		top = stack(cpu_count());
		if (!top || !ap_start_one(ids[i], top))
			failed++;
	}
	return failed;
}

static void serve_calls(struct trap_frame *frame)
{
	uint64_t me = BIT(cpu_id());

	(void)frame;
	lapic_eoi();
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		struct call *c = &calls[i];

		if (!(atomic_load_explicit(&c->pending, memory_order_acquire) &
		      me))
			continue;
		c->fn(c->arg);
		atomic_fetch_and_explicit(&c->pending, ~me,
					  memory_order_release);
	}
}

void smp_call(uint64_t mask, void (*fn)(void *arg), void *arg)
{
	unsigned self = cpu_id();
	struct call *c = &calls[self];
	uint64_t others = mask & ~BIT(self) & smp_online_mask();

	if (mask & BIT(self))
		fn(arg);
	if (!others)
		return;
	c->fn = fn;
	c->arg = arg;
	atomic_store_explicit(&c->pending, others, memory_order_release);
	for (unsigned i = 0; i < MAX_CPUS; i++)
		if (others & BIT(i))
			lapic_ipi(i, IRQ_CALL);
	while (atomic_load_explicit(&c->pending, memory_order_acquire))
		cpu_pause();
}

/* An NMI means: somebody panics.  Stay, where the backtrace can find us. */
static void stop_here(struct trap_frame *frame)
{
	struct cpu *cpu = this_cpu();

	cpu->stop_frame = frame;
	atomic_store_explicit(&cpu->stopped, 1, memory_order_release);
	cpu_halt();
}

void smp_stop_others(void)
{
	uint64_t end = clock_ns() + STOP_NS;
	unsigned self = cpu_id(), n = cpu_count();

	if (n == 1)
		return;
	lapic_nmi_others();
	for (unsigned i = 0; i < n; i++)
		while (i != self && clock_ns() < end &&
		       !atomic_load_explicit(&cpus[i].stopped,
					     memory_order_acquire))
			cpu_pause();
}

void smp_init(void)
{
	trap_set_handler(IRQ_CALL, serve_calls);
	trap_set_handler(TRAP_NMI, stop_here);
}
