/* SPDX-License-Identifier: MIT */
/*
 * nonlinear.c - the pages of an object in another order: mm_remap_object()
 *
 * Page number i of an object that `numbered()` makes holds i + 1.
 */
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/core/entry.h"
#include "tests/fake/recorder.h"
#include "tests/fixture/mm/migrate_fixture.h"
#include "tests/fixture/mm/onlooker.h"
#include "tests/fixture/mm/snapshot.h"
#include "tests/fixture/mm/sync_point.h"

/* Return an object of n pages, and in *mm an address space that shows it at VA. */
static struct object *numbered(unsigned n, struct mm **mm)
{
	struct object *object = object_create(n);

	REQUIRE(object);
	*mm = mm_fixture_shared(object, n);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(wr(*mm, P(i), i + 1), 0);
	return object;
}

/* Show page number `pgoff` of the object at page `at`. */
static void show(struct mm *mm, unsigned at, uint64_t pgoff)
{
	EXPECT_EQ(mm_remap_object(mm, P(at), P(at + 1), pgoff), 0);
}

static unsigned regions(struct mm *mm)
{
	struct region *r;
	unsigned n = 0;

	for_each_region (r, mm, USER_START, USER_END)
		n++;
	return n;
}

TEST(nonlinear, pages_in_reverse,
     "the pages of an object are put in reverse order, one by one, are read "
     "and written there, and are one region again when they are in order")
{
	struct object *object;
	struct mm *mm, *other;

	object = numbered(4, &mm);
	other = mm_fixture_shared(object, 4);
	object_put(object);
	for (unsigned i = 0; i < 4; i++)
		show(mm, i, 3 - i);
	EXPECT_EQ(regions(mm), 4);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(rd(mm, P(i)), 4 - i);
		EXPECT_EQ(wr(mm, P(i) + 8, i), 0);
		EXPECT_EQ(rd(other, P(i)), i + 1);
		EXPECT_EQ(rd(other, P(3 - i) + 8), i);
	}
	EXPECT_EQ(mm_remap_object(mm, P(0), P(4), 0), 0);
	EXPECT_EQ(regions(mm), 1);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 1);
	EXPECT_STR_NULL(mm_check());
	mm_put(other);
	mm_put(mm);
}

TEST(nonlinear, rights_stay,
     "a range of two regions with different rights shows other pages in one "
     "order, and each page keeps the rights of its address; locked ones too")
{
	struct object *object;
	struct mm *mm;

	object = numbered(8, &mm);
	REQUIRE(!mm_map(mm, P(2), 2 * PAGE_SIZE, RW, MAP_REPLACE | MAP_LOCKED,
			object, 2, NULL));
	object_put(object);
	REQUIRE(!mm_protect(mm, P(1), P(2), PROT_R));
	EXPECT_EQ(mm_remap_object(mm, P(0), P(4), 4), 0);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_EQ(rd(mm, P(i)), i + 5);
	EXPECT_EQ(wr(mm, P(0), 9), 0);
	EXPECT_EQ(wr(mm, P(1), 9), -EFAULT);
	EXPECT_EQ(wr(mm, P(2), 9), 0);
	EXPECT_EQ(rd(mm, P(4)), 9);
	EXPECT_EQ(rd(mm, P(5)), 6);
	EXPECT_EQ(rd(mm, P(6)), 9);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(nonlinear, fork_keeps_its_order,
     "a child has the order of its parent at the fork, and keeps it when the "
     "parent's changes")
{
	struct mm *mm, *child;

	object_put(numbered(4, &mm));
	show(mm, 0, 3);
	child = fork_of(mm);
	show(mm, 0, 2);
	show(child, 1, 0);
	EXPECT_EQ(rd(mm, P(0)), 3);
	EXPECT_EQ(rd(mm, P(1)), 2);
	EXPECT_EQ(rd(child, P(0)), 4);
	EXPECT_EQ(rd(child, P(1)), 1);
	EXPECT_EQ(wr(child, P(0), 'c'), 0);
	EXPECT_EQ(rd(mm, P(3)), 'c');
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	mm_put(child);
}

TEST_SMP(nonlinear, other_cpu_reads_the_new_page,
	 "another CPU that has read the old page reads the new one, by the "
	 "next load after the call",
	 2)
{
	struct mm *mm;

	object_put(numbered(4, &mm));
	onlooker_start(1);
	onlooker_begin(mm, P(1));
	show(mm, 1, 3);
	EXPECT_EQ(onlooker_end(), 4);
	onlooker_stop();
	mm_put(mm);
}

/* ---- the reverse map --------------------------------------------------------- */

TEST(nonlinear, reverse_map_finds_every_place,
     "a page that is shown at four addresses of two spaces is cleaned, moved "
     "and evicted at all of them (B38, C66)")
{
	struct mm *mm, *child;
	struct page *page;

	object_put(numbered(4, &mm));
	child = fork_of(mm);
	show(mm, 0, 2);
	show(mm, 3, 2);
	show(child, 1, 2);
	for (unsigned i = 0; i < 4; i += 3)
		EXPECT_EQ(wr(mm, P(i) + 8, 'a'), 0);
	EXPECT_EQ(wr(mm, P(2), 'b'), 0);
	EXPECT_EQ(wr(child, P(1) + 16, 'c'), 0);
	page = page_at(mm, P(0));
	EXPECT_EQ(mappings(page), 4);
	EXPECT_EQ(visits(page), 5); /* and the child's P(2), not touched */
	EXPECT(page_mkclean(page) && !page_mkclean(page));
	page_put(page);
	EXPECT_EQ(migrate_at(mm, P(3)), 0);
	EXPECT_EQ(rd(child, P(1)), 'b');
	EXPECT_EQ(rd(mm, P(0) + 8), 'a');
	EXPECT_EQ(rd(mm, P(2) + 16), 'c');
	page = page_at(mm, P(0));
	EXPECT_EQ(try_to_unmap(page), 0);
	EXPECT_EQ(entry_at(mm, P(0)) | entry_at(mm, P(2)) | entry_at(mm, P(3)) |
			  entry_at(child, P(1)),
		  0);
	EXPECT(page_mkclean(page) == false);
	page_put(page);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
	mm_put(child);
}

TEST(nonlinear, written_page_stays_dirty,
     "a page that was written through an entry that goes is dirty, and the "
     "frame that is pinned there stays the object's")
{
	struct page *page, *pin;
	struct mm *mm;

	object_put(numbered(4, &mm));
	page = page_at(mm, P(1));
	(void)!page_mkclean(page);
	EXPECT_EQ(wr(mm, P(1), 'w'), 0);
	EXPECT(!page_test(page, PG_DIRTY));
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pin));
	EXPECT_EQ(mm_remap_object(mm, P(0), P(2), 2), 0);
	EXPECT_EQ(mappings(page), 0);
	EXPECT(page_mkclean(page));
	*(uint64_t *)page_va(pin) = 'p'; /* by DMA */
	EXPECT_EQ(mm_remap_object(mm, P(2), P(4), 0), 0);
	EXPECT_EQ(rd(mm, P(2)), 'p');
	EXPECT_EQ(rd(mm, P(3)), 'w');
	unpin_pages(&pin, 1);
	page_put(page);
	mm_put(mm);
}

/* The old page and the new one of a change of order under way. */
static struct watched {
	struct page *old, *new;
	unsigned before, after; /* mappings of both, at the two steps         */
} watched;

static void look_before(struct recorder *r,
			const struct mmu_notifier_range *range)
{
	r->in_start = NULL;
	watched.before = 10 * mappings(watched.old) + mappings(watched.new);
	EXPECT(page_mkclean(watched.old));
}

static void look_after(uint64_t mm, uint64_t va, void *arg)
{
	watched.after = 10 * mappings(watched.old) + mappings(watched.new);
	EXPECT(!page_mkclean(watched.old));
}

TEST(nonlinear, walk_finds_the_entry_until_it_is_gone,
     "a walk of the reverse map finds the entry of the old page as long as it "
     "is there, and when it is gone none of the old page or of the new one "
     "(B38)")
{
	struct recorder r;
	struct mm *mm;

	object_put(numbered(4, &mm));
	watched = (struct watched){ .old = page_at(mm, P(0)),
				    .new = page_at(mm, P(3)) };
	(void)!page_mkclean(watched.old);
	EXPECT_EQ(wr(mm, P(0), 7), 0);
	record(&r, mm);
	r.in_start = look_before;
	hook("remap_zapped", look_after, NULL);
	show(mm, 0, 3);
	unhook("remap_zapped");
	record_end(&r);
	EXPECT_EQ(watched.before, 11);
	EXPECT_EQ(watched.after, 1); /* that at P(3) */
	EXPECT_EQ(rd(mm, P(0)), 4);
	EXPECT_EQ(mappings(watched.new), 2);
	page_put(watched.old);
	page_put(watched.new);
	mm_put(mm);
}

static void read_first(void *arg)
{
	EXPECT_EQ(rd(arg, P(0)), 4);
}

static void change_first(void *arg)
{
	show(arg, 0, 3);
}

TEST(nonlinear, fault_waits_for_the_new_order,
     "a fault that finds the old page gone waits until the order has changed")
{
	struct task change, fault;
	struct sync_point g;
	struct mm *mm;

	object_put(numbered(4, &mm));
	sync_point_set(&g, "remap_zapped", mm);
	spawn(&change, change_first, mm);
	sync_point_await(&g);
	spawn(&fault, read_first, mm);
	EXPECT(still_waits(&fault));
	sync_point_release(&g);
	join(&fault);
	join(&change);
	mm_put(mm);
}

/* ---- refused ------------------------------------------------------------------ */

#define REFUSED(error, call)                         \
	do {                                         \
		snapshot_take(SNAP_STATE);           \
		EXPECT_EQ(call, error);              \
		EXPECT_STR_NULL(snapshot_changed()); \
	} while (0)

TEST(nonlinear, other_memory_is_refused,
     "a hole, private memory, two objects, pages beyond the object's end and a "
     "range that is not one: an error, and nothing changes")
{
	struct object *other = object_create(4);
	struct mm *mm;

	REQUIRE(other);
	object_put(numbered(4, &mm));
	REQUIRE(!mm_map(mm, P(4), PAGE_SIZE, RW, 0, other, 1, NULL));
	object_put(other);
	REQUIRE(!mm_map(mm, P(10), 2 * PAGE_SIZE, RW, 0, NULL, 0, NULL));
	REQUIRE(!wr(mm, P(10), 1));
	REFUSED(-EINVAL, mm_remap_object(mm, P(10), P(12), 0));
	REFUSED(-EINVAL, mm_remap_object(mm, P(3), P(5), 0));
	REFUSED(-ENOENT, mm_remap_object(mm, P(4), P(6), 0));
	REFUSED(-ENOENT, mm_remap_object(mm, P(20), P(21), 0));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0), P(2), 3));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0), P(1), 4));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0), P(2), 5));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0), P(2), UINT64_MAX));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0), P(0), 0));
	REFUSED(-EINVAL, mm_remap_object(mm, P(2), P(1), 0));
	REFUSED(-EINVAL, mm_remap_object(mm, P(0) + 1, P(1), 0));
	EXPECT_EQ(mm_remap_object(mm, P(0), P(2), 2), 0);
	mm_put(mm);
}
