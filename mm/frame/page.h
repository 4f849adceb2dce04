/* SPDX-License-Identifier: MIT */
/*
 * page.h - one struct page for every frame of RAM, and for every page of memory that
 * only a device reaches (device.h): these have numbers that no RAM has
 *
 * The frame array is indexed by frame number, so that a shift and an add lead
 * from a page table entry to everything known about its frame.
 *
 *        count: one atomic 64-bit word      count is 0 <=> free, or frozen
 *   63            32 31             0
 *  +----------------+----------------+     refs = maps + pins + evicted entries
 *  |     maps       |      refs      |            + 1 in an object or the swap cache
 *  +----------------+----------------+
 *
 * A page table entry that maps the frame counts once in maps *and* once in
 * refs; fork and unmap change both halves by one instruction.  Each half has 31
 * bits: its top bit is a tripwire that every step tests, both halves at once.
 * Of a block that is mapped by entries of 2 MiB only the head has a count
 * (mm/rmap/block.h).
 *
 * Locks: none.  count, flags and pins are atomic.  The identity of a user's
 * frame (kind, mapping, index) changes only while no other thread can hold or
 * get a reference: before the first reference is shared, after the last one is
 * dropped, or while the frame is frozen.  So a reference keeps the identity,
 * no matter how the frame was found.
 */
#pragma once

#include <stdatomic.h>
#include "arch/bits.h"
#include "arch/compiler.h"
#include "arch/layout.h"
#include "arch/types.h"
#include "kernel/panic.h"
#include "kernel/san/san.h"

/* What a frame is used for; the low bits of page->flags. */
enum page_kind {
	PAGE_RESERVED, /* not RAM, or not managed: firmware, image, modules */
	PAGE_FREE,     /* in the buddy lists or a per-CPU cache            */
	PAGE_KERNEL,   /* the kernel's own: what page_alloc() returns      */
	PAGE_POOL,     /* a slab of pool.c                                 */
	PAGE_STACK,    /* part of a kernel stack                           */
	PAGE_IOMMU,    /* rings, logs and device table of an IOMMU         */
	PAGE_DMA,      /* the kernel's own; devices may be given access    */
	PAGE_TABLE,    /* a page table; index counts its entries in use    */
	PAGE_ANON,     /* a user's private memory                          */
	PAGE_OBJECT,   /* of a shared object                               */
	PAGE_ZERO,     /* what reads of untouched memory map: zero_page, or the
			* head of the block of mm/rmap/huge_zero.h         */
	PAGE_KSM,      /* private pages merged into one                    */
	PAGE_DEVICE,   /* a user's private memory, in the memory of a device */
	PAGE_VRAM, /* of a device: free, or its driver's (mm/core/device.h) */
	PAGE_HUGETLB, /* head of a block of the fixed pool (huge_pool.h)     */
	PAGE_KINDS,
};

#define PG_KIND      GENMASK(3, 0)
#define PG_ORDER     GENMASK(7, 4) /* of the block that starts here       */
#define PG_BUDDY     BIT(8)        /* head of a block in the buddy lists  */
#define PG_TAIL      BIT(9)        /* inside an allocated block of 2^n    */
#define PG_POISONED  BIT(10)       /* free and filled with PMM_POISON     */
#define PG_EXCLUSIVE BIT(11)       /* a write needs no copy first         */
#define PG_DIRTY     BIT(12)       /* written since it was last clean     */
#define PG_FRESH     BIT(13) /* poisoned since the last pmm_check_poison() */
#define PG_LAZY      BIT(13) /* of a private page: may be dropped (lazy.h) */
#define PG_BARE      BIT(14) /* head of a block whose tails look free     */
#define PG_PARTS     BIT(15) /* such a head: a tail may have PG_DIRTY     */
#define PG_MOVING    BIT(16) /* its content is on the way (moving.h)      */
#define PG_SWAP      GENMASK(31, 17) /* its swap slot; 0: in no cache     */

/* The owner of a frame, by kind.  A parameter of this type accepts each. */
union page_mapping {
	struct page *next;         /* no owner: the next frame on a list   */
	struct pool *pool;         /* POOL                                 */
	struct ksm_chunk *chunk;   /* KERNEL, if it holds a chunk of KSM   */
	struct anon_vma *anon_vma; /* ANON, DEVICE; with a reference       */
	struct object *object;     /* OBJECT; the frame holds a reference  */
	struct ksm_stable_node *stable_node; /* KSM                        */
} __attribute__((transparent_union));

/* Key: (A) atomic  (K) page_change_kind(), free frames: pmm */
struct page {
	_Atomic uint64_t count; /* (A) maps << 32 | refs                     */
	_Atomic uint32_t flags; /* (A) kind, order, PG_*                     */
	_Atomic uint32_t pins;  /* (A) long-lived users of the contents      */
	union page_mapping mapping; /* (K) its owner                         */
	union {
		uint64_t index;    /* (K) page number in the owner; see TABLE */
		struct page *prev; /* of a listed free block                 */
	};
};
_Static_assert(sizeof(struct page) == 32, "32 bytes a frame, 0.8 % of RAM");

#define PAGE_REF     UINT64_C(1)             /* one reference               */
#define PAGE_MAP     (BIT(32) | PAGE_REF)    /* one mapping: both halves    */
#define PAGE_TRIP    (BIT(63) | BIT(31))     /* overflow or underflow       */
#define PAGE_REFS(c) ((uint32_t)(c))         /* of a count: references      */
#define PAGE_MAPS(c) ((uint32_t)((c) >> 32)) /* of a count: mappings      */

#define DEVICE_PAGES 2048u /* of all devices together                       */

extern struct page *frames; /* the array: frames[pfn], pfn < pages_end       */
extern pfn_t frames_end;    /* of RAM                                      */
extern pfn_t device_first;  /* from here to pages_end: memory of devices   */
extern pfn_t pages_end;
extern struct page *zero_page; /* kind ZERO, never written, never freed      */

/* Convert a frame number, which must be below pages_end, to struct page. */
static inline struct page *page_of(pfn_t pfn)
{
	assert(pfn < pages_end);
	return &frames[pfn];
}

/* Convert struct page to its frame number. */
static inline pfn_t pfn_of(const struct page *page)
{
	return (pfn_t)(page - frames);
}

/* Return true for a page of a device's memory: a CPU cannot reach it, and
 * page_va() is not for it. */
static inline bool page_is_device(const struct page *page)
{
	return page >= frames + device_first;
}

/* Return the frame's physical address. */
static inline pa_t page_pa(const struct page *page)
{
	return pfn_of(page) << PAGE_SHIFT;
}

/* Return the frame's address in the direct map. */
static inline void *page_va(const struct page *page)
{
	return phys_to_virt(page_pa(page));
}

/* Return the frame that holds a byte of the direct map. */
static inline struct page *page_of_va(const void *p)
{
	return page_of(virt_to_phys(p) >> PAGE_SHIFT);
}

/* Return the frame that holds the byte at a physical address. */
static inline struct page *page_of_pa(pa_t pa)
{
	return page_of(pa >> PAGE_SHIFT);
}

/* ------------------------------------------------------------- counting */

/* Read count once: both halves at one instant. */
static inline uint64_t page_count(const struct page *page)
{
	return atomic_load_explicit(&page->count, memory_order_relaxed);
}

/* Return the number of references, mappings included. */
static inline uint32_t page_refs(const struct page *page)
{
	return PAGE_REFS(page_count(page));
}

/* Return the number of entries that map the frame. */
static inline uint32_t page_maps(const struct page *page)
{
	return PAGE_MAPS(page_count(page));
}

/* Return the number of pins (mm/space/pin.h). */
static inline uint32_t page_pins(const struct page *page)
{
	return atomic_load_explicit(&page->pins, memory_order_relaxed);
}

/* Panic because a half of count went below 0 or above 2^31 - 1. */
noreturn void page_count_broken(const struct page *page, uint64_t now);

/*
 * Add delta (a multiple of PAGE_REF and PAGE_MAP, may be negative) and return
 * the new count.  Addition needs no order: the caller already holds a
 * reference.  Subtraction is a release and an acquire, so that the thread that
 * reaches zero sees every earlier use of the frame.
 */
static inline uint64_t page_count_add(struct page *page, uint64_t delta)
{
	uint64_t now = delta + atomic_fetch_add_explicit(&page->count, delta,
							 memory_order_acq_rel);

	if (unlikely(now & PAGE_TRIP))
		page_count_broken(page, now);
	return now;
}

/*
 * Take one more reference.  Context: the caller holds a reference, or the
 * page-table lock of an entry that holds one.
 */
static inline void page_get(struct page *page)
{
	uint64_t now = page_count_add(page, PAGE_REF);

	require(PAGE_REFS(now) > 1);
}

/*
 * Take one more reference if the frame has any and is not frozen.  For a frame
 * that was found through something that does not keep it alive: the caller must
 * then check that it is still the frame that it looked for.  Any context.
 * Linux: get_page_unless_zero(), folio_try_get().
 */
must_check bool page_try_get(struct page *page);

/*
 * Take a reference on a frame that was found by its number, if it is a user's
 * (kind_user()).  Its identity is then fixed: rmap_walk() may follow
 * page->mapping until page_put().  Context: any that may take RANK_PMM.
 */
must_check bool page_try_get_user(struct page *page);

/*
 * Take all references away, if the count is `count`.  The caller accounts for
 * every one of them: entries under a pt_lock that it holds, and its own references.
 * Returns false, with nothing changed, if there are others.  While a frame is
 * frozen page_try_get() fails, and no other function of this file that changes
 * the count may be called for it; page_unfreeze() restores count.
 * Linux: folio_ref_freeze().
 */
must_check static inline bool page_freeze(struct page *page, uint64_t count)
{
	uint64_t old = count;

	assert(PAGE_REFS(count) > 0);
	return atomic_compare_exchange_strong_explicit(
		&page->count, &old, count - PAGE_REFS(count),
		memory_order_acq_rel, memory_order_relaxed);
}

/*
 * Restore the count that page_freeze() took.  A release: a thread that gets a
 * reference afterwards sees the frame's new identity.
 */
static inline void page_unfreeze(struct page *page, uint64_t count)
{
	require(page_count(page) == count - PAGE_REFS(count));
	atomic_store_explicit(&page->count, count, memory_order_release);
}

/*
 * Drop one reference.  The last one frees the frame (or the block of 2^order
 * frames that it heads).  Context: any that may take RANK_PMM.
 */
void page_put(struct page *page);

/* Count one more entry that maps the frame, before the entry is visible. */
static inline uint64_t page_map_add(struct page *page)
{
	return page_count_add(page, PAGE_MAP);
}

/*
 * Count one entry less, after it was cleared and flushed everywhere.  Returns
 * the new count; at 0 the frame has been freed.
 * Context: any that may take RANK_PMM.
 */
uint64_t page_map_drop(struct page *page);

/* Turn a mapping into a plain reference: the entry becomes an evicted one. */
static inline uint64_t page_map_to_ref(struct page *page)
{
	return page_count_add(page, -BIT(32));
}

/* Turn the reference of an evicted entry into a mapping again. */
static inline uint64_t page_ref_to_map(struct page *page)
{
	return page_count_add(page, BIT(32));
}

/* ---------------------------------------------------------------- flags */

/* Read all flags at one instant. */
static inline uint32_t page_flags(const struct page *page)
{
	return atomic_load_explicit(&page->flags, memory_order_relaxed);
}

/* Return what the frame is used for. */
static inline enum page_kind page_kind(const struct page *page)
{
	return (enum page_kind)(page_flags(page) & PG_KIND);
}

/* Return the order of the block that the frame heads; 0 for a single frame. */
static inline unsigned page_order(const struct page *page)
{
	return (unsigned)FIELD_GET(PG_ORDER, page_flags(page));
}

/* Return true for the kinds that the reverse map knows. */
static inline bool kind_user(enum page_kind kind)
{
	return kind == PAGE_ANON || kind == PAGE_OBJECT || kind == PAGE_KSM ||
	       kind == PAGE_DEVICE;
}

/*
 * Change kind, owner and index: together, and only here.  The frame is frozen,
 * or it comes from page_alloc() or device_page_alloc() and no other thread holds a
 * reference.  Another
 * thread may still look at it by its number, so the kind is stored last, by a
 * release.  Other flags stay.
 */
static always_inline void
page_change_kind(struct page *page, enum page_kind from, enum page_kind to,
		 union page_mapping owner, uint64_t index)
{
	assert(page_kind(page) == from);
	assert(from == PAGE_KERNEL || from == PAGE_VRAM || !page_refs(page));
	page->mapping = owner;
	page->index = index;
	atomic_fetch_xor_explicit(&page->flags, (uint32_t)(from ^ to),
				  memory_order_release);
}

/* Set a kind that has no owner.  The caller has just allocated the frame, and
 * no other thread can see it yet. */
static inline void page_set_kind(struct page *page, enum page_kind kind)
{
	uint32_t flags = page_flags(page) & ~(uint32_t)PG_KIND;

	assert(!kind_user(kind) && kind != PAGE_POOL);
	atomic_store_explicit(&page->flags, flags | kind, memory_order_relaxed);
}

/* Set a kind that has no owner for each frame of the block that page heads. */
static inline void page_set_kind_block(struct page *page, enum page_kind kind)
{
	for (unsigned i = 0; i < 1u << page_order(page); i++)
		page_set_kind(page + i, kind);
}

/* Test one PG_* bit. */
static inline bool page_test(const struct page *page, uint32_t bit)
{
	return page_flags(page) & bit;
}

/* Set one PG_* bit; other bits may change at the same time. */
static inline void page_set(struct page *page, uint32_t bit)
{
	atomic_fetch_or_explicit(&page->flags, bit, memory_order_relaxed);
}

/* Clear one PG_* bit; other bits may change at the same time. */
static inline void page_clear(struct page *page, uint32_t bit)
{
	atomic_fetch_and_explicit(&page->flags, ~bit, memory_order_relaxed);
}

/* Return the head of the allocated block in which the frame lies; of any other frame
 * the frame itself.  The block is not split or freed meanwhile. */
struct page *page_head(struct page *page);

/* Return true if the frames at two addresses are one, or both read as zero for ever: an
 * MMU with a table of its own may go on with the other. */
static inline bool page_same(pa_t a, pa_t b)
{
	return a == b || (page_kind(page_head(page_of_pa(a))) == PAGE_ZERO &&
			  page_kind(page_head(page_of_pa(b))) == PAGE_ZERO);
}

/* Return true if the frame is free: a bare block's tail, of kind FREE, is not. */
static inline bool page_is_free(struct page *page)
{
	return page_kind(page) == PAGE_FREE &&
	       page_kind(page_head(page)) == PAGE_FREE;
}

/*
 * Return true if a write needs no copy: the frame belongs to an object, or it
 * is private and in one mm only.  Linux: PG_anon_exclusive, for private pages.
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

/* Mark a frame that may be a bare block's tail as dirty.  The block stays allocated,
 * and may be split meanwhile. */
void page_part_set_dirty(struct page *page);

/* Return the kind's name for messages: "anon", "table", ... */
const char *page_kind_name(enum page_kind kind);

/* -------------------------------------------------------------- content */

/* Fill the 2^order frames from page on with zeroes: 512 stores of 8 bytes each. */
static inline void pages_zero(struct page *page, unsigned order)
{
	void *to = page_va(page);
	uint64_t n = PAGE_SIZE / 8 << order;

	san_touch(to, PAGE_SIZE, true);
	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(n)
			 : "a"(UINT64_C(0))
			 : "memory");
}

/* Fill a whole frame with zeroes. */
static inline void page_zero(struct page *page)
{
	pages_zero(page, 0);
}

/* Copy a whole frame: 512 moves of 8 bytes. */
static inline void page_copy(struct page *dst, const struct page *src)
{
	void *to = page_va(dst);
	const void *from = page_va(src);
	uint64_t n = PAGE_SIZE / 8;

	san_touch(from, PAGE_SIZE, false);
	san_touch(to, PAGE_SIZE, true);
	__asm__ volatile("rep movsq"
			 : "+D"(to), "+S"(from), "+c"(n)
			 :
			 : "memory");
}
