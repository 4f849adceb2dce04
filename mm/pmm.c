/* SPDX-License-Identifier: MIT */
/*
 * pmm.c - frames of physical memory, fast
 *
 *     page_alloc()   page_put()             no lock: preemption off
 *          |             ^
 *     +----v-------------|---+
 *     |  this CPU's cache    |  less than 2 * PMM_BATCH frames
 *     +----^-------------|---+
 *          | refill      | spill            pmm_lock, once in PMM_BATCH
 *     +----|-------------v---+
 *     |  buddy lists (buddy.c)|
 *     +----------------------+
 *
 * Invariant: a frame is free iff its kind is FREE; then its count is 0 and it
 * lies either in one block of the lists or in one cache.
 *
 * Checking build: a freed frame is filled with PMM_POISON and marked
 * PG_POISONED; when it is allocated the pattern must still be there.  Frames
 * that were never used are free without the mark: filling all of RAM would be
 * most of the boot.
 *
 * Locks: a cache belongs to its CPU while preemption is off; interrupts do not
 * allocate, and pmm_drain()'s visit leaves again if it interrupted somebody who
 * might.  The lists: pmm_lock.
 *
 * Not here: how memory gets in (pmm_init.c).
 */
#include "mm/buddy.h"
#include "arch/cpu.h"
#include "arch/smp.h"
#include "kernel/inject.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/thread.h"
#include "mm/rmap.h"

#define CACHE_SIZE (2 * PMM_BATCH - 1)

struct frame_cache {
	uint64_t n;
	struct page *frames[CACHE_SIZE];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct frame_cache) == 512, "found by a shift");

static struct frame_cache caches[MAX_CPUS];
static struct spinlock pmm_lock = SPINLOCK_INIT(RANK_PMM, "pmm");

/* --------------------------------------------------------------- poison */

static void poison(struct page *page)
{
	void *to = page_va(page);
	uint64_t n = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(n)
			 : "a"(PMM_POISON)
			 : "memory");
}

/* The first word that is not poison any more, NULL if all are. */
static const uint64_t *poison_hurt(const struct page *page)
{
	const uint64_t *at = page_va(page);
	uint64_t n = PAGE_SIZE / 8;
	bool whole;

	__asm__ volatile("repe scasq"
			 : "+D"(at), "+c"(n), "=@ccz"(whole)
			 : "a"(PMM_POISON)
			 : "memory");
	return whole ? NULL : at - 1;
}

const uint64_t *pmm_poison_hurt(const struct page *page)
{
	return page_test(page, PG_POISONED) ? poison_hurt(page) : NULL;
}

/* --------------------------------------------------- a frame's two states */

static noinline void check_poison(const struct page *page)
{
	const uint64_t *hurt = pmm_poison_hurt(page);

	if (hurt)
		panic("frame %#lx was written after it was freed: "
		      "offset %#lx holds %#lx",
		      pfn_of(page), (va_t)hurt & ~PAGE_MASK, *hurt);
}

/* Free to allocated: count and owner's words start from scratch. */
static inline void frame_ready(struct page *page, uint32_t flags)
{
	assert((page_flags(page) & (PG_KIND | PG_BUDDY)) == PAGE_FREE);
	if (CONFIG_CHECK) {
		assert(!page_count(page));
		check_poison(page);
	}
	page->mapping = 0;
	page->index = 0;
	atomic_store_explicit(&page->count, PAGE_REF, memory_order_relaxed);
	atomic_store_explicit(&page->flags, PAGE_KERNEL | flags,
			      memory_order_relaxed);
}

static noinline noreturn void free_broken(const struct page *page)
{
	enum page_kind kind = page_kind(page);

	if (kind == PAGE_FREE)
		panic("frame %#lx freed twice", pfn_of(page));
	panic("frame %#lx (%s%s) freed with %u refs, %u maps, %u pins",
	      pfn_of(page), page_kind_name(kind),
	      page_test(page, PG_TAIL) ? ", inside a block" : "",
	      page_refs(page), page_maps(page), page_pins(page));
}

/* Allocated to free. */
static void frame_dead(struct page *page)
{
	uint32_t flags = PAGE_FREE;

	if (CONFIG_CHECK) {
		poison(page);
		flags |= PG_POISONED | PG_FRESH;
	}
	atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
}

/* ---------------------------------------------------------------- caches */

/* This CPU's cache, ours until preemption is on again. */
static inline struct frame_cache *cache_enter(void)
{
	struct frame_cache *cache;

	preempt_disable();
	cache = &caches[cpu_id()];
	/* Keep the address in a register: gcc would index each field anew. */
	__asm__("" : "+r"(cache));
	return cache;
}

/* Fill up to PMM_BATCH frames in, by whole small blocks, lowest on top. */
static noinline bool cache_refill(struct frame_cache *cache)
{
	spin_lock(&pmm_lock);
	while (cache->n < PMM_BATCH) {
		unsigned order, room = PMM_BATCH - cache->n;
		unsigned most = 31 - (unsigned)__builtin_clz(room);
		struct page *page = buddy_take_small(most, &order);

		if (!page)
			break;
		for (unsigned i = 1u << order; i-- > 0;)
			cache->frames[cache->n++] = page + i;
	}
	spin_unlock(&pmm_lock);
	return cache->n > 0;
}

/* Give back all but PMM_BATCH; neighbours that lie side by side in the cache,
 * as after the exit of an mm, go as one range. */
static noinline void cache_spill(struct frame_cache *cache)
{
	struct page **top = cache->frames + cache->n;
	struct page **keep = cache->frames + PMM_BATCH;

	spin_lock(&pmm_lock);
	while (top > keep) {
		struct page *first = *--top, *last = first;

		for (; top > keep && top[-1] == last + 1; top--)
			last++;
		for (; top > keep && top[-1] == first - 1; top--)
			first--;
		buddy_give_range(pfn_of(first), pfn_of(last) + 1);
	}
	spin_unlock(&pmm_lock);
	cache->n = PMM_BATCH;
}

/* ------------------------------------------------------------- interface */

/* page_alloc() when its cache, entered, is empty. */
static noinline struct page *alloc_slow(struct frame_cache *cache)
{
	struct page *page = NULL;

	if (cache_refill(cache))
		page = cache->frames[--cache->n];
	preempt_enable();
	if (page)
		frame_ready(page, 0);
	return page;
}

static always_inline struct page *frame_take(void)
{
	struct frame_cache *cache;
	struct page *page;

	if (inject_should_fail())
		return NULL;
	cache = cache_enter();
	if (unlikely(!cache->n))
		return alloc_slow(cache);
	page = cache->frames[--cache->n];
	preempt_enable();
	frame_ready(page, 0);
	return page;
}

struct page *page_alloc(void)
{
	return frame_take();
}

struct page *page_alloc_zeroed(void)
{
	struct page *page = frame_take();

	if (likely(page))
		page_zero(page);
	return page;
}

struct page *pages_alloc(unsigned order)
{
	struct page *page;

	assert(order < PMM_ORDERS);
	if (!order)
		return page_alloc();
	if (inject_should_fail())
		return NULL;
	spin_lock(&pmm_lock);
	page = buddy_take(order);
	spin_unlock(&pmm_lock);
	if (!page)
		return NULL;
	for (unsigned i = 1; i < 1u << order; i++) {
		frame_ready(page + i, PG_TAIL);
		atomic_store_explicit(&page[i].count, 0, memory_order_relaxed);
	}
	frame_ready(page, FIELD_PREP(PG_ORDER, order));
	return page;
}

static bool (*_Atomic free_watch)(struct page *page);

void page_free_watch(bool (*fn)(struct page *page))
{
	atomic_store(&free_watch, fn);
}

/* Has somebody taken what is to be free? */
static inline bool free_watched(struct page *page)
{
	bool (*fn)(struct page * page);

	if (!CONFIG_CHECK)
		return false;
	fn = atomic_load_explicit(&free_watch, memory_order_relaxed);
	return unlikely(fn) && fn(page);
}

static noinline void free_block(struct page *page)
{
	unsigned order = page_order(page);

	if (page_test(page, PG_TAIL))
		free_broken(page);
	if (free_watched(page))
		return;
	for (unsigned i = 0; i < 1u << order; i++)
		frame_dead(page + i);
	spin_lock(&pmm_lock);
	buddy_give(page, order);
	spin_unlock(&pmm_lock);
}

/* page_free() when its cache, entered, is full. */
static noinline void free_slow(struct frame_cache *cache, struct page *page)
{
	cache_spill(cache);
	cache->frames[cache->n++] = page;
	preempt_enable();
}

static inline void free_frame(struct page *page)
{
	struct frame_cache *cache;

	if (free_watched(page))
		return;
	frame_dead(page);
	cache = cache_enter();
	if (unlikely(cache->n == CACHE_SIZE)) {
		free_slow(cache, page);
		return;
	}
	cache->frames[cache->n++] = page;
	preempt_enable();
}

/* page_free() of what is not a single frame of the kernel's own. */
static noinline void free_special(struct page *page)
{
	uint32_t flags = page_flags(page);

	if (page_count(page) || page_pins(page) ||
	    (flags & PG_KIND) <= PAGE_FREE)
		free_broken(page);
	if (CONFIG_CHECK) /* for timelines; costs a release nothing */
		PROBE(frame_free, page_pa(page), flags & PG_KIND);
	if ((flags & PG_KIND) >= PAGE_ANON)
		page_leave_family(page);
	if (flags & (PG_ORDER | PG_TAIL))
		free_block(page);
	else
		free_frame(page);
}

void page_free(struct page *page)
{
	/* In one comparison: KERNEL .. TABLE, order 0, no tail. */
	uint32_t what = page_flags(page) & (PG_KIND | PG_ORDER | PG_TAIL);

	if ((page_count(page) | page_pins(page)) ||
	    what - PAGE_KERNEL > PAGE_TABLE - PAGE_KERNEL)
		free_special(page);
	else
		free_frame(page);
}

uint64_t pmm_cached_pages(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		n += READ_ONCE(caches[i].n);
	return n;
}

uint64_t pmm_free_pages(void)
{
	return READ_ONCE(buddy_frames) + pmm_cached_pages();
}

/* ------------------------------------------------------------- draining */

/* What pmm_drain() collects: a visit may not take pmm_lock, its CPU may be
 * holding it. */
struct drain {
	_Atomic uint64_t refused; /* bit per CPU with preemption off       */
	uint32_t n[MAX_CPUS];
	struct page *frames[MAX_CPUS][CACHE_SIZE];
};

/* In interrupt context on each CPU, by a plain call on our own. */
static void drain_visit(void *arg)
{
	struct drain *drain = arg;
	unsigned cpu = cpu_id();
	struct frame_cache *cache = &caches[cpu];

	if (cpu_irq_depth() && cpu_preempt_count()) {
		drain->refused |= BIT(cpu);
		return;
	}
	for (uint64_t i = 0; i < cache->n; i++)
		drain->frames[cpu][i] = cache->frames[i];
	drain->n[cpu] = (uint32_t)cache->n;
	cache->n = 0;
}

void pmm_drain(void)
{
	static _Atomic bool draining;
	static struct drain drain;
	uint64_t todo;

	might_sleep();
	while (atomic_exchange(&draining, true))
		yield();
	todo = smp_online_mask();
	do {
		drain.refused = 0;
		preempt_disable();
		smp_call(todo, drain_visit, &drain);
		preempt_enable();
		todo = drain.refused;
	} while (todo);
	spin_lock(&pmm_lock);
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
		while (drain.n[cpu])
			buddy_give(drain.frames[cpu][--drain.n[cpu]], 0);
	spin_unlock(&pmm_lock);
	atomic_store(&draining, false);
}

/* ---------------------------------------------------- pmm_init.c's access */

void pmm_release_range(pa_t start, pa_t end)
{
	spin_lock(&pmm_lock);
	for (pfn_t pfn = start >> PAGE_SHIFT; pfn < end >> PAGE_SHIFT; pfn++)
		atomic_store_explicit(&frames[pfn].flags, PAGE_FREE,
				      memory_order_relaxed);
	buddy_give_range(start >> PAGE_SHIFT, end >> PAGE_SHIFT);
	spin_unlock(&pmm_lock);
}

const char *pmm_check_lists(uint64_t *listed)
{
	const char *wrong;

	spin_lock(&pmm_lock);
	wrong = buddy_check();
	spin_unlock(&pmm_lock);
	*listed = pmm_free_pages();
	for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
		for (unsigned i = 0; i < caches[cpu].n; i++)
			if (page_flags(caches[cpu].frames[i]) & PG_BUDDY)
				return "pmm: a cached frame is in the lists";
	return wrong;
}
