/* SPDX-License-Identifier: MIT */
/*
 * collapse.c - copy 512 pages into a block and map it by one entry
 *
 *   start                                                               end
 *   ---+------------------------------------------------------------------+--->
 *      | pt_lock  table's entry off, flush | copy | pt_lock  huge entry on |
 *                 all MMUs, refs? ^
 *
 * From the flush on no MMU reaches the pages: what a CPU or a device has written
 * before is in them, and is copied.  A device with a table of its own is kept out by
 * the invalidation.  Faults wait for mm->lock, which is held to write, so that the entry
 * stays a hole while the copy runs without pt_lock; a pin finds no entry; a
 * walk of the reverse map visits the region in vain.
 *
 * References are tested after the flush: before it a thread could still pin a page,
 * or a device use it.  If the test fails the table's entry is stored again, and the
 * 512 entries in it, which nothing has changed, are valid as they were.
 *
 * The table is no longer reachable by any MMU after the flush.  It becomes the deposit
 * of the new entry, so that a collapse needs no memory but the block.
 */
#include "mm/huge/collapse.h"
#include "kernel/err.h"
#include "kernel/probe.h"
#include "mm/core/entry.h"
#include "mm/frame/pmm.h"
#include "mm/notifier/flush.h"
#include "mm/reclaim/compact.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"

struct collapse {
	struct mm *mm;
	struct region *region;
	va_t start;
	bool advised;       /* the region must have MAP_HUGE                 */
	uint64_t *slot;     /* of the table's entry, at level 1              */
	uint64_t table;     /* that entry                                    */
	uint64_t *small;    /* the 512 entries                               */
	struct page *block; /* the new one; NULL: the pages are joined       */
	pa_t zero;          /* the zero page's                               */
	unsigned pages;     /* private ones that are mapped                  */
};

/* Return true if the small entry e is a hole or maps the zero page. */
static inline bool is_empty(const struct collapse *c, uint64_t e)
{
	return !e || ((e & PTE_ADDR) == c->zero && entry_mapped(e));
}

/* What is the same, but for the order of the frames, in entries that can be joined. */
#define IN_ORDER (PT_ADDRESS | PTE_P | ENTRY_NOACCESS)

/* Return the page of a small entry.  The table is not the place to test for frame
 * numbers that do not exist: the code that stored them did. */
static inline struct page *small_page(uint64_t e)
{
	return frames + ((e & PTE_ADDR) >> PAGE_SHIFT);
}

/* Test every entry: each is empty, or maps a private page of which it is the only
 * reference.  Counts these pages.  Returns 0, -ENOENT or -EBUSY.
 * Context: pt_lock held. */
static int test_entries(struct collapse *c)
{
	const uint64_t *at = c->small, *end = at + BLOCK_PAGES;
	unsigned pages = 0;

	require(spin_held(&c->mm->pt_lock));
	for (; at < end; at++) {
		uint64_t e = pte_read(at);
		struct page *page = small_page(e);

		if (unlikely(is_empty(c, e)))
			continue;
		if (unlikely(!entry_mapped(e) || page_count(page) != PAGE_MAP ||
			     page_kind(page) != PAGE_ANON))
			return err(EBUSY);
		pages++;
	}
	c->pages = pages;
	return pages ? 0 : err(ENOENT);
}

/* Return the first page if it heads an aligned block, and one of 64 of the others is
 * mapped like it, in the order of the frames.  Context: pt_lock held. */
static struct page *look_in_order(const struct collapse *c)
{
	uint64_t want = pte_read(&c->small[0]), differ = 0;

	require(spin_held(&c->mm->pt_lock));
	if (!entry_mapped(want) || !IS_ALIGNED(pt_pa(want), BLOCK_SIZE))
		return NULL;
	for (unsigned i = 63; i < BLOCK_PAGES; i += 64)
		differ |= pte_read(&c->small[i]) ^ (want + i * PAGE_SIZE);
	return differ & IN_ORDER ? NULL : entry_page(want);
}

/* Return the first page if all 512 are mapped so.  Context: pt_lock held; the table is
 * detached, so that no MMU sets A or D. */
static struct page *frames_in_order(const struct collapse *c)
{
	const uint64_t *at = c->small, *end = at + BLOCK_PAGES;
	uint64_t want = *at;

	require(spin_held(&c->mm->pt_lock) && !pte_read(c->slot));
	if (!look_in_order(c))
		return NULL;
	for (; at < end; at += 8, want += 8 * PAGE_SIZE) {
		uint64_t differ = 0;

#pragma GCC unroll 8
		for (unsigned j = 0; j < 8; j++)
			differ |= at[j] ^ (want + j * PAGE_SIZE);
		if (differ & IN_ORDER)
			return NULL;
	}
	return entry_page(c->small[0]);
}

/* Join the pages where they are.  Returns the block, or NULL.
 * Context: pt_lock held, the table detached. */
static struct page *join_pages(struct collapse *c)
{
	struct page *head = frames_in_order(c);

	require(spin_held(&c->mm->pt_lock));
	c->pages = BLOCK_PAGES;
	return head && block_join(head) ? head : NULL;
}

/* Fill the block.  No MMU reaches the pages, and no thread changes an entry. */
static void copy_pages(struct collapse *c)
{
	const uint64_t *at = c->small, *end = at + BLOCK_PAGES;
	struct page *to = c->block;

	for (; at < end; at++, to++) {
		if (unlikely(is_empty(c, *at)))
			page_zero(to);
		else
			page_copy(to, small_page(*at));
	}
	PROBE(collapse_copied, c->mm, c->start);
}

/* Take the table's entry away from every MMU.  Context: pt_lock held. */
static void detach(struct collapse *c)
{
	struct mm *mm = c->mm;

	require(spin_held(&mm->pt_lock));
	c->table = pte_xchg(c->slot, 0);
	pt_forget(&mm->pt); //: collapse-forgets
	PROBE(collapse_cleared, mm, c->start);
	tlb_flush_range(mm, c->start, c->start + BLOCK_SIZE);
	PROBE(collapse_flushed, mm, c->start);
}

/* Undo detach().  Context: pt_lock held. */
static void reattach(struct collapse *c)
{
	require(spin_held(&c->mm->pt_lock));
	pte_write(c->slot, c->table);
	PROBE(collapse_refused, c->mm, c->start);
	tlb_upgrade_range(c->mm, c->start, c->start + BLOCK_SIZE);
}

/* Store the huge entry of head, with one mapping; the table becomes its deposit.
 * Context: pt_lock held. */
static void attach(struct collapse *c, struct page *head)
{
	struct page *table = page_of_pa(pt_pa(c->table));
	struct mm *mm = c->mm;

	require(spin_held(&mm->pt_lock) && !pte_read(c->slot));
	pte_write(c->slot,
		  entry_make(head, c->region->prot) | PTE_PS | PTE_A | PTE_D);
	table->index = 0;
	huge_deposit(mm, table);
	mm->pt.tables--;
	mm->mapped += BLOCK_PAGES - c->pages;
	PROBE(pte_set, mm, c->start);
}

/* Drop what the small entries mapped. */
static void drop_pages(struct collapse *c)
{
	const uint64_t *at = c->small, *end = at + BLOCK_PAGES;
	struct anon_batch batch = { 0 };

	for (; at < end; at++) {
		struct page *page = small_page(*at);

		if (unlikely(is_empty(c, *at))) {
			if (*at & PTE_D)
				zero_merged_add(-1);
			continue;
		}
		if (unlikely(page_count_add(page, -PAGE_MAP)))
			continue; /* it was found by its number meanwhile */
		anon_batch_add(&batch, page);
	}
	anon_batch_free(&batch);
}

/* Map a copy of the pages.  Context: mm->lock held to write, the table detached. */
static void collapse_copy(struct collapse *c)
{
	require(rw_held_write(&c->mm->lock));
	copy_pages(c);
	spin_lock(&c->mm->pt_lock);
	page_set_anon(c->block, c->region, c->start);
	page_ref_to_map(c->block);
	drop_pages(c);
	attach(c, c->block);
	spin_unlock(&c->mm->pt_lock);
	c->block = NULL;
}

/* Do mm_collapse() inside the invalidation.  Context: mm->lock held to write. */
static int collapse_table(struct collapse *c)
{
	struct page *joined = NULL;
	int ret = 0;

	require(rw_held_write(&c->mm->lock) && may_sleep());
	spin_lock(&c->mm->pt_lock);
	detach(c);
	if (!c->block) {
		joined = join_pages(c);
		ret = joined ? 0 : err(EBUSY);
	} else {
		ret = test_entries(c);
	}
	if (joined)
		attach(c, joined);
	else if (ret)
		reattach(c);
	spin_unlock(&c->mm->pt_lock);
	if (!ret && !joined)
		collapse_copy(c);
	if (!ret)
		huge_count_collapse(joined);
	return ret;
}

/* Find the table.  Returns 0; 1 if the entry is huge already; -EINVAL, -ENOENT,
 * -EBUSY.  *join: the pages may be joined.  Context: mm->lock held to write. */
static int collapse_find(struct collapse *c, bool *join)
{
	struct mm *mm = c->mm;
	unsigned level;
	int ret = -ENOENT;

	require(rw_held_write(&mm->lock));
	c->region = region_find(mm, c->start);
	if (!c->region || c->region->object || !c->region->prot ||
	    c->start + BLOCK_SIZE > c->region->end || READ_ONCE(mm->limit))
		return err(EINVAL);
	if (c->advised && !(c->region->flags & MAP_HUGE))
		return err(EINVAL);
	spin_lock(&mm->pt_lock);
	c->slot = pt_lookup(&mm->pt, c->start, 1, &level);
	c->table = pte_read(c->slot);
	if (level == 1 && entry_huge(c->table)) {
		ret = 1;
	} else if (level == 1 && c->table) {
		c->small = pt_table(c->table);
		*join = look_in_order(c);
		ret = *join ? 0 : test_entries(c);
	}
	spin_unlock(&mm->pt_lock);
	return ret;
}

/* Do mm_collapse() for a table that was found, with or without a copy. */
static int collapse_by(struct collapse *c, bool join)
{
	struct mmu_notifier_range range;
	int ret;

	require(rw_held_write(&c->mm->lock));
	c->block = join ? NULL : block_obtain();
	if (!join && !c->block)
		return err(ENOMEM);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, c->mm, c->start,
				c->start + BLOCK_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	ret = collapse_table(c);
	mmu_notifier_invalidate_range_end(&range);
	if (c->block)
		page_put(c->block);
	return ret;
}

/* Do mm_collapse().  Context: mm->lock held to write. */
static int collapse_locked(struct collapse *c)
{
	bool join = false;
	int ret = collapse_find(c, &join);

	require(rw_held_write(&c->mm->lock));
	if (ret)
		return ret < 0 ? ret : 0;
	ret = collapse_by(c, join);
	/* Pages in order that cannot be joined may be copied. */
	return join && ret == -EBUSY ? collapse_by(c, false) : ret;
}

/* Do mm_collapse(), or collapse_advised(). */
static int collapse(struct mm *mm, va_t va, bool advised)
{
	struct collapse c = { .mm = mm,
			      .start = ALIGN_DOWN(va, BLOCK_SIZE),
			      .advised = advised,
			      .zero = page_pa(zero_page) };
	int ret;

	require(may_sleep());
	rw_write_lock(&mm->lock);
	ret = collapse_locked(&c);
	rw_write_unlock(&mm->lock);
	return ret;
}

int mm_collapse(struct mm *mm, va_t va)
{
	require(may_sleep());
	if (va < USER_START || va >= USER_END)
		return err(EINVAL);
	return collapse(mm, va, false);
}

int collapse_advised(struct mm *mm, va_t va)
{
	require(may_sleep());
	return collapse(mm, va, true);
}
