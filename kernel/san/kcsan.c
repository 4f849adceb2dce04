/* SPDX-License-Identifier: MIT */
/*
 * kcsan.c - data races: what -fsanitize=thread calls, as Linux's KCSAN
 *
 *   CPU 0: read x          watch x, wait a while ......... take the watch back
 *   CPU 1:                      write x: finds the watch, leaves its thread
 *
 * A data race is two accesses that overlap in place and in time, of which one
 * writes and one is plain.  Nothing is inferred from locks: a race is reported
 * when it happens.  Every SKIP-th plain access of a CPU is watched; every
 * access looks whether another CPU watches its place.
 *
 * Marked accesses (READ_ONCE, WRITE_ONCE, C11 atomics) are looked at and never
 * watched; two marked ones do not race.  Plain ones that may race on purpose
 * stand in data_race() (arch/compiler.h) and are not looked at.
 *
 * Not seen: assembly, devices, the MMU's own accessed and dirty bits, memory
 * order (a lock that is too weak but held).
 */
#include <stdatomic.h>
#include "arch/bits.h"
#include "arch/cpu.h"
#include "kernel/explore.h"
#include "kernel/rand.h"
#include "kernel/san/san.h"

#define SLOTS      64  /* of watches, by the 8-byte word                    */
#define SKIP       400 /* plain accesses between two watches, on average   */
#define PAUSES     60  /* how long a watch waits, at most                   */
#define PAUSES_MIN 4

enum access {
	PLAIN = 0,
	WRITE = 1,
	MARKED = 2,
};

/* A watch: address, size - 1 and kind, or one of: */
#define FREE  UINT64_C(0)
#define TAKEN UINT64_C(1) /* the other access describes itself            */
#define MET   UINT64_C(2) /* it has                                       */

#define WATCH_ADDR  GENMASK(47, 0)
#define WATCH_SIZE  GENMASK(50, 48) /* bytes - 1                           */
#define WATCH_WRITE BIT(62)
#define WATCH_LIVE  BIT(63)

static struct slot {
	_Atomic uint64_t watch;
	/* What met it; written by the CPU that set TAKEN, read after MET. */
	struct san_trace trace;
	unsigned cpu, kind;
} slots[SLOTS];

/*
 * Of one CPU.  A thread that moves between two steps may take a count from
 * another CPU's: below 0 is due as well.
 */
static struct sampler {
	int64_t left; /* accesses to the next watch                    */
	uint64_t off; /* depth of data_race()                          */
	struct rng rng;
} samplers[MAX_CPUS];

static bool started;

void san_start(uint64_t seed)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		samplers[i].rng = rng_seed(seed + i);
		samplers[i].left = SKIP;
	}
	started = true;
}

void san_ignore(bool begin)
{
	if (begin)
		cpu_preempt_add();
	samplers[cpu_id()].off += begin ? 1 : UINT64_MAX;
	if (!begin)
		cpu_preempt_sub();
}

static const char *kind_name(unsigned kind)
{
	static const char *const names[] = { "read", "write", "marked read",
					     "marked write" };

	return names[kind];
}

static uint64_t value_at(uint64_t addr, unsigned size)
{
	switch (size) {
	case 1:
		return *(volatile uint8_t *)addr;
	case 2:
		return *(volatile uint16_t *)addr;
	case 4:
		return *(volatile uint32_t *)addr;
	default:
		return *(volatile uint64_t *)addr;
	}
}

/* The access at addr is the second one: tell the CPU that watches. */
static noinline void meet(struct slot *s, uint64_t watch, unsigned kind)
{
	if (!atomic_compare_exchange_strong(&s->watch, &watch, TAKEN))
		return;
	s->cpu = cpu_id();
	s->kind = kind;
	san_trace(&s->trace);
	atomic_store(&s->watch, MET);
}

static inline bool races(uint64_t watch, uint64_t addr, unsigned size,
			 unsigned kind)
{
	uint64_t at = watch & WATCH_ADDR, end;

	if (!(watch & WATCH_LIVE) || !(kind & WRITE || watch & WATCH_WRITE))
		return false;
	end = at + FIELD_GET(WATCH_SIZE, watch) + 1;
	addr &= WATCH_ADDR;
	return addr < end && at < addr + size;
}

/* Watch the place for a while, and report what came meanwhile. */
static noinline void watch(uint64_t addr, unsigned size, unsigned kind,
			   uint64_t rip)
{
	struct sampler *sampler = &samplers[cpu_id()];
	struct slot *s = &slots[addr >> 3 & (SLOTS - 1)];
	uint64_t flags = irq_save(), none = FREE, mine, before;
	unsigned pauses = PAUSES_MIN + (unsigned)rng_below(&sampler->rng,
							   PAUSES - PAUSES_MIN);

	sampler->left = 1 + (int64_t)rng_below(&sampler->rng, 2 * SKIP);
	mine = (addr & WATCH_ADDR) | FIELD_PREP(WATCH_SIZE, size - 1) |
	       WATCH_LIVE | (kind & WRITE ? WATCH_WRITE : 0);
	before = value_at(addr, size);
	if (!atomic_compare_exchange_strong(&s->watch, &none, mine)) {
		irq_restore(flags);
		return;
	}
	while (pauses-- && atomic_load(&s->watch) == mine)
		cpu_pause();
	none = mine;
	if (!atomic_compare_exchange_strong(&s->watch, &none, FREE)) {
		while (atomic_load(&s->watch) != MET)
			cpu_pause();
		san_report(rip, &s->trace, kind_name(s->kind),
			   "kcsan: %s of %u bytes at %#lx (%#lx, now %#lx) by "
			   "CPU %u races with a %s by CPU %u",
			   kind_name(kind), size, addr, before,
			   value_at(addr, size), cpu_id(), kind_name(s->kind),
			   s->cpu);
		atomic_store(&s->watch, FREE);
	}
	irq_restore(flags);
}

static always_inline void access(const volatile void *p, unsigned size,
				 unsigned kind)
{
	uint64_t addr = (uint64_t)p, seen;
	struct slot *s = &slots[addr >> 3 & (SLOTS - 1)];
	struct sampler *sampler;

	if (unlikely(!started))
		return;
	if (unlikely(explorer != NULL)) { /* one thread at a time runs */
		explorer->touch(addr, size, kind & WRITE);
		return;
	}
	sampler = &samplers[cpu_id()];
	if (unlikely(sampler->off))
		return;
	seen = atomic_load_explicit(&s->watch, memory_order_relaxed);
	if (unlikely(races(seen, addr, size, kind)))
		meet(s, seen, kind);
	if (!(kind & MARKED) && size <= 8 && unlikely(--sampler->left <= 0))
		watch(addr, size, kind, (uint64_t)__builtin_return_address(0));
}

void san_touch(const void *p, size_t n, bool write)
{
	if (unlikely(explorer != NULL))
		explorer->touch((uint64_t)p, n, write);
}

void san_unseen(void)
{
	if (unlikely(explorer != NULL))
		explorer->unseen();
}

/* ------------------------------------------------ the compiler's interface */

#define CALLED(type, name, ...)          \
	type __tsan_##name(__VA_ARGS__); \
	type __tsan_##name(__VA_ARGS__)

#define ACCESSES(n)                               \
	CALLED(void, read##n, void *p)            \
	{                                         \
		access(p, n, PLAIN);              \
	}                                         \
	CALLED(void, write##n, void *p)           \
	{                                         \
		access(p, n, WRITE);              \
	}                                         \
	CALLED(void, unaligned_read##n, void *p)  \
	{                                         \
		access(p, n, PLAIN);              \
	}                                         \
	CALLED(void, unaligned_write##n, void *p) \
	{                                         \
		access(p, n, WRITE);              \
	}                                         \
	CALLED(void, volatile_read##n, void *p)   \
	{                                         \
		access(p, n, MARKED);             \
	}                                         \
	CALLED(void, volatile_write##n, void *p)  \
	{                                         \
		access(p, n, MARKED | WRITE);     \
	}

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

CALLED(void, read_range, char *p, size_t size)
{
	for (size_t i = 0; i < size; i += 8)
		access(p + i, (unsigned)(size - i < 8 ? size - i : 8), PLAIN);
}

CALLED(void, write_range, char *p, size_t size)
{
	for (size_t i = 0; i < size; i += 8)
		access(p + i, (unsigned)(size - i < 8 ? size - i : 8), WRITE);
}

CALLED(void, init, void)
{
}

/* Atomics come as calls that have to do the work: the strongest order does. */
#define RMW(bits, op)                                                   \
	CALLED(uint##bits##_t, atomic##bits##_fetch_##op,               \
	       volatile uint##bits##_t *p, uint##bits##_t v, int order) \
	{                                                               \
		access(p, bits / 8, MARKED | WRITE);                    \
		return __atomic_fetch_##op(p, v, __ATOMIC_SEQ_CST);     \
	}

#define EXCHANGE(bits, strength)                                           \
	CALLED(int, atomic##bits##_compare_exchange_##strength,            \
	       volatile uint##bits##_t *p, uint##bits##_t *old,            \
	       uint##bits##_t v, int order, int fail)                      \
	{                                                                  \
		access(p, bits / 8, MARKED | WRITE);                       \
		return __atomic_compare_exchange_n(                        \
			p, old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	}

#define ATOMICS(bits)                                                   \
	CALLED(uint##bits##_t, atomic##bits##_load,                     \
	       const volatile uint##bits##_t *p, int order)             \
	{                                                               \
		access(p, bits / 8, MARKED);                            \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);            \
	}                                                               \
	CALLED(void, atomic##bits##_store, volatile uint##bits##_t *p,  \
	       uint##bits##_t v, int order)                             \
	{                                                               \
		access(p, bits / 8, MARKED | WRITE);                    \
		__atomic_store_n(p, v, __ATOMIC_SEQ_CST);               \
	}                                                               \
	CALLED(uint##bits##_t, atomic##bits##_exchange,                 \
	       volatile uint##bits##_t *p, uint##bits##_t v, int order) \
	{                                                               \
		access(p, bits / 8, MARKED | WRITE);                    \
		return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);     \
	}                                                               \
	RMW(bits, add)                                                  \
	RMW(bits, sub)                                                  \
	RMW(bits, and)                                                  \
	RMW(bits, or)                                                   \
	RMW(bits, xor)                                                  \
	EXCHANGE(bits, strong)                                          \
	EXCHANGE(bits, weak)

ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

CALLED(void, atomic_thread_fence, int order)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

CALLED(void, atomic_signal_fence, int order)
{
	barrier();
}
