/* SPDX-License-Identifier: MIT */
/*
 * timeline.c - the table, and the text that probes become
 */
#include "arch/cpu.h"
#include "iommu/hw/command.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"
#include "tests/fixture/mm/sync_point.h"
#include "tests/timeline/explain.h"
#include "tests/timeline/timeline.h"

static struct timeline table;
static char text[4000];

static void keep(const char *line, void *arg)
{
	size_t at = strlen(text);

	snprintk(text + at, sizeof(text) - at, "%s\n", line);
}

static const char *print(const struct timeline *t)
{
	text[0] = '\0';
	timeline_print(t, keep, NULL);
	return text;
}

static const char *printed(void)
{
	return print(&table);
}

static void empty(void)
{
	memset(&table, 0, sizeof(table));
}

#define EXPECT_TEXT(got, want)                                                 \
	do {                                                                   \
		const char *got_ = (got);                                      \
		if (strcmp(got_, want))                                        \
			test_fail(__FILE__, __LINE__, "printed\n%swanted\n%s", \
				  got_, (want));                               \
	} while (0)

TEST(timeline, columns_are_lanes,
     "each step is a row, and each lane a column as wide as its longest text")
{
	empty();
	timeline_add(&table, 7, "device", "DMA read A = 10");
	timeline_add(&table, 1, "T0", "clear PTE A");
	timeline_add(&table, 9, "IOMMU", "INVALIDATE_IOMMU_PAGES 1 A");
	timeline_add(&table, 1, "T0", "set PTE A");
	timeline_add(&table, 7, "device", "DMA read A = 11");
	EXPECT_TEXT(printed(), "      T0           device           IOMMU\n"
			       "   1               DMA read A = 10\n"
			       "   2  clear PTE A\n"
			       "   3                                "
			       "INVALIDATE_IOMMU_PAGES 1 A\n"
			       "   4  set PTE A\n"
			       "   5               DMA read A = 11\n");
}

TEST(timeline, the_step_that_broke_is_marked,
     "a triangle marks the step at which an expectation failed")
{
	empty();
	timeline_add(&table, 1, "T0", "clear PTE A");
	timeline_add(&table, 1, "T0", "set PTE A");
	table.broken = 1;
	EXPECT_TEXT(printed(), "      T0\n"
			       "   1  clear PTE A  \342\227\204\n"
			       "   2  set PTE A\n");
}

TEST(timeline, wide_tables_fit,
     "columns become narrower until the longest line has 94 characters")
{
	empty();
	for (unsigned i = 0; i < 4; i++)
		timeline_add(&table, i, "lane",
			     "a step of forty characters, all of them.");
	printed();
	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		REQUIRE(end);
		EXPECT((size_t)(end - line) <= TIMELINE_FIT);
		*end = '\0';
		EXPECT(line == text || glob_match("*all of them.", line));
	}
}

TEST(timeline, failure_marks_the_last_step_before_it,
     "a failure marks the last step before it")
{
	static char mm;

	probes_begin();
	explain_thread("T0");
	explain_begin();
	PROBE(pte_clear, &mm, VA);
	PROBE(tlb_flush, &mm, VA);
	explain_broken();
	PROBE(pte_set, &mm, VA);
	explain_broken();
	EXPECT_EQ(explain_table()->broken, 2);
	EXPECT_EQ(explain_table()->n_steps, 3);
	explain_begin();
}

TEST(timeline, empty_table_prints_nothing,
     "a table without steps prints nothing")
{
	empty();
	EXPECT_TEXT(printed(), "");
}

TEST(timeline, titles_make_room,
     "a title wider than all texts widens its column")
{
	empty();
	timeline_add(&table, 1, "a long title", "x");
	timeline_add(&table, 2, "b", "y");
	EXPECT_TEXT(printed(), "      a long title  b\n"
			       "   1  x\n"
			       "   2                y\n");
}

TEST(timeline, long_text_is_cut,
     "texts and lines that are too long are cut, and no buffer is overrun")
{
	char words[3 * TIMELINE_WORDS];
	size_t longest = 0;

	memset(words, 'w', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	empty();
	for (unsigned i = 0; i < TIMELINE_LANES; i++)
		timeline_add(&table, i, words, words);
	EXPECT_EQ(strlen(table.steps[0].words), TIMELINE_WORDS - 1);
	EXPECT_EQ(table.steps[0].words[TIMELINE_WORDS - 2], '~');
	for (const char *at = printed(); *at; at++) {
		size_t n = 0;

		while (at[n] != '\n')
			n++;
		longest = n > longest ? n : longest;
		at += n;
	}
	EXPECT_EQ(longest, TIMELINE_LINE - 1);
}

TEST(timeline, extra_rows_are_counted,
     "steps beyond the last row, and lanes beyond the last column, are counted")
{
	empty();
	for (unsigned i = 0; i < TIMELINE_LANES + 3; i++)
		timeline_add(&table, i, "t", "w");
	EXPECT_EQ(table.n_lanes, TIMELINE_LANES);
	EXPECT_EQ(table.left_out, 3);
	for (unsigned i = 0; i < TIMELINE_STEPS; i++)
		timeline_add(&table, 0, "t", "w");
	EXPECT_EQ(table.n_steps, TIMELINE_STEPS);
	EXPECT_EQ(table.left_out, 3 + TIMELINE_LANES);
	printed();
	EXPECT_TEXT(text + strlen(text) - 27, "13 more steps are left out\n");
}

/* ---- from probes ------------------------------------------------------- */

static void flushes(void)
{
	struct command one = command_invalidate_iommu_pages(
		5, command_range(VA, P(1)), false);
	struct command four = command_invalidate_iommu_pages(
		5, command_range(VA, P(4)), true);
	struct command other = command_invalidate_iommu_pages(
		6, command_range(VA, P(1)), false);

	PROBE(iommu_command, one.w[0], one.w[1]);
	PROBE(iommu_command, four.w[0], four.w[1]);
	PROBE(iommu_command, other.w[0], other.w[1]);
}

TEST(timeline, probes_become_steps,
     "probes become steps with names for numbers and lanes for threads, "
     "devices and the IOMMU; unnamed things are left out")
{
	static char mm, stranger;

	explain_model(false);
	explain_thread("T0");
	explain_name(EXPLAIN_MM, (uint64_t)&mm, "P");
	explain_name(EXPLAIN_ADDRESS, VA, "A");
	explain_name(EXPLAIN_DEVICE, 0x80, "device 0");
	explain_name(EXPLAIN_DOMAIN, 5, "d1");
	explain_name(EXPLAIN_FRAME, 0x7000, "page 1");
	probes_begin();
	PROBE(pte_clear, &mm, P(9));
	explain_begin();
	PROBE(pte_clear, &mm, VA + 8);
	PROBE(pte_clear, &stranger, VA);
	PROBE(pte_set, &mm, P(1));
	PROBE(frame_free, 0x7000, 0);
	PROBE(frame_free, 0x8000, 0);
	PROBE(device_read, UINT64_C(0x80) << 48 | VA, 10);
	PROBE(device_read, UINT64_C(0x80) << 48 | VA, 0);
	flushes();
	explain_end();
	PROBE(pte_clear, &mm, P(9));
	EXPECT_TEXT(print(explain_table()),
		    "      T0                  device 0             IOMMU\n"
		    "   1  clear PTE A\n"
		    "   2  set PTE 0x10001000\n"
		    "   3  free page 1\n"
		    "   4                      DMA read A = 10\n"
		    "   5                      DMA read A: blocked\n"
		    "   6                                           "
		    "INVALIDATE_IOMMU_PAGES d1 A\n"
		    "   7                                           "
		    "INVALIDATE_IOMMU_PAGES d1 A+4 PDE\n");
}

TEST(timeline, splits_and_collapses_are_named,
     "a split of 2 MiB and the steps of a collapse are rows with their address")
{
	static char mm;

	explain_thread("T0");
	explain_name(EXPLAIN_MM, (uint64_t)&mm, "P");
	explain_name(EXPLAIN_ADDRESS, VA, "A");
	probes_begin();
	explain_begin();
	PROBE(huge_split, &mm, VA);
	PROBE(collapse_cleared, &mm, VA);
	PROBE(collapse_copied, &mm, VA);
	PROBE(collapse_refused, &mm, VA);
	explain_end();
	EXPECT_TEXT(print(explain_table()),
		    "      T0\n"
		    "   1  split 2 MiB at A\n"
		    "   2  collapse: clear the table's entry A\n"
		    "   3  collapse: 512 pages are copied to A\n"
		    "   4  collapse is refused at A\n");
}

TEST(timeline, unnamed_threads_are_cpus,
     "a thread without a name uses its CPU's lane")
{
	probes_begin();
	explain_begin();
	PROBE(pte_clear, NULL, VA);
	explain_end();
	EXPECT_EQ(explain_table()->n_lanes, 1);
	EXPECT_EQ(explain_table()->n_steps, 1);
	EXPECT(!strncmp(explain_table()->lanes[0].title, "cpu", 3));
}
