/* SPDX-License-Identifier: MIT */
/*
 * page.h - one struct page for every frame of RAM
 *
 * The frame array is indexed by frame number, so that a page table entry leads
 * to everything known about its frame by a shift and an add.
 *
 *        count: one atomic 64-bit word           count is 0 <=> frame is free
 *   63            32 31             0
 *  +----------------+----------------+     refs = maps + pins + parked entries
 *  |     maps       |      refs      |            + caches that hold the frame
 *  +----------------+----------------+
 *
 * A page table entry that names the frame counts once in maps *and* once in
 * refs; fork and unmap move both halves by one instruction.  Each half is 31
 * bits: its top bit is a tripwire that every step tests, both halves at once.
 *
 * Locks: none here.  count, flags and pins are atomic; mapping and index belong
 * to the owner of the frame (which lock that is depends on its kind).
 */
#pragma once

#include <stdatomic.h>
#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/layout.h"
#include "arch/types.h"
#include "kernel/panic.h"

/* What a frame is used for; the low bits of page->flags. */
enum page_kind {
	PAGE_RESERVED, /* not RAM, or never ours: firmware, image, modules */
	PAGE_FREE,     /* in the buddy lists or a per-CPU cache            */
	PAGE_KERNEL,   /* the kernel's own: what page_alloc() gives        */
	PAGE_POOL,     /* a slab of pool.c; mapping is the struct pool     */
	PAGE_STACK,    /* part of a kernel stack                           */
	PAGE_IOMMU,    /* rings, logs and device table: an IOMMU's alone   */
	PAGE_DMA,      /* the kernel's own, and devices may be let reach it */
	PAGE_TABLE,    /* a page table; index counts its entries in use    */
	PAGE_ANON,     /* anonymous user memory; mapping is the anon_vma   */
	PAGE_OBJECT,   /* of a shared object; mapping is the object        */
	PAGE_ZERO,     /* the one frame behind every untouched read        */
	PAGE_KSM,      /* merged; mapping is the stable tree's node        */
	PAGE_KINDS,
};

#define PG_KIND      GENMASK(3, 0)
#define PG_ORDER     GENMASK(7, 4) /* of the block that starts here       */
#define PG_BUDDY     BIT(8)        /* head of a block in the buddy lists  */
#define PG_TAIL      BIT(9)        /* inside an allocated block of 2^n    */
#define PG_POISONED  BIT(10)       /* free and filled with PMM_POISON     */
#define PG_EXCLUSIVE BIT(11)       /* written in place: no copy first     */
#define PG_DIRTY     BIT(12)       /* written since it was last clean */
#define PG_FRESH     BIT(13) /* poisoned since pmm_check_poison() came by */
#define PG_OWNER     GENMASK(31, 16) /* free for the owner of the frame   */

/* Key: (A) atomic  (O) the owner's lock, by kind */
struct page {
	_Atomic uint64_t count; /* (A) maps << 32 | refs                     */
	_Atomic uint32_t flags; /* (A) kind, order, PG_*                     */
	_Atomic uint32_t pins;  /* (A) long-lived users that read the frame  */
	uintptr_t mapping;      /* (O) who maps it; free: next block         */
	uint64_t index;         /* (O) which page of that; free: prev block  */
};
_Static_assert(sizeof(struct page) == 32, "32 bytes a frame, 0.8 % of RAM");

#define PAGE_REF     UINT64_C(1)             /* one reference               */
#define PAGE_MAP     (BIT(32) | PAGE_REF)    /* one mapping: both halves    */
#define PAGE_TRIP    (BIT(63) | BIT(31))     /* overflow or underflow       */
#define PAGE_REFS(c) ((uint32_t)(c))         /* of a count: references      */
#define PAGE_MAPS(c) ((uint32_t)((c) >> 32)) /* of a count: mappings      */

extern struct page *frames; /* the array: frames[pfn], pfn < frames_end      */
extern pfn_t frames_end;
extern struct page *zero_page; /* kind ZERO, never written, never freed      */

/* Frame number to struct page and back; pfn must be below frames_end. */
static inline struct page *page_of(pfn_t pfn)
{
	assert(pfn < frames_end);
	return &frames[pfn];
}

static inline pfn_t pfn_of(const struct page *page)
{
	return (pfn_t)(page - frames);
}

/* The frame's physical address, and its place in the direct map. */
static inline pa_t page_pa(const struct page *page)
{
	return pfn_of(page) << PAGE_SHIFT;
}

static inline void *page_va(const struct page *page)
{
	return phys_to_virt(page_pa(page));
}

/* The frame that holds an address of the direct map or a physical address. */
static inline struct page *page_of_va(const void *p)
{
	return page_of(virt_to_phys(p) >> PAGE_SHIFT);
}

static inline struct page *page_of_pa(pa_t pa)
{
	return page_of(pa >> PAGE_SHIFT);
}

/* ------------------------------------------------------------- counting */

/* A snapshot: both halves at one instant. */
static inline uint64_t page_count(const struct page *page)
{
	return atomic_load_explicit(&page->count, memory_order_relaxed);
}

static inline uint32_t page_refs(const struct page *page)
{
	return PAGE_REFS(page_count(page));
}

static inline uint32_t page_maps(const struct page *page)
{
	return PAGE_MAPS(page_count(page));
}

static inline uint32_t page_pins(const struct page *page)
{
	return atomic_load_explicit(&page->pins, memory_order_relaxed);
}

/* Panics: a half of count went below 0 or above 2^31 - 1. */
noreturn void page_count_broken(const struct page *page, uint64_t now);

/*
 * Add delta (a multiple of PAGE_REF and PAGE_MAP, may be negative) and return
 * the new count.  Adding orders nothing: who adds already holds a reference.
 * Taking away is a release, so that the one who reaches zero, and acquires,
 * sees every use of the frame as past.
 */
static inline uint64_t page_count_add(struct page *page, uint64_t delta)
{
	uint64_t now = delta + atomic_fetch_add_explicit(&page->count, delta,
							 memory_order_acq_rel);

	if (unlikely(now & PAGE_TRIP))
		page_count_broken(page, now);
	return now;
}

/* One more reference; the caller has one, or a lock that keeps one alive. */
static inline void page_get(struct page *page)
{
	uint64_t now = page_count_add(page, PAGE_REF);

	if (CONFIG_CHECK)
		assert(PAGE_REFS(now) > 1);
}

/*
 * One more reference if the frame has any: for those who found the frame by a
 * pointer that keeps nothing alive, and must then check what they have found.
 */
must_check bool page_try_get(struct page *page);

/*
 * Drop one reference; the last one frees the frame (or the block of 2^order
 * frames that it heads).  Any context that may take RANK_PMM.
 */
void page_put(struct page *page);

/* One more entry names the frame.  Do it before the entry is visible. */
static inline uint64_t page_map_add(struct page *page)
{
	return page_count_add(page, PAGE_MAP);
}

/*
 * One entry less, after it was cleared and flushed everywhere.  Returns the new
 * count; at 0 the frame has been freed.  Any context that may take RANK_PMM.
 */
uint64_t page_map_drop(struct page *page);

/* An entry stops mapping the frame but goes on holding it: it is parked. */
static inline uint64_t page_map_to_ref(struct page *page)
{
	return page_count_add(page, -BIT(32));
}

/* The parked entry maps again. */
static inline uint64_t page_ref_to_map(struct page *page)
{
	return page_count_add(page, BIT(32));
}

/* ---------------------------------------------------------------- flags */

static inline uint32_t page_flags(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_relaxed);
}

static inline enum page_kind page_kind(const struct page *page)
{
	return (enum page_kind)(page_flags(page) & PG_KIND);
}

static inline unsigned page_order(const struct page *page)
{
	return (unsigned)FIELD_GET(PG_ORDER, page_flags(page));
}

/* Only by who allocated the frame, before anyone else can see it. */
static inline void page_set_kind(struct page *page, enum page_kind kind)
{
	uint32_t flags = page_flags(page) & ~(uint32_t)PG_KIND;

	atomic_store_explicit(&page->flags, flags | kind, memory_order_relaxed);
}

/* The same for each frame of the block that page heads. */
static inline void page_set_kind_block(struct page *page, enum page_kind kind)
{
	for (unsigned i = 0; i < 1u << page_order(page); i++)
		page_set_kind(page + i, kind);
}

/* The same, for user pages, which are born exclusive. */
static inline void page_set_user(struct page *page, enum page_kind kind)
{
	uint32_t flags = page_flags(page) & ~(uint32_t)PG_KIND;

	atomic_store_explicit(&page->flags, flags | kind | PG_EXCLUSIVE,
			      memory_order_relaxed);
}

/* One PG_* bit; others may change theirs at the same time. */
static inline bool page_test(const struct page *page, uint32_t bit)
{
	return page_flags(page) & bit;
}

static inline void page_set(struct page *page, uint32_t bit)
{
	atomic_fetch_or_explicit(&page->flags, bit, memory_order_relaxed);
}

static inline void page_clear(struct page *page, uint32_t bit)
{
	atomic_fetch_and_explicit(&page->flags, ~bit, memory_order_relaxed);
}

/*
 * A write needs no copy: the content is an object's, or private and in one mm
 * only.  Linux: PG_anon_exclusive, for private pages.
 */
static inline bool page_exclusive(const struct page *page)
{
	return page_test(page, PG_EXCLUSIVE);
}

static inline void page_set_exclusive(struct page *page)
{
	page_set(page, PG_EXCLUSIVE);
}

static inline void page_clear_exclusive(struct page *page)
{
	page_clear(page, PG_EXCLUSIVE);
}

static inline void page_set_dirty(struct page *page)
{
	page_set(page, PG_DIRTY);
}

/* "anon", "table", ...: for messages. */
const char *page_kind_name(enum page_kind kind);

/* -------------------------------------------------------------- content */

/* A whole page, by its address in the direct map: 512 moves of 8 bytes. */
static inline void page_zero(struct page *page)
{
	void *to = page_va(page);
	uint64_t n = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(n)
			 : "a"(UINT64_C(0))
			 : "memory");
}

static inline void page_copy(struct page *dst, const struct page *src)
{
	void *to = page_va(dst);
	const void *from = page_va(src);
	uint64_t n = PAGE_SIZE / 8;

	__asm__ volatile("rep movsq"
			 : "+D"(to), "+S"(from), "+c"(n)
			 :
			 : "memory");
}
