/* SPDX-License-Identifier: MIT */
/*
 * smp.c - start, call and stop the other CPUs
 *
 * A call has one slot per caller, so that callers never wait for each other's
 * slot; a CPU that is called searches all slots.  A caller waits with interrupts on
 * and so serves the calls of other CPUs: no two CPUs can wait for each other forever.
 */
#include "arch/smp.h"
#include <stdatomic.h>
#include "arch/clock.h"
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/layout.h"
#include "arch/trap.h"

#define TRAMPOLINE_PA UINT64_C(0x8000) /* below 64 KiB: never given to pmm */
#define CALL_NS       UINT64_C(60000000000) /* more than the limit of any test */
#define CALL_POLLS    (1u << 20)            /* between looks at the clock  */
#define START_NS      UINT64_C(500000000)
#define WASTE_NS      UINT64_C(2000000000) /* spent on CPUs that do not start */
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
_Atomic uint32_t ap_claimed; /* by the CPU that uses them: enum below    */

enum {
	AP_CLOSED = 0,
	AP_OPEN = 1,
	AP_TAKEN = 2
};

static void (*ap_entry)(void);
static void (*lost)(unsigned cpu); /* before the first call              */
static unsigned ap_id;
static _Atomic unsigned online = 1; /* CPUs 0 .. online - 1 are up      */
static struct call calls[MAX_CPUS];
static bool (*nmi_hook)(struct trap_frame *frame);
static _Atomic bool stop_asked; /* by smp_stop_others(), for good */

unsigned cpu_count(void)
{
	return atomic_load_explicit(&online, memory_order_acquire);
}

uint64_t smp_online_mask(void)
{
	return BIT(cpu_count()) - 1;
}

/*
 * The first C function on another CPU, on its own stack, interrupts off.
 * smp_start.asm has claimed number and stack: of two late CPUs only one gets here.
 */
void ap_main(void);
void ap_main(void)
{
	lapic_join();
	cpu_init(ap_id, lapic_id());
	lapic_init();
	atomic_fetch_add_explicit(&online, 1, memory_order_release);
	ap_entry();
	cpu_halt();
}

/* The tick ends each wait. */
static bool came_up(unsigned before, uint64_t limit)
{
	uint64_t end = clock_ns() + limit;

	while (cpu_count() == before && clock_ns() < end)
		cpu_wait();
	return cpu_count() != before;
}

static bool ap_start_one(uint32_t id, void *stack)
{
	unsigned before = cpu_count();
	uint32_t open = AP_OPEN;

	ap_id = before;
	ap_boot_stack = stack;
	atomic_store(&ap_claimed, AP_OPEN);
	lapic_start_cpu(id, TRAMPOLINE_PA);
	if (came_up(before, START_NS))
		return true;
	if (atomic_compare_exchange_strong(&ap_claimed, &open, AP_CLOSED))
		return false;
	/* It has claimed its number: it is between two instructions. */
	return came_up(before, STOP_NS);
}

static void copy_trampoline(void)
{
	char *page = phys_to_virt(TRAMPOLINE_PA);

	for (long i = 0; i < ap_trampoline_end - ap_trampoline; i++)
		page[i] = ap_trampoline[i];
}

void smp_start(const uint32_t *ids, unsigned n, struct smp_plan *plan)
{
	uint64_t wasted = 0;
	void *top = NULL;
	unsigned i;

	copy_trampoline();
	ap_boot_root = plan->root;
	ap_entry = plan->entry;
	for (i = 0; i < n && cpu_count() < MAX_CPUS && wasted < WASTE_NS; i++) {
		uint64_t start = clock_ns();

		if (!top)
			top = plan->stack(cpu_count());
		if (top && ap_start_one(ids[i], top)) {
			top = NULL;
			continue;
		}
		plan->failed++;
		wasted += clock_ns() - start;
	}
	if (top)
		plan->unstack(cpu_count(), top);
	if (cpu_count() < MAX_CPUS)
		plan->untried = n - i;
	else
		plan->surplus = n - i;
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

void smp_set_lost(void (*fn)(unsigned cpu))
{
	lost = fn;
}

/* Waits for the answers; reads the clock rarely, the answers often. */
static void wait_answers(struct call *c)
{
	uint64_t end = 0, left;

	for (unsigned n = 1;
	     (left = atomic_load_explicit(&c->pending, memory_order_acquire));
	     n++) {
		cpu_pause();
		if (n % CALL_POLLS)
			continue;
		if (!end)
			end = clock_ns() + CALL_NS;
		else if (clock_ns() > end)
			lost((unsigned)__builtin_ctzll(left));
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
	wait_answers(c);
}

/*
 * Halt here, so that the backtrace shows the place: but only if another CPU asked for
 * it.  A device whose messages are not remapped can send an NMI too, and so can the
 * NMI pin, which a person or a test runner uses.
 */
static void stop_if_asked(struct trap_frame *frame)
{
	struct cpu *cpu = this_cpu();

	if (!atomic_load_explicit(&stop_asked, memory_order_acquire)) {
		if (lapic_in_service(TRAP_NMI)) /* a message of vector 2 */
			trap_unserved(frame);
		else if (!nmi_hook || !nmi_hook(frame))
			trap_stray(TRAP_NMI);
		return;
	}
	cpu->stop_frame = frame;
	atomic_store_explicit(&cpu->stopped, 1, memory_order_release);
	cpu_halt();
}

void smp_set_nmi(bool (*fn)(struct trap_frame *frame))
{
	nmi_hook = fn;
}

void smp_stop_others(void)
{
	uint64_t end = clock_ns() + STOP_NS;
	unsigned self = cpu_id(), n = cpu_count();

	atomic_store_explicit(&stop_asked, true, memory_order_release);
	for (unsigned i = 0; i < n; i++)
		if (i != self)
			lapic_nmi(i);
	for (unsigned i = 0; i < n; i++)
		while (i != self && clock_ns() < end &&
		       !atomic_load_explicit(&cpus[i].stopped,
					     memory_order_acquire))
			cpu_pause();
}

void smp_init(void)
{
	trap_set_handler(IRQ_CALL, serve_calls);
	trap_set_handler(TRAP_NMI, stop_if_asked);
}
