/* SPDX-License-Identifier: MIT */
/*
 * trap.c - the IDT and the dispatch of its vectors
 */
#include "arch/trap.h"
#include <stdatomic.h>
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/uaccess.h"

#define STUB_SIZE 16
#define GATE_INTR 0x8e /* present, ring 0, interrupts off             */
#define CODE_SEL  0x08

/* SDM vol. 3, fig. 6-8: 64-bit IDT gate. */
struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM: a 64-bit gate is 16 bytes");

struct extable {
	uint64_t insn, next;
};

extern char trap_stubs[];
extern const struct extable extable_start[], extable_end[];

static struct gate idt[TRAP_VECTORS];
static trap_handler *handlers[TRAP_VECTORS]; /* each has one             */
static _Atomic uint64_t strays[TRAP_VECTORS];
static trap_handler *fatal;
static void (*preempt)(void);

static const char *const names[] = {
	[0] = "#DE divide error",
	[1] = "#DB debug",
	[2] = "NMI",
	[3] = "#BP breakpoint",
	[6] = "#UD undefined opcode",
	[8] = "#DF double fault",
	[10] = "#TS bad TSS",
	[11] = "#NP segment not present",
	[12] = "#SS stack fault",
	[13] = "#GP general protection",
	[14] = "#PF page fault",
	[18] = "#MC machine check",
};

const char *trap_name(unsigned vector)
{
	if (vector < ARRAY_SIZE(names) && names[vector])
		return names[vector];
	return vector < 32 ? "exception" : "unexpected interrupt";
}

void trap_set_handler(unsigned vector, trap_handler *fn)
{
	WRITE_ONCE(handlers[vector], fn ? fn : trap_unserved);
}

bool trap_served(unsigned vector)
{
	return READ_ONCE(handlers[vector]) != trap_unserved;
}

void trap_set_fatal(trap_handler *fn)
{
	fatal = fn;
}

void trap_set_preempt(void (*fn)(void))
{
	preempt = fn;
}

bool trap_fixup(struct trap_frame *frame)
{
	for (const struct extable *e = extable_start; e < extable_end; e++) {
		if (e->insn != frame->rip)
			continue;
		frame->rip = e->next;
		return true;
	}
	return false;
}

void trap_fatal(struct trap_frame *frame)
{
	if (fatal)
		fatal(frame);
	cpu_halt();
}

void trap_stray(unsigned vector)
{
	atomic_fetch_add_explicit(&strays[vector], 1, memory_order_relaxed);
}

uint64_t trap_stray_count(unsigned vector)
{
	return atomic_load_explicit(&strays[vector], memory_order_relaxed);
}

uint64_t trap_stray_take(unsigned vector)
{
	return atomic_exchange_explicit(&strays[vector], 0,
					memory_order_relaxed);
}

/*
 * A local APIC delivers the vectors of exceptions too (SDM: 16-31, QEMU: all but
 * 0): then the vector is in service there.
 */
void trap_unserved(struct trap_frame *frame)
{
	unsigned vector = (unsigned)frame->vector;
	bool in_service = lapic_in_service(vector);

	if (in_service)
		lapic_eoi();
	if (in_service || vector >= 32) {
		trap_stray(vector);
		return;
	}
	if (frame->vector == TRAP_GP && trap_fixup(frame))
		return;
	trap_fatal(frame);
}

/* Called by trap.asm. */
void trap_dispatch(struct trap_frame *frame);
void trap_dispatch(struct trap_frame *frame)
{
	trap_handler *fn = handlers[frame->vector];
	struct cpu *cpu;

	if (frame->vector < 32) {
		fn(frame);
		return;
	}
	cpu = this_cpu();
	cpu->irq_depth++;
	fn(frame);
	cpu->irq_depth--;
	/* Racing setters only ever set it; a miss is seen at the next tick. */
	if (READ_ONCE(cpu->need_resched) && !cpu->preempt_count &&
	    !cpu->irq_depth && preempt)
		preempt();
}

static uint8_t trap_ist(unsigned vector)
{
	switch (vector) {
	case TRAP_DF:
		return 1;
	case TRAP_NMI:
		return 2;
	case TRAP_MC:
		return 3;
	default:
		return 0;
	}
}

void trap_init(void)
{
	for (unsigned v = 0; v < TRAP_VECTORS; v++) {
		uint64_t at = (uint64_t)trap_stubs + v * STUB_SIZE;

		handlers[v] = trap_unserved;
		idt[v] = (struct gate){ .offset0 = (uint16_t)at,
					.selector = CODE_SEL,
					.ist = trap_ist(v),
					.type = GATE_INTR,
					.offset1 = (uint16_t)(at >> 16),
					.offset2 = (uint32_t)(at >> 32) };
	}
}

void trap_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) p = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" ::"m"(p));
}
