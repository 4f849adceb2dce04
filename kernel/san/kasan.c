/* SPDX-License-Identifier: MIT */
/*
 * kasan.c - bad addresses: what -fsanitize=kernel-address calls, as Linux's KASAN
 *
 *   shadow byte of 8 bytes    0        all may be used
 *                             1 .. 7   the first so many
 *                             80h ..   none: SAN_FREED, a redzone, ...
 *
 * The shadow of an address is at (address >> 3) + SAN_OFFSET.  mm/kernel/kmap.c gives it
 * memory for RAM in the direct map and for the stacks; the image's lies in the
 * image, because the compiler's code for stacks writes to it from the first
 * function on (boot/start.asm).
 *
 * The compiler guards stacks and globals; pmm.c and pool.c poison what is free.
 * Both hand out what was freed longest ago, so that a late access meets poison.
 *
 * Not seen: assembly, devices, user addresses, and what lies outside RAM.
 */
#include "arch/cpu.h"
#include "arch/layout.h"
#include "kernel/san/san.h"

#define TRACES (1u << 14)

struct trace {
	uint64_t start; /* of the frame or object, | 1 if it was freed       */
	struct san_trace by;
};

/* The last allocation or release of a place; a collision forgets the older. */
static struct trace traces[TRACES];
static uint64_t ram_bytes;   /* with shadow, from DIRECT_BASE on; 0: not yet  */
static uint64_t stack_bytes; /* the same from VMAP_BASE on                  */

/* What gcc says of a global variable. */
struct global {
	uint64_t start, size, with_redzone;
	const void *name, *module;
	uint64_t dynamic;
	const void *place, *odr;
};

extern void (*const init_array_start[])(void);
extern void (*const init_array_end[])(void);

static int8_t *shadow(uint64_t addr)
{
	return (int8_t *)SAN_SHADOW(addr);
}

static bool covered(uint64_t addr)
{
	return addr - DIRECT_BASE < ram_bytes ||
	       addr - VMAP_BASE < stack_bytes ||
	       (ram_bytes && addr - KERNEL_BASE < SAN_IMAGE_SHADOW << 3);
}

void san_cover(uint64_t ram, uint64_t stacks)
{
	stack_bytes = stacks;
	ram_bytes = ram;
	barrier();
	for (void (*const *fn)(void) = init_array_start; fn < init_array_end;
	     fn++)
		(*fn)();
}

void san_start(uint64_t seed)
{
}

void san_ignore(bool begin)
{
}

/* ---------------------------------------------------------------- poison */

static struct trace *trace_of(uint64_t start)
{
	return &traces[(start >> 4) * 0x9e3779b97f4a7c15 >> 50];
}

static void remember(uint64_t start, bool freed)
{
	struct trace *t = trace_of(start);

	t->start = start | freed;
	san_trace(&t->by);
}

static void fill(uint64_t start, uint64_t bytes, uint8_t with)
{
	int8_t *at = shadow(start);

	for (uint64_t i = 0; i < bytes >> 3; i++)
		at[i] = (int8_t)with;
	if (bytes & 7)
		at[bytes >> 3] = with ? (int8_t)with : (int8_t)(bytes & 7);
}

void san_poison(const void *p, size_t bytes, uint8_t with)
{
	uint64_t start = (uint64_t)p;

	if (!covered(start))
		return;
	fill(start, bytes, with);
	if (with == SAN_FREED)
		remember(start, true);
}

void san_unpoison(const void *p, size_t bytes)
{
	uint64_t start = (uint64_t)p;

	if (!covered(start))
		return;
	fill(start, bytes, 0);
	remember(start, false);
}

/* ---------------------------------------------------------------- checks */

static const char *poison_name(uint8_t with)
{
	switch (with) {
	case SAN_FREED:
		return "freed memory";
	case SAN_REDZONE:
		return "the space between two objects";
	case 0xf1:
	case 0xf2:
	case 0xf3:
		return "the space beside a variable of the stack";
	case 0xf8:
		return "a variable of the stack out of its scope";
	case SAN_GLOBAL:
		return "the space beside a global variable";
	default:
		return with < 8 ? "the end of an object" : "poison";
	}
}

/* Return the trace of the free or allocation of what starts at or before addr, in
 * steps of 8 bytes. */
static const struct trace *find_trace(uint64_t addr)
{
	for (uint64_t at = addr & ~UINT64_C(7), n = 0; n < 512; n++, at -= 8) {
		const struct trace *t = trace_of(at);

		if ((t->start & ~UINT64_C(1)) == at)
			return t;
	}
	return NULL;
}

static noinline void report(uint64_t addr, uint64_t size, bool write,
			    uint64_t rip)
{
	uint8_t with = (uint8_t)*shadow(addr);
	const struct trace *t = find_trace(addr);

	if (!with && size > 1)
		with = (uint8_t)*shadow(addr + size - 1);
	san_report(rip, t ? &t->by : NULL,
		   t && t->start & 1 ? "freed by" : "allocated by",
		   "kasan: %s of %lu bytes at %#lx: %s",
		   write ? "write" : "read", size, addr, poison_name(with));
}

static always_inline bool byte_is_bad(uint64_t addr)
{
	int8_t s = *shadow(addr);

	return unlikely(s) && (int8_t)(addr & 7) >= s;
}

static always_inline void access(uint64_t addr, uint64_t size, bool write)
{
	if (!covered(addr) || !size)
		return;
	for (uint64_t at = addr; at < addr + size; at = (at | 7) + 1) {
		uint64_t last =
			(at | 7) < addr + size - 1 ? at | 7 : addr + size - 1;

		if (byte_is_bad(last)) {
			report(addr, size, write,
			       (uint64_t)__builtin_return_address(0));
			return;
		}
	}
}

/* ------------------------------------------------ the compiler's interface */

#define CALLED(name, ...)                \
	void __asan_##name(__VA_ARGS__); \
	void __asan_##name(__VA_ARGS__)

#define ACCESSES(n)                               \
	CALLED(load##n##_noabort, uint64_t addr)  \
	{                                         \
		access(addr, n, false);           \
	}                                         \
	CALLED(store##n##_noabort, uint64_t addr) \
	{                                         \
		access(addr, n, true);            \
	}

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

CALLED(loadN_noabort, uint64_t addr, uint64_t size)
{
	access(addr, size, false);
}

CALLED(storeN_noabort, uint64_t addr, uint64_t size)
{
	access(addr, size, true);
}

/* Frames that are left so stay poisoned until the stack is given again. */
CALLED(handle_no_return, void)
{
}

CALLED(before_dynamic_init, const char *module)
{
}

CALLED(after_dynamic_init, void)
{
}

CALLED(register_globals, struct global *g, uint64_t n)
{
	for (; n--; g++) {
		uint64_t whole = (g->size + 7) & ~UINT64_C(7);

		fill(g->start, g->size, 0);
		fill(g->start + whole, g->with_redzone - whole, SAN_GLOBAL);
	}
}

CALLED(unregister_globals, struct global *g, uint64_t n)
{
}
