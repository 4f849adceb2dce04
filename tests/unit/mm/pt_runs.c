/* SPDX-License-Identifier: MIT */
/*
 * pt_runs.c - tests pt.c's loop over runs, and pruning
 */
#include "kernel/err.h"
#include "kernel/inject.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_x86.h"
#include "tests/fixture/mm/sync_point.h"

#define BASE BIT(40)
#define TOP  BIT(47)

static void release(struct page *table, void *arg)
{
	unsigned *n = arg;

	if (n)
		++*n;
	EXPECT_EQ(page_kind(table), PAGE_TABLE);
	EXPECT_EQ(pt_live(table), 0);
	page_put(table);
}

static bool make(struct pt *pt)
{
	return pt_init(pt, &pt_x86_user, PT_X86_LEVELS, 0, TOP, NULL) == 0;
}

static void unmake(struct pt *pt)
{
	EXPECT_EQ(pt_unmap(pt, 0, TOP), 0);
	EXPECT_STR_NULL(pt_check(pt));
	pt_destroy(pt, release, NULL);
}

static int map_one(struct pt *pt, va_t va)
{
	return pt_map(pt, va, 0x5000, PAGE_SIZE, PROT_R | PROT_USER, false);
}

TEST(pt, runs_keep_to_the_range,
     "the loop visits each existing slot of the range once, and none outside")
{
	va_t start = BASE + BIT(21) - 3 * PAGE_SIZE;
	va_t end = BASE + BIT(21) + 5 * PAGE_SIZE;
	unsigned slots = 0, runs = 0;
	struct pt_run run;
	struct pt pt;

	REQUIRE(make(&pt));
	REQUIRE(map_one(&pt, BASE) == 0);
	REQUIRE(map_one(&pt, BASE + BIT(21)) == 0);
	REQUIRE(map_one(&pt, BASE + BIT(31)) == 0);
	for (va_t va = start; pt_next_run(&pt, &va, end, &run); runs++) {
		EXPECT(run.va >= start && run.level == 0);
		EXPECT(run.va + run.count * PAGE_SIZE <= end);
		EXPECT(run.slots == pt_slot(&pt, run.va, 0, false));
		slots += run.count;
	}
	EXPECT_EQ(runs, 2);
	EXPECT_EQ(slots, 8);
	unmake(&pt);
}

TEST(pt, runs_skip_holes, "the loop finds tables far apart, also at both ends")
{
	va_t at[] = { 0, PAGE_SIZE * 600, BASE, BASE + BIT(39),
		      TOP - PAGE_SIZE };
	unsigned found = 0;
	struct pt_run run;
	struct pt pt;

	REQUIRE(make(&pt));
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		REQUIRE(map_one(&pt, at[i]) == 0);
	for (va_t va = 0; pt_next_run(&pt, &va, TOP, &run);)
		for (unsigned i = 0; i < run.count; i++)
			if (run.slots[i])
				EXPECT_EQ(run.va + i * PAGE_SIZE, at[found++]);
	EXPECT_EQ(found, ARRAY_SIZE(at));
	unmake(&pt);
}

TEST(pt, runs_report_large_leaves,
     "the loop visits a 2 MiB leaf as one slot at level 1")
{
	struct pt_run run;
	struct pt pt;
	va_t va;

	REQUIRE(make(&pt));
	REQUIRE(pt_map(&pt, BASE, 0, 2 * BIT(21), PROT_R, true) == 0);
	va = BASE + PAGE_SIZE;
	REQUIRE(pt_next_run(&pt, &va, BASE + BIT(22), &run));
	EXPECT(run.level == 1 && run.count == 1 && run.va == BASE);
	EXPECT_EQ(va, BASE + BIT(21));
	REQUIRE(pt_next_run(&pt, &va, va + PAGE_SIZE, &run));
	EXPECT(!pt_next_run(&pt, &va, BASE + BIT(21) + PAGE_SIZE, &run));
	unmake(&pt);
}

struct newcomer {
	struct pt *pt;
	va_t va;
	unsigned mapped;
};

static void map_meanwhile(uint64_t pt, uint64_t va, void *arg)
{
	struct newcomer *n = arg;

	if ((struct pt *)pt == n->pt && !n->mapped++)
		EXPECT_EQ(map_one(n->pt, n->va), 0);
}

/* The walk meets a hole at this level; then a fault puts a table there. */
static void meet_newcomer(unsigned level)
{
	va_t start = BASE + 5 * PAGE_SIZE, end = start + 2 * PAGE_SIZE;
	struct newcomer n = { .va = start - PAGE_SIZE };
	struct pt_run run;
	struct pt pt;

	REQUIRE(make(&pt));
	if (level < 3)
		REQUIRE(map_one(&pt, BASE + BIT(12 + 9 * level)) == 0);
	n.pt = &pt;
	hook("pt_no_table", map_meanwhile, &n);
	for (va_t va = start; pt_next_run(&pt, &va, end, &run);)
		EXPECT(run.level == 0 && run.va >= start);
	unhook("pt_no_table");
	EXPECT_EQ(n.mapped, 1);
	unmake(&pt);
}

TEST(pt, runs_meet_new_tables,
     "a table that appears during the loop is not taken for a leaf and does "
     "not widen the range")
{
	for (unsigned level = 1; level <= 3; level++)
		meet_newcomer(level);
}

TEST(pt, refused_map_changes_nothing,
     "a map that meets a live entry, or finds no memory, changes no entry")
{
	va_t end = BASE + 4 * BIT(21);
	unsigned live = 0;
	struct pt_run run;
	struct pt pt;

	REQUIRE(make(&pt));
	REQUIRE(map_one(&pt, end - PAGE_SIZE) == 0);
	EXPECT_EQ(pt_map(&pt, BASE, 0, end - BASE, PROT_R, false), -EEXIST);
	EXPECT_EQ(pt_map(&pt, BASE, 0, end - BASE, PROT_R, true), -EEXIST);
	inject_arm(2);
	EXPECT_EQ(pt_map(&pt, TOP - BIT(30), 0, BIT(30), PROT_R, false),
		  -ENOMEM);
	inject_arm(0);
	for (va_t va = 0; pt_next_run(&pt, &va, TOP, &run);)
		for (unsigned i = 0; i < run.count; i++)
			live += run.slots[i] != 0;
	EXPECT_EQ(live, 1);
	unmake(&pt);
}

TEST(pt, segments_keep_their_frames,
     "each page of a map of segments has its own frame, and only an aligned "
     "block of 2 MiB is one leaf")
{
	const struct segment sg[] = { { 9 * PAGE_SIZE, PAGE_SIZE },
				      { BIT(22), BIT(21) },
				      { BIT(23), 2 * PAGE_SIZE },
				      { BIT(24), BIT(21) - 2 * PAGE_SIZE },
				      { 9 * PAGE_SIZE, PAGE_SIZE } };
	va_t start = BASE + BIT(21) - PAGE_SIZE, va = start;
	unsigned level, large = 0;
	struct pt pt;

	REQUIRE(make(&pt));
	EXPECT_EQ(pt_map_sg(&pt, start, sg, BIT(22) + 2 * PAGE_SIZE, PROT_R,
			    true),
		  0);
	for (unsigned i = 0; i < ARRAY_SIZE(sg); i++)
		for (uint64_t at = 0; at < sg[i].len; at += PAGE_SIZE) {
			uint64_t e = pte_read(pt_lookup(&pt, va, 0, &level));

			EXPECT_EQ(pt_pa(e) + (va & (pt_span(level) - 1)),
				  sg[i].pa + at);
			large += level;
			va += PAGE_SIZE;
		}
	EXPECT_EQ(large, PT_ENTRIES);
	EXPECT(!pte_read(pt_lookup(&pt, va, 0, &level)));
	unmake(&pt);
}

TEST(pt, prune_unhooks_empty_tables,
     "pruning unhooks exactly the tables without entries, and their empty "
     "parents")
{
	unsigned n = 0, level;
	struct pt pt;

	REQUIRE(make(&pt));
	REQUIRE(map_one(&pt, BASE) == 0);
	REQUIRE(map_one(&pt, BASE + BIT(21)) == 0);
	REQUIRE(map_one(&pt, BASE + BIT(30)) == 0);
	EXPECT_EQ(pt.tables, 1 + 1 + 2 + 3);
	pt_prune(&pt, 0, TOP, release, &n);
	EXPECT_EQ(n, 0);

	EXPECT_EQ(pt_unmap(&pt, BASE, BASE + PAGE_SIZE), 0);
	pt_prune(&pt, BASE, BASE + PAGE_SIZE, release, &n);
	EXPECT_EQ(n, 1);
	pt_lookup(&pt, BASE, 0, &level);
	EXPECT_EQ(level, 1);

	/* The second gigabyte: its leaf table and the one above. */
	EXPECT_EQ(pt_unmap(&pt, BASE + BIT(30), BASE + BIT(31)), 0);
	pt_prune(&pt, BASE + BIT(30), BASE + BIT(31), release, &n);
	EXPECT_EQ(n, 3);
	EXPECT_EQ(pt.tables, 4);
	EXPECT_STR_NULL(pt_check(&pt));
	unmake(&pt);
}

TEST(pt, prune_passes_a_hole,
     "2 MiB that begin in a hole and end in a table without entries lose that "
     "table: they are in no single leaf table")
{
	unsigned n = 0;
	struct pt pt;

	REQUIRE(make(&pt));
	REQUIRE(map_one(&pt, BASE + BIT(21)) == 0);
	EXPECT_EQ(pt_unmap(&pt, BASE + BIT(20), BASE + 3 * BIT(20)), 0);
	pt_prune(&pt, BASE + BIT(20), BASE + 3 * BIT(20), release, &n);
	EXPECT_EQ(n, 3);
	EXPECT_EQ(pt.tables, 1);
	unmake(&pt);
}

TEST(pt, prune_keeps_evicted_entries, "a nonzero entry keeps its table")
{
	unsigned n = 0;
	uint64_t *slot;
	struct pt pt;

	REQUIRE(make(&pt));
	slot = pt_slot(&pt, BASE, 0, true);
	REQUIRE(slot);
	pt_set(&pt, slot, 0x7000 | PTE_W); /* not present: an evicted entry */
	pt_prune(&pt, 0, TOP, release, &n);
	EXPECT_EQ(n, 0);
	pt_set(&pt, slot, 0);
	pt_prune(&pt, 0, TOP, release, &n);
	EXPECT_EQ(n, 3);
	EXPECT_EQ(pt.tables, 1);
	unmake(&pt);
}

TEST(pt, check_sees_a_wrong_count, "pt_check finds a wrong count")
{
	uint64_t *slot;
	struct pt pt;

	REQUIRE(make(&pt));
	slot = pt_slot(&pt, BASE, 0, true);
	REQUIRE(slot);
	pte_write(slot, x86_leaf(0x5000, PROT_R)); /* and not counted */
	EXPECT(pt_check(&pt));
	pte_write(slot, 0);
	EXPECT_STR_NULL(pt_check(&pt));
	pt.tables++;
	EXPECT(pt_check(&pt));
	pt.tables--;
	unmake(&pt);
}
