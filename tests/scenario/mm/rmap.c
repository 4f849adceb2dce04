/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - from a page to its mappings: C65, C66, C67, C69, H17, H29, H35
 */
#include "arch/cpu.h"
#include "kernel/err.h"
#include "mm/core/entry.h"
#include "mm/rmap/anon_vma.h"
#include "tests/fixture/mm/sync_point.h"

TEST(rmap, rmap_finds_exactly_the_mapping_tables,
     "the reverse map finds each page of a tree of forks in exactly the page "
     "tables that map it (C65)")
{
	enum {
		N = 13
	};
	struct mm *mm[N];
	struct page *page;

	mm[0] = mm_fixture(8);
	for (unsigned i = 0; i < 8; i++)
		wr(mm[0], P(i), i);
	/* Three levels of three; each generation writes half of the pages. */
	for (unsigned k = 1; k < N; k++) {
		mm[k] = fork_of(mm[(k - 1) / 3]);
		for (unsigned i = k % 2; i < 8; i += 2)
			wr(mm[k], P(i), k);
	}
	for (unsigned k = 0; k < N; k++)
		for (unsigned i = 0; i < 8; i++) {
			page = page_at(mm[k], P(i));
			REQUIRE(page);
			EXPECT_EQ(mappings(page), page_maps(page));
			page_put(page);
		}
	for (unsigned k = 0; k < N; k++)
		mm_put(mm[k]);
}

TEST(rmap, child_page_does_not_visit_parent,
     "a walk for a page that a child allocated does not visit the parent")
{
	struct mm *parent = mm_fixture(1), *child[4];
	struct page *page;

	wr(parent, VA, 1);
	for (unsigned i = 0; i < 4; i++)
		child[i] = fork_of(parent);
	wr(child[2], VA, 2);
	page = page_at(child[2], VA);
	EXPECT_EQ(visits(page), 1);
	page_put(page);
	for (unsigned i = 0; i < 4; i++)
		mm_put(child[i]);
	mm_put(parent);
}

static bool until_found(struct page *page, struct region *region, va_t va,
			void *arg)
{
	unsigned *tables = arg;
	uint64_t *slot;

	++*tables;
	spin_lock(&region->mm->pt_lock);
	slot = rmap_entry(page, region, va);
	spin_unlock(&region->mm->pt_lock);
	return !slot;
}

TEST(rmap, rmap_visits_the_owner_first,
     "a walk for a page that all 64 children have copied visits one page table")
{
	struct mm *first = mm_fixture(1), *mm, *kid[64];
	unsigned tables = 0;
	struct page *page;

	/* Its memory is used again: a child's region lies below its parent's. */
	wr(first, VA, 1);
	mm = mm_fixture(1);
	wr(mm, VA, 1);
	mm_put(first);
	for (unsigned i = 0; i < ARRAY_SIZE(kid); i++) {
		kid[i] = fork_of(mm);
		wr(kid[i], VA, i);
	}
	page = page_at(mm, VA);
	EXPECT_EQ(visits(page), ARRAY_SIZE(kid) + 1);
	rmap_walk(page, until_found, &tables);
	EXPECT_EQ(tables, 1);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	EXPECT_EQ(rd(mm, VA), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(kid); i++) {
		EXPECT_EQ(rd(kid[i], VA), i);
		mm_put(kid[i]);
	}
	mm_put(mm);
}

TEST(rmap, long_line_of_forks_stays_short,
     "a line of 40 forks whose parents exit keeps few anon_vma chains per "
     "region (H17)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct anon_vma_chain *chain;
	unsigned chains = 0;
	struct region *r;

	wr(mm, VA, 1);
	for (unsigned i = 0; i < 40; i++) {
		child = fork_of(mm);
		mm_put(mm);
		mm = child;
		wr(mm, VA, i);
	}
	rw_read_lock(&mm->lock);
	r = region_find(mm, VA);
	LIST_FOREACH (chain, &r->chains, same_region)
		chains++;
	rw_read_unlock(&mm->lock);
	EXPECT(chains <= 4);
	EXPECT_EQ(rd(mm, VA), 39);
	mm_put(mm);
}

TEST(rmap, split_regions_are_found,
     "the reverse map finds pages after splits, merges and moves of their "
     "regions (C66)")
{
	struct mm *mm = mm_fixture(16);
	struct page *page;

	for (unsigned i = 0; i < 16; i++)
		wr(mm, P(i), i);
	EXPECT_EQ(mm_protect(mm, P(4), P(8), PROT_R), 0);
	EXPECT_EQ(mm_unmap(mm, P(10), P(11)), 0);
	EXPECT_EQ(
		mm_remap(mm, P(12), 2 * PAGE_SIZE, P(40), 2 * PAGE_SIZE, NULL),
		0);
	EXPECT_EQ(mm_protect(mm, P(4), P(8), RW), 0);
	for (unsigned i = 0; i < 42; i++) {
		page = page_at(mm, P(i));
		if (!page)
			continue;
		EXPECT_EQ(mappings(page), 1);
		page_put(page);
	}
	mm_put(mm);
}

TEST(rmap, walk_is_safe_after_the_last_unmap,
     "a walk for a page that is held by a reference alone is safe after its "
     "last unmap (C67)")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;

	wr(mm, VA, 5);
	page = page_at(mm, VA);
	mm_put(mm);
	EXPECT_EQ(page_maps(page), 0);
	EXPECT_EQ(mappings(page), 0);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(*(uint64_t *)page_va(page), 5);
	page_put(page);
}

TEST(rmap, unmap_evicts_everywhere,
     "try_to_unmap removes a page from every page table, and the next access "
     "brings it back")
{
	struct mm *mm[5];
	struct page *page;

	mm[0] = mm_fixture(1);
	wr(mm[0], VA, 11);
	for (unsigned i = 1; i < 5; i++)
		mm[i] = fork_of(mm[i - 1]);
	page = page_at(mm[0], VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(page_maps(page), 0);
	EXPECT_EQ(page_refs(page), 6);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT(entry_evicted(entry_at(mm[i], VA)));
		EXPECT_EQ(rd(mm[i], VA), 11);
	}
	EXPECT_EQ(page_maps(page), 5);
	page_put(page);
	for (unsigned i = 0; i < 5; i++) {
		wr(mm[i], VA, i);
		mm_put(mm[i]);
	}
}

TEST(rmap, evicted_page_is_forked, "a fork shares an evicted page")
{
	struct mm *mm = mm_fixture(1), *child;
	struct page *page;

	wr(mm, VA, 3);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	page_put(page);
	child = fork_of(mm);
	wr(mm, VA, 4);
	EXPECT_EQ(rd(child, VA), 3);
	mm_put(mm);
	EXPECT_EQ(rd(child, VA), 3);
	mm_put(child);
}

TEST(rmap, evicted_entries_translate_nothing,
     "an evicted entry carries no right and no next level (B34)")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;
	uint64_t e;

	wr(mm, VA, 3);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	e = entry_at(mm, VA);
	EXPECT(e && !(e & (PTE_P | BIT(61) | BIT(62) | GENMASK(11, 9))));
	EXPECT_EQ(rd(mm, VA), 3);
	EXPECT_EQ(mm_protect(mm, VA, P(1), PROT_NONE), 0);
	e = entry_at(mm, VA);
	EXPECT(e && !(e & (PTE_P | BIT(61) | BIT(62) | GENMASK(11, 9))));
	page_put(page);
	mm_put(mm);
}

TEST(rmap, locked_region_stops_unmap,
     "a locked mapping stops an eviction half-way, and nothing is lost (C69)")
{
	struct object *o = object_create(1);
	struct mm *mm[4];
	struct page *page;

	REQUIRE(o);
	for (unsigned i = 0; i < 4; i++) {
		mm[i] = mm_create();
		REQUIRE(mm[i]);
		REQUIRE(mm_map(mm[i], VA, PAGE_SIZE, RW,
			       i == 2 ? MAP_LOCKED : 0, o, 0, NULL) == 0);
		wr(mm[i], VA + 8 * i, i + 1);
	}
	page = page_at(mm[2], VA);
	EXPECT_EQ(try_to_unmap(page), -EBUSY);
	EXPECT(page_maps(page) >= 1);
	EXPECT(entry_at(mm[2], VA) & PTE_P);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm[3 - i], VA + 8 * i), i + 1);
	page_put(page);
	for (unsigned i = 0; i < 4; i++)
		mm_put(mm[i]);
	object_put(o);
}

TEST(rmap, dirty_bit_is_not_lost,
     "the dirty bit of an entry that is evicted is kept in the page")
{
	struct object *o = object_create(1);
	struct page *page;
	struct mm *mm;

	REQUIRE(o);
	mm = mm_fixture_shared(o, 1);
	wr(mm, VA, 1);
	page = page_at(mm, VA);
	EXPECT(!page_test(page, PG_DIRTY));
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT(page_test(page, PG_DIRTY));
	page_put(page);
	mm_put(mm);
	object_put(o);
}

TEST(rmap, pinned_page_is_not_evicted, "a pinned page is not evicted (B41)")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;

	wr(mm, VA, 1);
	REQUIRE(pin_pages(mm, VA, 1, PIN_WRITE, &page) == 0);
	EXPECT_EQ(try_to_unmap(page), -EBUSY);
	EXPECT(entry_at(mm, VA) & PTE_P);
	unpin_pages(&page, 1);
	mm_put(mm);
}

TEST(rmap, referenced_counts_users,
     "page_referenced counts each mapping that was used once")
{
	struct mm *mm[3];
	struct page *page;

	mm[0] = mm_fixture(1);
	wr(mm[0], VA, 1);
	mm[1] = fork_of(mm[0]);
	mm[2] = fork_of(mm[0]);
	page = page_at(mm[0], VA);
	page_referenced(page);
	EXPECT_EQ(page_referenced(page), 0);
	rd(mm[1], VA);
	rd(mm[2], VA);
	EXPECT_EQ(page_referenced(page), 2);
	EXPECT_EQ(page_referenced(page), 0);
	page_put(page);
	for (unsigned i = 0; i < 3; i++)
		mm_put(mm[i]);
}

TEST(rmap, referenced_is_seen_again,
     "a CPU that keeps using a page after aging sets its accessed bit again")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;
	uint64_t v;

	wr(mm, VA, 1);
	page = page_at(mm, VA);
	mm_bind(mm);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(wr(mm, VA, i), 0);
		EXPECT_EQ(page_referenced(page), 1);
	}
	mm_bind(NULL);
	v = rd(mm, VA);
	EXPECT_EQ(v, 4);
	page_put(page);
	mm_put(mm);
}

static void discard_inside(uint64_t mm, uint64_t va, void *arg)
{
	unsigned *times = arg;

	if ((*times)++ < 3)
		EXPECT_EQ(mm_discard((struct mm *)mm, va, va + PAGE_SIZE), 0);
}

TEST(rmap, forced_pin_never_writes_shared_pages,
     "a forced pin whose page is discarded meanwhile never gets a shared page "
     "(H29, H30)")
{
	const uint64_t *zero = page_va(zero_page);
	struct mm *mm = mm_create();
	struct page *page;
	unsigned times = 0;

	REQUIRE(mm);
	REQUIRE(mm_map(mm, VA, PAGE_SIZE, PROT_R, 0, NULL, 0, NULL) == 0);
	EXPECT_EQ(rd(mm, VA), 0);
	hook("pin_fault", discard_inside, &times);
	REQUIRE(pin_pages(mm, VA, 1, PIN_WRITE | PIN_FORCE, &page) == 0);
	unhook("pin_fault");
	EXPECT(times > 3);
	EXPECT(page != zero_page);
	*(uint64_t *)page_va(page) = 66;
	EXPECT_EQ(*zero, 0);
	EXPECT_EQ(rd(mm, VA), 66);
	EXPECT_EQ(wr(mm, VA, 1), -EFAULT);
	unpin_pages(&page, 1);
	mm_put(mm);
}

TEST(rmap, forced_pin_of_shared_memory_is_refused,
     "a forced pin of shared memory without the right to write is refused "
     "(H32)")
{
	struct object *o = object_create(1);
	struct mm *mm = mm_create();
	struct page *page;

	REQUIRE(o && mm);
	REQUIRE(mm_map(mm, VA, PAGE_SIZE, PROT_R, 0, o, 0, NULL) == 0);
	EXPECT_EQ(pin_pages(mm, VA, 1, PIN_WRITE | PIN_FORCE, &page), -EFAULT);
	EXPECT_EQ(rd(mm, VA), 0);
	REQUIRE(mm_protect(mm, VA, P(1), RW) == 0);
	REQUIRE(pin_pages(mm, VA, 1, PIN_WRITE | PIN_FORCE, &page) == 0);
	unpin_pages(&page, 1);
	mm_put(mm);
	object_put(o);
}

TEST(rmap, read_pin_never_gets_the_zero_page,
     "a pin for reading gets a page of its own, which later stores reach")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;

	EXPECT_EQ(rd(mm, VA), 0);
	REQUIRE(pin_pages(mm, VA, 1, 0, &page) == 0);
	EXPECT(page != zero_page);
	wr(mm, VA, 8);
	EXPECT_EQ(*(uint64_t *)page_va(page), 8);
	unpin_pages(&page, 1);
	mm_put(mm);
}

TEST(rmap, unmap_stale_reader, "try_to_unmap leaves no stale translation")
{
	struct mm *mm = mm_fixture(1);
	struct page *page;

	mm_bind(mm);
	wr(mm, VA, 4);
	page = page_at(mm, VA);
	EXPECT_EQ(try_to_unmap(page), 0);
	*(uint64_t *)page_va(page) = 5;
	EXPECT_EQ(page_maps(page), 0);
	EXPECT_EQ(rd(mm, VA), 5);
	EXPECT_EQ(page_maps(page), 1); /* the load came by a fault */
	mm_bind(NULL);
	page_put(page);
	mm_put(mm);
}

static void not_exclusive(uint64_t mm, uint64_t va, void *arg)
{
	struct page *page = page_at((struct mm *)mm, VA);

	if (page && page_maps(page) > 1)
		EXPECT(!page_exclusive(page));
	if (page)
		page_put(page);
}

TEST(rmap, shared_page_never_looks_exclusive,
     "at no step of a fork is a page that is mapped twice marked exclusive "
     "(H35)")
{
	struct mm *mm = mm_fixture(1), *child;

	wr(mm, VA, 1);
	hook("fork_shared", not_exclusive, NULL);
	child = fork_of(mm);
	unhook("fork_shared");
	mm_put(child);
	mm_put(mm);
}
