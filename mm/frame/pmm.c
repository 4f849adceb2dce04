/* SPDX-License-Identifier: MIT */
/*
 * pmm.c - allocate and free frames of physical memory
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
 * that were never used are free without the mark: filling all of RAM would take
 * most of the boot.
 *
 * Locks: a CPU owns its cache while preemption is off; interrupt handlers do not
 * allocate, and drain_visit(), which runs in one, gives up if it interrupted code
 * that has preemption off.  The lists: pmm_lock.
 *
 * pmm_init.c gives memory to the lists.
 */
#include "mm/frame/buddy.h"
#include "arch/cpu.h"
#include "arch/smp.h"
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/lock.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "kernel/thread.h"
#include "mm/frame/state.h"

#define CACHE_SIZE (2 * PMM_BATCH - 1)

struct frame_cache {
	uint64_t n;
	struct page *frames[CACHE_SIZE];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct frame_cache) == 512, "found by a shift");

static struct frame_cache caches[MAX_CPUS];
struct spinlock pmm_lock = SPINLOCK_INIT(RANK_PMM, "pmm");

/* Panic because page may not be freed. */
static noinline noreturn void free_broken(struct page *page)
{
	enum page_kind kind = page_kind(page);

	if (page_is_free(page))
		panic("frame %#lx freed twice", pfn_of(page));
	panic("frame %#lx (%s%s) freed with %u refs, %u maps, %u pins",
	      pfn_of(page), page_kind_name(kind),
	      page_head(page) != page ? ", inside a block" : "",
	      page_refs(page), page_maps(page), page_pins(page));
}

/* ---------------------------------------------------------------- caches */

/* Turn preemption off and return this CPU's cache. */
static inline struct frame_cache *cache_enter(void)
{
	struct frame_cache *cache;

	preempt_disable();
	cache = &caches[cpu_id()];
	/* Keep the address in a register: otherwise gcc computes it anew for
	 * each field. */
	__asm__("" : "+r"(cache));
	return cache;
}

/* Fill the cache up to PMM_BATCH frames, by whole small blocks, the lowest on
 * top.  Returns false if no frame is free. */
static noinline bool cache_refill(struct frame_cache *cache)
{
	require(cpu_preempt_count() && cache->n < PMM_BATCH);
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
	buddy_low_check();
	return cache->n > 0;
}

/* Give back all but PMM_BATCH frames.  Neighbours that lie side by side in the
 * cache, as after the exit of an mm, are given as one range. */
static noinline void cache_spill(struct frame_cache *cache)
{
	struct page **top = cache->frames + cache->n;
	struct page **keep = cache->frames + PMM_BATCH;

	require(cpu_preempt_count() && cache->n > PMM_BATCH);
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

/*
 * Take the frame that was freed last, which is in the CPU's caches.  SAN=kasan:
 * the one that was freed first, so that a late access meets poison.
 */
static inline struct page *cache_pop(struct frame_cache *cache)
{
	struct page *page = cache->frames[CONFIG_KASAN ? 0 : cache->n - 1];

	cache->n--;
	if (CONFIG_KASAN)
		memmove(cache->frames, cache->frames + 1,
			cache->n * sizeof(cache->frames[0]));
	return page;
}

/* Do page_alloc() when its cache, entered, is empty. */
static noinline struct page *alloc_slow(struct frame_cache *cache)
{
	struct page *page = NULL;

	if (cache_refill(cache))
		page = cache_pop(cache);
	preempt_enable();
	if (page)
		frame_ready(page, 0, PAGE_REF);
	return page;
}

/* Allocate one frame, content undefined. */
static always_inline struct page *frame_take(void)
{
	struct frame_cache *cache;
	struct page *page;

	require(!cpu_irq_depth() && locks_below(RANK_PMM));
	if (inject_should_fail())
		return NULL;
	cache = cache_enter();
	if (unlikely(!cache->n))
		return alloc_slow(cache);
	page = cache_pop(cache);
	preempt_enable();
	frame_ready(page, 0, PAGE_REF);
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

static bool (*_Atomic free_watch)(struct page *page);

void page_free_watch(bool (*fn)(struct page *page))
{
	atomic_store(&free_watch, fn);
}

/* Return true if the watcher has taken the frame, which then is not freed. */
static inline bool free_watched(struct page *page)
{
	bool (*fn)(struct page *);

	if (!CONFIG_CHECK)
		return false;
	fn = atomic_load_explicit(&free_watch, memory_order_relaxed);
	return unlikely(fn) && fn(page);
}

/* Do page_free() when its cache, entered, is full. */
static noinline void free_slow(struct frame_cache *cache, struct page *page)
{
	cache_spill(cache);
	cache->frames[cache->n++] = page;
	preempt_enable();
}

/* Put a free frame into this CPU's cache. */
static inline void cache_push(struct page *page)
{
	struct frame_cache *cache = cache_enter();

	if (unlikely(cache->n == CACHE_SIZE)) {
		free_slow(cache, page);
		return;
	}
	cache->frames[cache->n++] = page;
	preempt_enable();
}

static page_destructor *device_free;

void pmm_set_device_free(page_destructor *give_back)
{
	device_free = give_back;
}

/* Do page_free() of what is not a single frame of the kernel's own. */
static noinline void free_special(struct page *page)
{
	uint32_t flags = page_flags(page);

	if (page_count(page) || page_pins(page) ||
	    (flags & PG_KIND) <= PAGE_FREE)
		free_broken(page);
	if (CONFIG_CHECK) /* for timelines; costs a release nothing */
		PROBE(frame_free, page_pa(page), flags & PG_KIND);
	page_destroy(page);
	if (unlikely(page_is_device(page))) {
		device_free(page);
		return;
	}
	if (flags & PG_TAIL)
		free_broken(page);
	if (free_watched(page))
		return;
	if (flags & PG_ORDER)
		block_free(page);
	else
		cache_push(frame_dead(page));
}

void page_free(struct page *page)
{
	/* One comparison: kind KERNEL .. TABLE, order 0, no tail. */
	uint32_t what = page_flags(page) & (PG_KIND | PG_ORDER | PG_TAIL);

	require(!cpu_irq_depth() && locks_below(RANK_PMM));
	if ((page_count(page) | page_pins(page)) ||
	    what - PAGE_KERNEL > PAGE_TABLE - PAGE_KERNEL)
		free_special(page);
	else if (!free_watched(page))
		cache_push(frame_dead(page));
}

/* ----------------------------------------------------------------- lists */

/* Push up to n frames of this CPU's cache onto the list.  Returns how many. */
static unsigned list_take(struct page **list, unsigned n, enum page_kind kind)
{
	struct frame_cache *cache = cache_enter();

	if (!cache->n && !cache_refill(cache))
		n = 0;
	if (n > cache->n)
		n = (unsigned)cache->n;
	for (unsigned i = 0; i < n; i++) {
		struct page *page = cache_pop(cache);

		frame_ready_as(page, kind, 0, PAGE_REF);
		page->mapping.next = *list;
		*list = page;
	}
	preempt_enable();
	return n;
}

int page_alloc_list(struct page **list, unsigned n, enum page_kind kind)
{
	struct page *old = *list;
	unsigned got = 1;

	require(!cpu_irq_depth() && locks_below(RANK_PMM));
	assert(!kind_user(kind));
	if (inject_should_fail())
		return err(ENOMEM);
	for (; n && got; n -= got)
		got = list_take(list, n, kind);
	if (!n)
		return 0;
	while (*list != old) { /* memory has run out */
		struct page *page = *list;

		*list = page->mapping.next;
		page_put(page);
	}
	return err(ENOMEM);
}

/* Free the first frame of a list.  Returns it, or NULL if a watcher has taken it. */
static inline struct page *list_pop_dead(struct page **list, uint64_t count)
{
	struct page *page = *list;

	*list = page->mapping.next;
	if (CONFIG_CHECK && kind_user(page_kind(page)))
		PROBE(frame_free, page_pa(page), page_kind(page));
	if (unlikely(page_count(page) != count))
		free_broken(page);
	atomic_store_explicit(&page->count, 0, memory_order_relaxed);
	if (free_watched(page))
		return NULL;
	frame_dead(page);
	return page;
}

/* Free frames of the list into this CPU's cache until that is full. */
static struct page *list_to_cache(struct page *list, uint64_t count)
{
	struct frame_cache *cache = cache_enter();
	while (list && cache->n < CACHE_SIZE) {
		struct page *page = list_pop_dead(&list, count);

		if (page)
			cache->frames[cache->n++] = page;
	}
	preempt_enable();
	return list;
}

/* Free the first frames of the list, side by side, into the buddy lists; one that has
 * no neighbour there into the cache. */
static struct page *list_to_buddy(struct page *list, uint64_t count)
{
	struct page *first = list_pop_dead(&list, count), *last = first;

	if (!first)
		return list;
	while (list == last + 1 && list_pop_dead(&list, count))
		last++;
	while (list == first - 1 && list_pop_dead(&list, count))
		first--;
	if (first == last) {
		cache_push(first);
		return list;
	}
	spin_lock(&pmm_lock);
	buddy_give_range(pfn_of(first), pfn_of(last) + 1);
	spin_unlock(&pmm_lock);
	return list;
}

void page_free_list(struct page *list, uint64_t count)
{
	require(!cpu_irq_depth() && locks_below(RANK_PMM));
	list = list_to_cache(list, count);
	while (list)
		list = list_to_buddy(list, count);
}

uint64_t pmm_cached_pages(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		n += data_race(caches[i].n); /* a statistic, of other CPUs */
	return n;
}

/* ------------------------------------------------------------- draining */

/* What pmm_drain() collects: drain_visit() may not take pmm_lock, because the
 * thread that it interrupted may hold it. */
struct drain {
	_Atomic uint64_t refused; /* bit per CPU with preemption off       */
	uint32_t n[MAX_CPUS];
	struct page *frames[MAX_CPUS][CACHE_SIZE];
};

/* Empty this CPU's cache into the drain.  Context: an interrupt handler, or a
 * plain call on the CPU that runs pmm_drain(). */
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
