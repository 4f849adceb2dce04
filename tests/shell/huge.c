/* SPDX-License-Identifier: MIT */
/*
 * huge.c - the advice, the scanner of collapse, and the counters of huge pages
 */
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "mm/frame/huge_pool.h"
#include "mm/huge/scan.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/huge_zero.h"
#include "tests/shell/shell.h"

static int set_advice(struct mm *mm, va_t start, va_t end)
{
	return mm_advise_huge(mm, start, end, true);
}

static int advise(unsigned argc, char **argv)
{
	return shell_on_range(argc, argv, set_advice);
}
SHELL_COMMAND(advise, "MM START END", "let the range have pages of 2 MiB",
	      "new 512; advise 1 0x10000000 0x10200000; write 1 0x10000000 7; "
	      "pt 0x10000000 1",
	      advise);

static void row(const char *name, uint64_t n)
{
	printk("%-22s %lu\n", name, n);
}

static int show_counters(void)
{
	struct huge_pool_stat pool = huge_pool_stat();
	struct huge_scan_stat scan;
	struct huge_stat stat;

	huge_stat(&stat);
	huge_scan_stat(&scan);
	row("faults", stat.faults);
	row("fallbacks", stat.fallbacks);
	row("splits", stat.splits);
	row("collapses", stat.collapses);
	row("joins", stat.joins);
	row("entries of zeroes", huge_zero ? page_maps(huge_zero) : 0);
	row("tables scanned", scan.scanned);
	row("  collapsed", scan.collapsed);
	row("  idle", scan.idle);
	row("  sparse", scan.sparse);
	row("  busy", scan.busy);
	row("  no block", scan.no_block);
	row("passes", scan.passes);
	row("pool blocks", pool.total);
	row("pool blocks free", pool.free);
	return 0;
}

static int start(void)
{
	int ret = huge_scan_start();

	if (ret == -EBUSY)
		printk("the scanner runs already\n");
	return shell_say(ret);
}

static int huge(unsigned argc, char **argv)
{
	if (argc == 1)
		return show_counters();
	if (argc > 2)
		return -EINVAL;
	if (!strcmp(argv[1], "start"))
		return start();
	if (!strcmp(argv[1], "stop"))
		huge_scan_stop();
	else if (!strcmp(argv[1], "scan"))
		huge_full_scan();
	else
		return -EINVAL;
	return 0;
}
SHELL_COMMAND(huge, "[scan | start | stop]",
	      "what huge pages have cost; scan once, or by a thread",
	      "new 512; write 1 0x10000000 7; advise 1 0x10000000 0x10200000; "
	      "huge scan; pt 0x10000000 1; huge",
	      huge);
