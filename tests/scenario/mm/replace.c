/* SPDX-License-Identifier: MIT */
/*
 * replace.c - another page under a private page that is in use (mm/space/replace.h): C77
 */
#include "mm/space/replace.h"
#include "kernel/err.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

#define BREAKPOINT UINT64_C(0xcc)

/* Return a copy of page with a breakpoint as its first word. */
static struct page *with_breakpoint(const struct page *page)
{
	struct page *copy = page_alloc();

	REQUIRE(copy);
	page_copy(copy, page);
	*(uint64_t *)page_va(copy) = BREAKPOINT;
	return copy;
}

static void count_here(uint64_t mm, uint64_t va, void *arg)
{
	*(unsigned *)arg += va == VA;
}

TEST(replace, timeline_has_both_steps,
     "the entry of a page that is replaced is seen to go and to come")
{
	struct mm *mm = mm_fixture(1);
	unsigned gone = 0, set = 0;
	struct page *page, *copy;

	EXPECT_EQ(wr(mm, VA, 7), 0);
	page = page_at(mm, VA);
	copy = with_breakpoint(page);
	hook("pte_clear", count_here, &gone);
	hook("pte_set", count_here, &set);
	EXPECT_EQ(mm_replace_page(mm, VA, page, copy), 0);
	unhook("pte_clear");
	unhook("pte_set");
	EXPECT_EQ(gone, 1);
	EXPECT_EQ(set, 1);
	page_put(copy);
	page_put(page);
	mm_put(mm);
}

TEST(replace, page_and_back,
     "a page with a breakpoint takes the place of another, which keeps its "
     "content and comes back: counts, rights and dirty bit are as before")
{
	struct mm *mm = mm_fixture(2);
	struct page *page, *copy;
	uint64_t before;

	EXPECT_EQ(wr(mm, P(1), 7), 0);
	EXPECT_EQ(wr(mm, P(1) + 8, 8), 0);
	before = entry_at(mm, P(1));
	page = page_at(mm, P(1));
	copy = with_breakpoint(page);
	EXPECT_EQ(mm_replace_page(mm, P(1) + 5, page, copy), 0);
	EXPECT_EQ(rd(mm, P(1)), BREAKPOINT);
	EXPECT_EQ(rd(mm, P(1) + 8), 8);
	EXPECT_EQ(page_count(copy), PAGE_MAP + PAGE_REF);
	EXPECT_EQ(page_count(page), PAGE_REF);
	EXPECT(page_exclusive(copy) && page_test(page, PG_DIRTY));
	EXPECT_EQ(mm_replace_page(mm, P(1), copy, page), 0);
	EXPECT_EQ(rd(mm, P(1)), 7);
	EXPECT_EQ(entry_at(mm, P(1)), before);
	EXPECT_EQ(page_count(copy), PAGE_REF);
	page_put(copy);
	page_put(page);
	EXPECT_EQ(mm->mapped, 1);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(replace, other_spaces_keep_the_page,
     "after a fork the breakpoint is in one address space, and the page that "
     "comes back is still shared: a write makes a copy (B40)")
{
	struct mm *mm = mm_fixture(1), *child;
	struct page *page, *copy;

	EXPECT_EQ(wr(mm, VA, 7), 0);
	child = fork_of(mm);
	page = page_at(mm, VA);
	copy = with_breakpoint(page);
	EXPECT_EQ(mm_replace_page(mm, VA, page, copy), 0);
	EXPECT_EQ(rd(mm, VA), BREAKPOINT);
	EXPECT_EQ(rd(child, VA), 7);
	EXPECT_EQ(mm_replace_page(mm, VA, copy, page), 0);
	EXPECT(!(entry_at(mm, VA) & PTE_W));
	page_put(copy);
	page_put(page);
	EXPECT_EQ(wr(mm, VA, 9), 0);
	EXPECT_EQ(rd(child, VA), 7);
	EXPECT_STR_NULL(mm_check());
	mm_put(child);
	mm_put(mm);
}

TEST(replace, huge_page_is_split,
     "one page of a huge page is replaced: its entry is split first")
{
	struct mm *mm = huge_filled();
	struct page *page, *copy;

	page = huge_head(mm);
	page_get(page);
	copy = with_breakpoint(page);
	EXPECT_EQ(mm_replace_page(mm, P(0), page, copy), 0);
	EXPECT(!entry_huge(entry_at(mm, VA)));
	EXPECT_EQ(rd(mm, P(0)), BREAKPOINT);
	EXPECT_EQ(huge_wrong(mm, 1, 5), 0);
	page_put(page);
	page_put(copy);
	EXPECT_STR_NULL(mm_check());
	mm_put(mm);
}

TEST(replace, wrong_pages_are_refused,
     "no region, shared memory, a page that is not mapped there, one that is "
     "pinned, and a page of another address: an error, and nothing changes")
{
	struct mm *mm = mm_fixture(2);
	struct object *object = object_create(1);
	struct page *page, *other, *copy, *pin;

	REQUIRE(object && !mm_map(mm, P(4), PAGE_SIZE, RW, 0, object, 0, NULL));
	object_put(object);
	EXPECT_EQ(wr(mm, P(0), 1), 0);
	EXPECT_EQ(wr(mm, P(1), 2), 0);
	EXPECT_EQ(wr(mm, P(4), 3), 0);
	page = page_at(mm, P(0));
	other = page_at(mm, P(1));
	copy = with_breakpoint(page);
	EXPECT_EQ(mm_replace_page(mm, P(8), page, copy), -EINVAL);
	EXPECT_EQ(mm_replace_page(mm, P(4), page, copy), -EINVAL);
	EXPECT_EQ(mm_replace_page(mm, P(0), page, other), -EINVAL);
	EXPECT_EQ(mm_replace_page(mm, P(0), page, zero_page), -EINVAL);
	EXPECT_EQ(mm_replace_page(mm, P(0), other, copy), -EBUSY);
	REQUIRE(!pin_pages(mm, P(0), 1, PIN_WRITE, &pin));
	EXPECT_EQ(mm_replace_page(mm, P(0), page, copy), -EBUSY);
	unpin_pages(&pin, 1);
	EXPECT_EQ(page_count(copy), PAGE_REF);
	EXPECT_EQ(rd(mm, P(0)), 1);
	page_put(page);
	page_put(other);
	page_put(copy);
	mm_put(mm);
}

USER_TEST(
	replace_device, device_meets_the_breakpoint,
	"a device that has cached the page reads the breakpoint as soon as the "
	"call has returned, and the old content after it was taken back (C77)")
{
	struct mm *mm = fixture_warm(s);
	struct page *page = page_at(mm, P(0)), *copy = with_breakpoint(page);

	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(mm_replace_page(mm, P(0), page, copy), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), BREAKPOINT);
	EXPECT_EQ(fixture_store(s, 0, P(0) + 64, 5), 0);
	EXPECT_EQ(mm_replace_page(mm, P(0), copy, page), 0);
	EXPECT_EQ(fixture_load(s, 0, P(0)), 'A');
	EXPECT_EQ(fixture_load(s, 0, P(0) + 64), 0); /* went to the copy */
	EXPECT_EQ(*(uint64_t *)(page_va(copy) + 64), 5);
	page_put(page);
	page_put(copy);
}

/* ---- mkclean ------------------------------------------------------------- */

TEST(mkclean, every_write_is_noticed,
     "a page that was written is dirty once, in whichever address space the "
     "write was, and a read does not make it dirty")
{
	struct object *object = object_create(1);
	struct page *page;
	struct mm *a, *b;

	REQUIRE(object);
	a = mm_fixture_shared(object, 1);
	b = mm_fixture_shared(object, 1);
	object_put(object);
	EXPECT_EQ(wr(a, VA, 1), 0);
	EXPECT_EQ(wr(b, VA, 2), 0);
	page = page_at(a, VA);
	EXPECT(page_mkclean(page));
	EXPECT(!page_mkclean(page));
	EXPECT(!((entry_at(a, VA) | entry_at(b, VA)) & (ENTRY_W | PTE_D)));
	EXPECT_EQ(rd(b, VA), 2);
	EXPECT(!page_mkclean(page));
	EXPECT_EQ(wr(b, VA, 3), 0);
	EXPECT(page_mkclean(page));
	EXPECT_EQ(wr(a, VA, 4), 0);
	EXPECT_EQ(try_to_unmap(page), 0); /* the dirty bit goes to the page */
	EXPECT(page_mkclean(page));
	EXPECT(!page_mkclean(page));
	EXPECT_EQ(rd(b, VA), 4);
	page_put(page);
	mm_put(a);
	mm_put(b);
}

USER_TEST(mkclean_device, saved_page_is_complete,
	  "a page of shared memory is cleaned and saved: a device that had the "
	  "right to write is refused until a fault, and that makes the page "
	  "dirty again (C32, B33)")
{
	struct object *object = object_create(1);
	struct mm *mm = fixture_mm(s, 1);
	va_t va = P(16);
	struct page *page;
	uint64_t saved;

	REQUIRE(object && !mm_map(mm, va, PAGE_SIZE, RW, 0, object, 0, NULL));
	object_put(object);
	fixture_bind(s, 0, mm);
	fixture_may_be_refused(s, 0);
	EXPECT_EQ(fixture_load(s, 0, va), 0);
	fixture_write(s, 0, va, 1); /* what a read has mapped may be writable */
	page = page_at(mm, va);
	REQUIRE(page);
	EXPECT(page_mkclean(page) || !*(uint64_t *)page_va(page));
	EXPECT_EQ(fixture_store(s, 0, va, 1), 0);
	EXPECT(page_mkclean(page));
	saved = *(uint64_t *)page_va(page);
	EXPECT_EQ(saved, 1);
	fixture_write(s, 0, va, 2);
	EXPECT_EQ(*(uint64_t *)page_va(page), saved);
	EXPECT(!page_mkclean(page));
	EXPECT_EQ(fixture_store(s, 0, va, 3), 0);
	EXPECT(page_mkclean(page));
	EXPECT_EQ(*(uint64_t *)page_va(page), 3);
	page_put(page);
}
