/* SPDX-License-Identifier: MIT */
/*
 * collapse.c - small pages become one of 2 MiB while a device uses them
 */
#include "mm/huge/collapse.h"
#include "kernel/err.h"
#include "kernel/string.h"
#include "tests/fixture/iommu/user_fixture.h"
#include "tests/fixture/mm/huge_fixture.h"
#include "tests/fixture/mm/sync_point.h"

static const unsigned far_apart[] = { 0, 77, 300, 511 };

/* An mm with small pages, i + 1 in page i of 2 MiB, some of which device 0 has read
 * and written. */
static struct mm *warm(struct iommu_fixture *s)
{
	struct mm *mm = fixture_mm(s, N);

	mm_bind(mm);
	for (unsigned i = N; i-- > 0;)
		REQUIRE(!wr(mm, P(i), i + 1));
	mm_bind(NULL);
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		REQUIRE(fixture_load(s, 0, P(far_apart[i])) ==
			far_apart[i] + 1);
		REQUIRE(!fixture_store(s, 0, P(far_apart[i]) + 8, 'd'));
	}
	return mm;
}

USER_TEST(huge_collapse, device_uses_the_new_page,
	  "after a collapse a device reads what the CPU writes in every part, "
	  "and the reverse: it has nothing of the old table (C85, H16)")
{
	struct mm *mm = warm(s);
	struct page *old = entry_page(entry_at(mm, P(77)));

	page_get(old);
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	page_put(old);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(entry_huge(entry_at(mm, VA)));
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		va_t va = P(far_apart[i]);

		EXPECT_EQ(wr(mm, va, 'A' + i), 0);
		EXPECT_EQ(fixture_load(s, 0, va), 'A' + i);
		EXPECT_EQ(fixture_load(s, 0, va + 8), 'd');
		EXPECT_EQ(fixture_store(s, 0, va + 8, 'a' + i), 0);
		EXPECT_EQ(rd(mm, va + 8), 'a' + i);
	}
	EXPECT_STR_NULL(fixture_check(0));
}

static struct {
	struct iommu_fixture *s;
	struct mm *mm;
	unsigned times;
	uint64_t seen;
} step;

/* The device writes through what it has cached: page 77 before the flush. */
static void write_cached(uint64_t mm, uint64_t va, void *unused)
{
	if (mm != (uint64_t)step.mm || step.times++)
		return;
	step.seen = fixture_read(step.s, 0, P(77));
	fixture_write(step.s, 0, P(77), 'w');
}

static void begin_step(struct iommu_fixture *s, struct mm *mm)
{
	step.s = s;
	step.mm = mm;
	step.times = 0;
	step.seen = 0;
}

USER_TEST(huge_collapse, write_before_the_flush_is_copied,
	  "what a device writes through a cached translation after the table's "
	  "entry was cleared is in the huge page: the copy begins after the "
	  "flush (C83)")
{
	struct mm *mm = warm(s);
	uint64_t now;

	fixture_may_be_refused(s, 0);
	begin_step(s, mm);
	hook("collapse_cleared", write_cached, NULL);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	unhook("collapse_cleared");
	EXPECT_EQ(step.times, 1);
	/* A mirror was emptied by the start: its device was refused. */
	now = rd(mm, P(77));
	EXPECT_EQ(now, step.seen == BLOCKED ? 78 : 'w');
	EXPECT_EQ(fixture_load(s, 0, P(77)), now);
	/* QEMU may have dropped the translation by itself. */
	EXPECT(fixture_kind() != USER_SVA || !s->model || now == 'w');
}

USER_TEST(huge_collapse, no_device_writes_during_the_copy,
	  "from the flush to the new entry a device is refused, so that no "
	  "write goes to a page that was copied already (C83)")
{
	struct mm *mm = warm(s);

	fixture_may_be_refused(s, 0);
	begin_step(s, mm);
	hook("collapse_copied", write_cached, NULL);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	unhook("collapse_copied");
	EXPECT_EQ(step.times, 1);
	EXPECT_EQ(step.seen, BLOCKED);
	EXPECT_EQ(rd(mm, P(77)), 78);
	EXPECT_EQ(fixture_store(s, 0, P(77), 'x'), 0);
	EXPECT_EQ(rd(mm, P(77)), 'x');
}

/* Refer to a page after the flush, when the device is refused. */
static void refer_late(uint64_t mm, uint64_t va, void *page)
{
	write_cached(mm, va, NULL);
	page_get(page);
}

USER_TEST(
	huge_collapse, refusal_gives_the_device_its_pages_back,
	"after a collapse that an extra reference refuses the device uses the "
	"old pages, also if it was refused meanwhile (C84)")
{
	struct mm *mm = warm(s);
	struct page *page = page_at(mm, P(300));

	page_put(page);
	fixture_may_be_refused(s, 0);
	begin_step(s, mm);
	hook("collapse_flushed", refer_late, page);
	EXPECT_EQ(mm_collapse(mm, VA), -EBUSY);
	unhook("collapse_flushed");
	EXPECT_EQ(step.times, 1);
	EXPECT_EQ(step.seen, BLOCKED);
	/* Without a fault: the IOMMU may have cached that there was no page. */
	if (fixture_kind() == USER_SVA)
		EXPECT_EQ(fixture_read(s, 0, P(77)), 78);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 78);
	for (unsigned i = 0; i < ARRAY_SIZE(far_apart); i++) {
		va_t va = P(far_apart[i]);

		EXPECT_EQ(fixture_store(s, 0, va + 8, 'e'), 0);
		EXPECT_EQ(rd(mm, va + 8), 'e');
	}
	page_put(page);
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(huge_collapse, join_keeps_the_frames,
	  "a collapse after a mere split leaves the device on the same frames")
{
	struct mm *mm = fixture_mm(s, N);
	struct page *head;

	REQUIRE(!mm_advise_huge(mm, P(0), P(N), true));
	REQUIRE(!wr(mm, P(77), 78));
	head = huge_head(mm);
	fixture_bind(s, 0, mm);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 78);
	huge_split_at(mm, P(1));
	EXPECT_EQ(fixture_store(s, 0, P(77), 'x'), 0);
	EXPECT_EQ(mm_collapse(mm, VA), 0);
	EXPECT(huge_head(mm) == head);
	EXPECT_EQ(fixture_load(s, 0, P(77)), 'x');
	EXPECT_EQ(fixture_store(s, 0, P(300), 'y'), 0);
	EXPECT_EQ(rd(mm, P(300)), 'y');
	EXPECT_EQ(mm_unmap(mm, P(77), P(78)), 0);
	fixture_expect_lost(s, P(77), head + 77);
	EXPECT_STR_NULL(fixture_check(0));
}

/* ---- a stream of DMA beside ------------------------------------------------ */

#define ROUNDS 12

static struct {
	struct mm *mm;
	_Atomic bool stop;
	_Atomic uint64_t steps, ops;
	uint64_t done, refused;
} beside;

/* Collapse, and split again by a discard of one odd page. */
static void collapse_and_split(void *unused)
{
	for (unsigned i = 0; !atomic_load(&beside.stop); i++) {
		unsigned at = i * 38 % N | 1;
		int ret = mm_collapse(beside.mm, VA);

		EXPECT(ret == 0 || ret == -EBUSY);
		beside.done += !ret;
		beside.refused += ret != 0;
		EXPECT_EQ(mm_discard(beside.mm, P(at), P(at + 1)), 0);
		atomic_store(&beside.ops, i + 1);
		while (i >= atomic_load(&beside.steps) &&
		       !atomic_load(&beside.stop))
			yield();
	}
}

/* Let the device write until it reads that back: what it writes during a collapse is
 * refused. */
static bool store_through(struct iommu_fixture *s, va_t va, uint64_t v)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		if (fixture_store(s, 0, va, v))
			return false;
		if (fixture_load(s, 0, va) == v)
			return true;
	}
	return false;
}

USER_TEST(huge_collapse, stream_across_collapses,
	  "no write of a device is lost and none of its reads is stale while "
	  "its pages are collapsed and split again (C83)")
{
	static uint64_t last[N]; /* what the device has read back */
	struct mm *mm = warm(s);
	unsigned lost = 0;
	struct task t;

	memset(last, 0, sizeof(last));
	fixture_may_be_refused(s, 0);
	beside.mm = mm;
	beside.done = beside.refused = 0;
	atomic_store(&beside.ops, 0);
	atomic_store(&beside.steps, 0);
	atomic_store(&beside.stop, false);
	spawn(&t, collapse_and_split, NULL);
	for (unsigned i = 1; i <= ROUNDS || atomic_load(&beside.ops) < ROUNDS;
	     i++) {
		unsigned at = i * 74 % N & ~1u;

		EXPECT(store_through(s, P(at) + 8, i));
		lost += rd(mm, P(at) + 8) != i;
		last[at] = i;
		atomic_store(&beside.steps, i);
		yield(); /* the other may be on this CPU */
	}
	atomic_store(&beside.stop, true);
	join(&t);
	for (unsigned i = 0; i < N; i++)
		lost += last[i] && rd(mm, P(i) + 8) != last[i];
	EXPECT_EQ(lost, 0);
	EXPECT(beside.done > 0);
	EXPECT_STR_NULL(fixture_check(0));
}

USER_TEST(
	huge_public, collapsed_table_is_walked_by_nobody,
	"the table that a collapse has taken away is used for other pages by "
	"the next split, and the device, which had walked it, reads the block "
	"at the old address and these pages at theirs")
{
	struct mm *mm = fixture_mm(s, N);
	va_t other = P(4 * N);

	REQUIRE(!mm_map(mm, other, BLOCK_SIZE, RW, MAP_HUGE, NULL, 0, NULL));
	fixture_bind(s, 0, mm);
	for (unsigned i = 0; i < N; i += 73) {
		REQUIRE(!wr(mm, P(i), i + 1));
		REQUIRE(!wr(mm, other + i * PAGE_SIZE, i + 1000));
		EXPECT_EQ(fixture_load(s, 0, P(i)), i + 1);
	}
	EXPECT_EQ(mm_collapse(mm, P(0)), 0);
	huge_split_at(mm, other + PAGE_SIZE); /* takes the last deposit */
	for (unsigned i = 0; i < N; i += 73) {
		EXPECT_EQ(fixture_load(s, 0, P(i)), i + 1);
		EXPECT_EQ(fixture_load(s, 0, other + i * PAGE_SIZE), i + 1000);
	}
	EXPECT_STR_NULL(fixture_check(0));
}
