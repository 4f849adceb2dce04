/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - this CPU: its private data, its interrupt flag, its registers
 *
 * GS.base of every CPU points to its struct cpu from cpu_init() on; the fields
 * read through gs below are those the fast paths need.  A value that names the
 * CPU (cpu_id()) stays true only while preemption is off.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/trap.h"
#include "arch/types.h"

#define MAX_CPUS 8

struct thread;

/* Key: (C) only this CPU  (I) immutable after cpu_init()  (A) atomic */
struct cpu {
	struct cpu *self;              /* (I) at gs:0                        */
	unsigned preempt_count;        /* (C) gs:8, 0: may be preempted      */
	unsigned irq_depth;            /* (C) gs:12, interrupts being served */
	struct thread *current;        /* (C) gs:16                          */
	unsigned id;                   /* (I) gs:24, 0 .. cpu_count() - 1    */
	unsigned need_resched;         /* (A) gs:28, set by other CPUs too   */
	uint32_t lapic_id;             /* (I)                                */
	_Atomic uint32_t stopped;      /* (A) halted by smp_stop_others()    */
	struct trap_frame *stop_frame; /* (C) its registers at that moment  */
	struct trap_frame panic_frame; /* (C) gs:48, the caller of panic()   */
};

#define CPU_GS_PREEMPT      8 /* irq_depth follows: cpu_in_thread()        */
#define CPU_GS_IRQ_DEPTH    12
#define CPU_GS_CURRENT      16
#define CPU_GS_ID           24
#define CPU_GS_NEED_RESCHED 28
#define CPU_GS_FRAME        48 /* kernel/panic.asm                        */
_Static_assert(offsetof(struct cpu, id) == CPU_GS_ID, "gs offset");
_Static_assert(offsetof(struct cpu, preempt_count) == CPU_GS_PREEMPT, "gs");
_Static_assert(offsetof(struct cpu, current) == CPU_GS_CURRENT, "gs offset");
_Static_assert(offsetof(struct cpu, irq_depth) == CPU_GS_IRQ_DEPTH, "gs");
_Static_assert(offsetof(struct cpu, need_resched) == CPU_GS_NEED_RESCHED, "gs");
_Static_assert(offsetof(struct cpu, panic_frame) == CPU_GS_FRAME, "gs offset");

extern struct cpu cpus[MAX_CPUS];

/*
 * Set the calling CPU up as number id: GDT, TSS, IDT, GS.base, control registers
 * (NX, WP, PGE, and SMEP, SMAP, UMIP, SVM where CPUID has them).
 * Context: once on each CPU; interrupts are off and stay off.
 */
void cpu_init(unsigned id, uint32_t lapic_id);

/*
 * Set the end of the n-th of a CPU's TRAP_ISTS fault stacks, which has a guard below
 * it.  Context: before cpu_init() of that CPU; the boot CPU's are in the image.
 */
void cpu_set_ist(unsigned id, unsigned n, void *top);
const void *cpu_ist(unsigned id, unsigned n);

/* Returns the number of running CPUs; it grows during smp_start() and is constant
 * afterwards. */
unsigned cpu_count(void);

/*
 * Returns the end of the physical addresses of this CPU, exclusive: CPUID 80000008h,
 * bits 7:0 of EAX; 2^36 without that leaf; at most the size of the direct map.
 */
#define CPU_PA_BITS_MAX 46
pa_t cpu_pa_end(void);

/* Returns whether there is a local APIC: CPUID 1, bit 9 of EDX. */
bool cpu_has_apic(void);

/* Returns whether there is CMPXCHG16B: CPUID 1, bit 13 of ECX. */
bool cpu_has_cmpxchg16b(void);

/* Returns whether CR4.SMAP is set, so that RFLAGS.AC decides whether user memory can be
 * accessed. */
extern bool cpu_smap;

static inline unsigned cpu_id(void)
{
	unsigned id;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(id) : "i"(CPU_GS_ID));
	return id;
}

static inline struct cpu *this_cpu(void)
{
	struct cpu *self;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(self));
	return self;
}

static inline struct thread *cpu_current(void)
{
	struct thread *t;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(t) : "i"(CPU_GS_CURRENT));
	return t;
}

static inline void cpu_set_current(struct thread *t)
{
	__asm__ volatile("movq %0, %%gs:%c1" ::"r"(t), "i"(CPU_GS_CURRENT)
			 : "memory");
}

/* One instruction each, so that no preemption can occur in between. */
static inline void cpu_preempt_add(void)
{
	__asm__ volatile("incl %%gs:%c0" ::"i"(CPU_GS_PREEMPT)
			 : "memory", "cc");
}

static inline void cpu_preempt_sub(void)
{
	__asm__ volatile("decl %%gs:%c0" ::"i"(CPU_GS_PREEMPT)
			 : "memory", "cc");
}

static inline unsigned cpu_preempt_count(void)
{
	unsigned n;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(n) : "i"(CPU_GS_PREEMPT));
	return n;
}

static inline unsigned cpu_irq_depth(void)
{
	unsigned n;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(n) : "i"(CPU_GS_IRQ_DEPTH));
	return n;
}

/* Returns whether no interrupt is being served and preemption is on, by one load of
 * both counts. */
static inline bool cpu_in_thread(void)
{
	uint64_t both;

	__asm__ volatile("movq %%gs:%c1, %0"
			 : "=r"(both)
			 : "i"(CPU_GS_PREEMPT));
	return !both;
}

/* One instruction before the jump, as each unlock asks. */
static inline bool cpu_need_resched(void)
{
	bool need;

	__asm__ volatile("cmpl $0, %%gs:%c1"
			 : "=@ccne"(need)
			 : "i"(CPU_GS_NEED_RESCHED));
	return need;
}

/* ---- interrupt flag ---------------------------------------------------- */

#define RFLAGS_IF (UINT64_C(1) << 9)

static inline uint64_t read_rflags(void)
{
	uint64_t f;

	__asm__ volatile("pushfq; popq %0" : "=r"(f)::"memory");
	return f;
}

static inline bool irqs_enabled(void)
{
	return read_rflags() & RFLAGS_IF;
}

static inline void irq_disable(void)
{
	__asm__ volatile("cli" ::: "memory");
}

static inline void irq_enable(void)
{
	__asm__ volatile("sti" ::: "memory");
}

/* Disables interrupts.  Returns the flags for irq_restore(). */
static inline uint64_t irq_save(void)
{
	uint64_t f = read_rflags();

	irq_disable();
	return f;
}

/* QEMU leaves its translated code once at POPF; at STI twice, for its shadow. */
static inline void irq_restore(uint64_t flags)
{
	__asm__ volatile("pushq %0; popfq" ::"r"(flags) : "memory", "cc");
}

/* PAUSE, for a loop that waits for another CPU. */
static inline void cpu_pause(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/* Enables interrupts and halts until one arrives; none is missed in between. */
static inline void cpu_wait(void)
{
	__asm__ volatile("sti; hlt" ::: "memory");
}

/* Halts this CPU forever. */
noreturn static inline void cpu_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" ::: "memory");
}

/* ---- registers --------------------------------------------------------- */

/* CPUID: r receives EAX, EBX, ECX and EDX of the leaf, of its sub-leaf 0. */
static inline void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(0));
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v),
			 "d"((uint32_t)(v >> 32))
			 : "memory");
}

static inline uint64_t read_cr2(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr2, %0" : "=r"(v)::"memory");
	return v;
}

static inline uint64_t read_cr3(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr3, %0" : "=r"(v)::"memory");
	return v;
}

/* Loads CR3, which also flushes this CPU's translations but the global ones. */
static inline void write_cr3(uint64_t v)
{
	__asm__ volatile("movq %0, %%cr3" ::"r"(v) : "memory");
}
