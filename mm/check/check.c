/* SPDX-License-Identifier: MIT */
/*
 * check.c - compare a full scan of all tables with the reverse map
 *
 * No memory is needed for counting: if each page's walk finds page_maps()
 * entries that really map it, and over all pages this is as many entries as
 * there are in all tables, then walk and tables agree entry by entry.
 */
#include "mm/check/check.h"
#include "kernel/panic.h"
#include "mm/core/entry.h"
#include "mm/core/device.h"
#include "mm/core/object.h"
#include "mm/core/track.h"
#include "mm/frame/huge_pool.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/huge_zero.h"
#include "mm/space/mm_priv.h"
#include "mm/swap/swap.h"

struct census {
	const char *wrong;
	uint64_t mapped, evicted; /* pages and entries in all tables         */
	uint64_t swapped;         /* sum of mix() over the swapped ones      */
	uint64_t maps, extra;     /* page_maps(), references beyond them     */
	uint64_t huge;            /* huge entries of one mm                  */
	uint64_t zeroes;          /* of all, those of the block of zeroes,   */
	uint64_t pooled;          /* and those of blocks of the fixed pool   */
};

const char *check_message(const char *fmt, ...)
{
	static char words[160];
	va_list args;

	va_start(args, fmt);
	vsnprintk(words, sizeof(words), fmt, args);
	va_end(args);
	return words;
}

/* Spread the numbers of swap slots, so that sums over different sets of slots are
 * different. */
static uint64_t mix(swp_t swp)
{
	uint64_t x = swp * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 29;
}

/* Check and count one swapped entry. */
static void check_swapped(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	swp_t swp = entry_swp(e);

	if (!swp || swp > swap_stat().pages || !swap_users(swp)) {
		WRONG(c, "mm %u: %lx names swap slot %u, which is free", mm->id,
		      va, swp);
		return;
	}
	if (e & ENTRY_SWAP_EX && swap_users(swp) != 1)
		WRONG(c, "mm %u: %lx is exclusive, swap slot %u has %u users",
		      mm->id, va, swp, swap_users(swp));
	c->swapped += mix(swp);
}

/* Count the slot of a page that has left its object. */
static void count_swapped(uint32_t swp, void *c)
{
	((struct census *)c)->swapped += mix(swp);
}

/* Check that the users of all swap slots are the swapped entries, and objects. */
static void check_slots(struct census *c)
{
	uint64_t users = 0;

	object_for_each_swapped(count_swapped, c);
	for (swp_t swp = 1; swp <= swap_stat().pages; swp++)
		users += swap_users(swp) * mix(swp);
	if (users != c->swapped)
		WRONG(c, "users of swap slots are not the swapped entries "
			 "and objects");
}

/* Check one device entry. */
static void check_device(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	struct page *page = entry_page(e);

	if (!page_is_device(page) || page_kind(page) != PAGE_DEVICE)
		WRONG(c, "mm %u: %lx names page %lx of a device, which is %s",
		      mm->id, va, pfn_of(page),
		      page_kind_name(page_kind(page)));
}

/* Check one device-exclusive entry. */
static void check_device_exclusive(struct census *c, struct mm *mm, va_t va,
				   uint64_t e)
{
	struct page *page = entry_page(e);

	if (page_kind(page) != PAGE_ANON || !page_exclusive(page) ||
	    page_maps(page) || page_pins(page))
		WRONG(c, "mm %u: %lx is a device's alone, but its page is not",
		      mm->id, va);
}

/* Return the record that meets the range, or NULL; it stays: no other thread changes an
 * mm. */
static struct track *record_of(struct mm *mm, va_t start, va_t end)
{
	struct track *t;

	spin_lock(&mm->pt_lock);
	t = track_find(mm, start, end);
	spin_unlock(&mm->pt_lock);
	return t;
}

/* Check that the pages of an entry with W in a tracked region are noted. */
static void check_noted(struct census *c, struct mm *mm, va_t va, uint64_t len)
{
	struct track *t = record_of(mm, va, va + len);

	for (va_t at = va; t && at < va + len; at += PAGE_SIZE)
		if (!track_noted(t, at))
			WRONG(c, "mm %u: %lx writable and not noted", mm->id,
			      at);
}

/* Check and count one live entry of a table of this level. */
static void check_entry(struct census *c, struct mm *mm, va_t va, uint64_t e,
			unsigned level)
{
	struct region *r = region_first(mm, va, va + 1);
	enum entry_state state = entry_state(e);
	struct page *page;

	if (!r) {
		WRONG(c, "mm %u: entry %lx at %lx is in no region", mm->id, e,
		      va);
		return;
	}
	if (!level && entry_huge(e))
		WRONG(c, "mm %u: a small entry at %lx has PS", mm->id, va);
	if (!!(e & PTE_P) != !!(e & ENTRY_IR) ||
	    ((e & PTE_P) && !!(e & PTE_W) != !!(e & ENTRY_IW)) ||
	    (!(e & PTE_P) && (e & (ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL))))
		WRONG(c,
		      "mm %u: entry %lx at %lx: CPU and device rights differ",
		      mm->id, e, va);
	c->evicted += state == STATE_EVICTED || state == STATE_DEVICE ||
		      state == STATE_DEVICE_EXCLUSIVE;
	c->mapped += entry_mapped(e) && kind_user(page_kind(entry_page(e)));
	if (state == STATE_SWAPPED)
		check_swapped(c, mm, va, e);
	if (state == STATE_DEVICE)
		check_device(c, mm, va, e);
	if (state == STATE_DEVICE_EXCLUSIVE)
		check_device_exclusive(c, mm, va, e);
	if (!entry_mapped(e))
		return;
	page = entry_page(e);
	if ((e & PTE_W) && state != STATE_EXCLUSIVE)
		WRONG(c, "mm %u: %lx writable in state %s", mm->id, va,
		      entry_state_name(state));
	if (state == STATE_ZERO)
		return;
	if ((e & PTE_W) && !(region_rights(r) & PROT_W))
		WRONG(c, "mm %u: %lx writable beyond its region", mm->id, va);
	if ((e & PTE_W) && r->prot & PROT_TRACK)
		check_noted(c, mm, va, entry_huge(e) ? BLOCK_SIZE : PAGE_SIZE);
	if (!kind_user(page_kind(page)) && !entry_huge(e))
		WRONG(c, "mm %u: %lx maps a %s page", mm->id, va,
		      page_kind_name(page_kind(page)));
}

/* Check and count one huge entry, which check_entry() has seen as one of a page. */
static void check_huge(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	struct region *r = region_first(mm, va, va + 1);
	struct page *head = entry_page(e);
	bool pooled = page_kind(head) == PAGE_HUGETLB;

	c->huge++;
	c->zeroes += entry_huge_zero(e);
	c->pooled += pooled;
	if (page_kind(head) == PAGE_ANON)
		c->mapped += BLOCK_PAGES - 1;
	if (!entry_huge(e) || !IS_ALIGNED(page_pa(head), BLOCK_SIZE) ||
	    (page_kind(head) != PAGE_ANON && !entry_huge_zero(e) && !pooled))
		WRONG(c, "mm %u: entry %lx at %lx maps no block", mm->id, e,
		      va);
	if (!r || va < r->start || va + BLOCK_SIZE > r->end)
		WRONG(c, "mm %u: the huge entry at %lx crosses its region",
		      mm->id, va);
	if (r && pooled != !!(r->flags & MAP_HUGETLB))
		WRONG(c, "mm %u: %lx and its region disagree about the pool",
		      mm->id, va);
	/* A split block is shared: its last owner splits the entry first. */
	for (unsigned i = 0; !block_whole(head) && i < BLOCK_PAGES; i++)
		if (page_exclusive(head + i) || page_pins(head + i))
			WRONG(c, "frame %lx of a huge entry is exclusive",
			      pfn_of(head + i));
}

/* Check that the deposit has a table for each huge entry. */
static void check_deposit(struct census *c, struct mm *mm)
{
	uint64_t n = 0;

	for (struct page *t = mm->deposit; t; t = t->mapping.next)
		n++;
	if (n != c->huge)
		WRONG(c, "mm %u: %lu huge entries, %lu tables for them", mm->id,
		      c->huge, n);
}

/* Return whether a tracked range contains the region. */
static bool inside_track(struct mm *mm, const struct region *r)
{
	struct track *t = record_of(mm, r->start, r->end);

	return t && t->start <= r->start && r->end <= t->end;
}

/* Check that no two neighbours should have been joined, and that each tracked region
 * has a record. */
static void check_regions(struct census *c, struct mm *mm)
{
	struct region *r, *last = NULL;

	for_each_region (r, mm, USER_START, USER_END) {
		if (r->flags & REGION_TRACKED && !inside_track(mm, r))
			WRONG(c, "mm %u: region at %lx has no record", mm->id,
			      r->start);
		if (last && region_alike(last, r))
			WRONG(c, "mm %u: two regions at %lx should be one",
			      mm->id, r->start);
		last = r;
	}
}

/* Check and count all entries of one mm. */
static void check_tables(struct mm *mm, void *arg)
{
	struct census *c = arg;
	uint64_t before = c->mapped;
	struct pt_run run;
	const char *why = pt_check(&mm->pt);

	if (why)
		WRONG(c, "mm %u: %s", mm->id, why);
	check_regions(c, mm);
	c->huge = 0;
	for (va_t va = 0; pt_next_run(&mm->pt, &va, USER_END, &run);) {
		for (unsigned i = pt_next_live(run.slots, 0, run.count);
		     i < run.count;
		     i = pt_next_live(run.slots, i + 1, run.count))
			check_entry(c, mm, run.va + i * PAGE_SIZE, run.slots[i],
				    run.level);
		if (run.level)
			check_huge(c, mm, run.va, run.slots[0]);
	}
	check_deposit(c, mm);
	if (c->mapped - before != mm->mapped)
		WRONG(c, "mm %u: %lu entries, mm->mapped %lu", mm->id,
		      c->mapped - before, mm->mapped);
}

/* Count an entry that the reverse map finds: an rmap_visit. */
static bool count_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	unsigned *found = arg;

	spin_lock(&region->mm->pt_lock);
	*found += rmap_leaf(page, region, va).slot != NULL;
	spin_unlock(&region->mm->pt_lock);
	return true;
}

/* Return how many entries map a frame in use that is not in the reverse map: each block
 * of the fixed pool has one. */
static uint64_t maps_of_kind(const struct census *c, const struct page *page)
{
	if (page == huge_zero)
		return c->zeroes;
	return page_kind(page) == PAGE_HUGETLB;
}

/* Check that the blocks of the fixed pool are free or mapped. */
static void check_pool(struct census *c)
{
	struct huge_pool_stat pool = huge_pool_stat();

	if (pool.total - pool.free != c->pooled)
		WRONG(c, "the pool has %u blocks, %u free; %lu are mapped",
		      pool.total, pool.free, c->pooled);
}

/* Check the counts and flags of one frame in use. */
static void check_page(struct census *c, struct page *page)
{
	enum page_kind kind = page_kind(page);
	uint32_t refs = page_refs(page), maps = page_maps(page);
	uint32_t known = maps + page_pins(page) + (kind == PAGE_OBJECT) +
			 page_cached(page);
	unsigned found = 0;

	if (!kind_user(kind)) {
		if (maps != maps_of_kind(c, page))
			WRONG(c, "%s frame %lx has %u mappings",
			      page_kind_name(kind), pfn_of(page), maps);
		return;
	}
	if ((kind == PAGE_DEVICE) != page_is_device(page))
		WRONG(c, "%s frame %lx is in other memory",
		      page_kind_name(kind), pfn_of(page));
	if (refs < known)
		WRONG(c, "frame %lx: %u references, %u known", pfn_of(page),
		      refs, known);
	if (kind == PAGE_OBJECT && page_swp(page))
		count_swapped(page_swp(page), c);
	if (kind == PAGE_OBJECT && !page_exclusive(page))
		WRONG(c, "object frame %lx is not marked exclusive",
		      pfn_of(page));
	if (kind == PAGE_ANON && page_exclusive(page) && maps > 1)
		WRONG(c, "frame %lx: exclusive, %u mappings", pfn_of(page),
		      maps);
	c->maps += (uint64_t)maps << page_order(page);
	c->extra += refs - known;
	if (maps)
		rmap_walk(page, count_visit, &found);
	if (found != maps)
		WRONG(c, "frame %lx: %u mappings, the walk finds %u",
		      pfn_of(page), maps, found);
}

/* Extra references without an evicted entry, as the last call found them. */
static uint64_t unexplained;

const char *mm_check(void)
{
	struct census c = { 0 };

	require(may_sleep());
	mm_for_each(check_tables, &c);
	for (pfn_t pfn = 0; pfn < frames_end; pfn += pmm_stride(&frames[pfn]))
		if (page_refs(&frames[pfn]))
			check_page(&c, &frames[pfn]);
	for (pfn_t pfn = device_first; pfn < pages_end; pfn++)
		if (page_refs(&frames[pfn]))
			check_page(&c, &frames[pfn]);
	check_slots(&c);
	check_pool(&c);
	if (!c.wrong)
		c.wrong = swap_check();
	if (!c.wrong)
		c.wrong = device_memory_check();
	if (c.maps != c.mapped)
		WRONG(&c, "%lu entries in the tables, %lu in the frames",
		      c.mapped, c.maps);
	if (c.extra - c.evicted != unexplained)
		WRONG(&c,
		      "%lu evicted entries, %lu extra references, of which %ld "
		      "were there before",
		      c.evicted, c.extra, (int64_t)unexplained);
	unexplained = c.extra - c.evicted;
	return c.wrong;
}
