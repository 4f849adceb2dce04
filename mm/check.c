/* SPDX-License-Identifier: MIT */
/*
 * check.c - a brute-force scan of all tables against the reverse map
 *
 * No memory is needed for counting: if each page's walk finds page_maps()
 * entries that really map it, and over all pages this is as many entries as
 * there are in all tables, then walk and tables agree entry by entry.
 */
#include "mm/check.h"
#include "kernel/panic.h"
#include "mm/entry.h"
#include "mm/mm_priv.h"

struct census {
	const char *wrong;
	uint64_t mapped, parked; /* entries in all tables                   */
	uint64_t maps, extra;    /* page_maps(), references beyond them     */
};

const char *check_words(const char *fmt, ...)
{
	static char words[160];
	va_list args;

	va_start(args, fmt);
	vsnprintk(words, sizeof(words), fmt, args);
	va_end(args);
	return words;
}

static bool kind_user(enum page_kind kind)
{
	return kind == PAGE_ANON || kind == PAGE_OBJECT || kind == PAGE_KSM;
}

static void check_entry(struct census *c, struct mm *mm, va_t va, uint64_t e)
{
	struct page *page = entry_page(e);
	struct region *r = region_first(mm, va, va + 1);

	if (!r) {
		WRONG(c, "mm %u: entry %lx at %lx is in no region", mm->id, e,
		      va);
		return;
	}
	if (!!(e & PTE_P) != !!(e & ENTRY_IR) ||
	    ((e & PTE_P) && !!(e & PTE_W) != !!(e & ENTRY_IW)) ||
	    (!(e & PTE_P) && (e & (ENTRY_IR | ENTRY_IW | PTE_NEXT_LEVEL))))
		WRONG(c, "mm %u: entry %lx at %lx tells devices another story",
		      mm->id, e, va);
	if (page == zero_page) {
		if (e & PTE_W)
			WRONG(c, "mm %u: zero page writable at %lx", mm->id,
			      va);
		return;
	}
	if (entry_parked(e)) {
		c->parked++;
		return;
	}
	c->mapped++;
	if ((e & PTE_W) && !(r->prot & PROT_W))
		WRONG(c, "mm %u: %lx writable beyond its region", mm->id, va);
	if ((e & PTE_W) && !page_exclusive(page))
		WRONG(c, "mm %u: %lx writable but shared", mm->id, va);
	if (!kind_user(page_kind(page)))
		WRONG(c, "mm %u: %lx maps a %s page", mm->id, va,
		      page_kind_name(page_kind(page)));
}

static void check_tables(struct mm *mm, void *arg)
{
	struct census *c = arg;
	uint64_t before = c->mapped;
	struct pt_run run;
	const char *why = pt_check(&mm->pt);

	if (why)
		WRONG(c, "mm %u: %s", mm->id, why);
	for (va_t va = 0; pt_next_run(&mm->pt, &va, USER_END, &run);)
		for (unsigned i = 0; i < run.count; i++)
			if (run.slots[i])
				check_entry(c, mm, run.va + i * PAGE_SIZE,
					    run.slots[i]);
	if (c->mapped - before != mm->mapped)
		WRONG(c, "mm %u: %lu entries, mm->mapped %lu", mm->id,
		      c->mapped - before, mm->mapped);
}

static bool count_visit(struct page *page, struct region *region, va_t va,
			void *arg)
{
	unsigned *found = arg;

	spin_lock(&region->mm->pt_lock);
	*found += rmap_entry(page, region, va) != NULL;
	spin_unlock(&region->mm->pt_lock);
	return true;
}

static void check_page(struct census *c, struct page *page)
{
	enum page_kind kind = page_kind(page);
	uint32_t refs = page_refs(page), maps = page_maps(page);
	uint32_t known = maps + page_pins(page) + (kind == PAGE_OBJECT);
	unsigned found = 0;

	if (!kind_user(kind)) {
		if (maps)
			WRONG(c, "%s frame %lx is mapped", page_kind_name(kind),
			      pfn_of(page));
		return;
	}
	if (refs < known)
		WRONG(c, "frame %lx: %u references, %u known", pfn_of(page),
		      refs, known);
	if (kind == PAGE_OBJECT && !page_exclusive(page))
		WRONG(c, "object frame %lx asks for copies", pfn_of(page));
	if (kind == PAGE_ANON && page_exclusive(page) && maps > 1)
		WRONG(c, "frame %lx: exclusive, %u mappings", pfn_of(page),
		      maps);
	c->maps += maps;
	c->extra += refs - known;
	if (maps)
		rmap_walk(page, count_visit, &found);
	if (found != maps)
		WRONG(c, "frame %lx: %u mappings, the walk finds %u",
		      pfn_of(page), maps, found);
}

const char *mm_check(void)
{
	struct census c = { 0 };

	mm_for_each(check_tables, &c);
	for (pfn_t pfn = 0; pfn < frames_end; pfn += pmm_stride(&frames[pfn]))
		if (page_refs(&frames[pfn]))
			check_page(&c, &frames[pfn]);
	if (c.maps != c.mapped)
		WRONG(&c, "%lu entries in the tables, %lu in the frames",
		      c.mapped, c.maps);
	if (c.extra != c.parked)
		WRONG(&c, "%lu parked entries, %lu extra references", c.parked,
		      c.extra);
	return c.wrong;
}
