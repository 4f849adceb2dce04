/* SPDX-License-Identifier: MIT */
/*
 * ksm.c - opt ranges in to merging, run the scanner, print its counters
 *
 * The thread of mm/ksm/ksm.h does not run here: a command scans pages, and shows
 * that the first scan of a page only computes its checksum and the second merges.
 */
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "mm/ksm/ksm.h"
#include "tests/shell/shell.h"

static int merge(unsigned argc, char **argv)
{
	return shell_on_range(argc, argv, ksm_mergeable);
}
SHELL_COMMAND(merge, "MM START END", "let private pages of the range be merged",
	      "new; merge 1 0x10000000 0x10002000", merge);

static int unmerge(unsigned argc, char **argv)
{
	return shell_on_range(argc, argv, ksm_unmergeable);
}
SHELL_COMMAND(unmerge, "MM START END", "no more, and part those that are",
	      "new; merge 1 0x10000000 0x10002000; "
	      "unmerge 1 0x10000000 0x10002000",
	      unmerge);

#define ROW(field) #field, offsetof(struct ksm_stat, field)

/* By the names that Linux has in /sys/kernel/mm/ksm. */
static int show_counters(void)
{
	static const struct {
		const char *name;
		size_t at;
	} rows[] = {
		{ ROW(pages_shared) },
		{ ROW(pages_sharing) },
		{ ROW(pages_unshared) },
		{ ROW(pages_volatile) },
		{ ROW(pages_scanned) },
		{ ROW(pages_merged) },
		{ ROW(full_scans) },
		{ ROW(stable_node_chains) },
		{ ROW(stable_node_dups) },
		{ ROW(ksm_zero_pages_sharing) },
		{ ROW(bytes) },
	};
	struct ksm_stat stat;

	ksm_stat(&stat);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		printk("%-22s %lu\n", rows[i].name,
		       *(uint64_t *)((char *)&stat + rows[i].at));
	return 0;
}

static int scan(uint64_t pages)
{
	int ret = pages ? ksm_scan((unsigned)pages) : ksm_full_scan();

	if (ret < 0)
		return shell_say(ret);
	if (pages)
		printk("%d pages looked at\n", ret);
	return 0;
}

static int ksm_command(unsigned argc, char **argv)
{
	uint64_t pages = 0;

	if (argc == 1)
		return show_counters();
	if (argc > 3 || strcmp(argv[1], "scan"))
		return -EINVAL;
	if (argc == 3 &&
	    (!shell_number(argv[2], &pages) || !pages || pages > INT32_MAX))
		return -EINVAL;
	return scan(pages);
}
SHELL_COMMAND(ksm, "[scan [PAGES]]",
	      "what merging has found; look on, to the pass's end or PAGES",
	      "new; merge 1 0x10000000 0x10002000; write 1 0x10000000 7; write "
	      "1 0x10001000 7; ksm scan; ksm scan; ksm",
	      ksm_command);
