/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - commands that move pages to other frames
 */
#include "mm/rmap/migrate.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "mm/frame/pmm.h"
#include "mm/reclaim/compact.h"
#include "tests/shell/shell.h"

/* Say why a page did not move. */
static int say(int ret)
{
	if (ret == -EBUSY)
		printk("a page is pinned, locked or has another user, or a "
		       "frame "
		       "is the kernel's own\n");
	else if (ret)
		return shell_say(ret);
	return ret;
}

static int migrate(unsigned argc, char **argv)
{
	struct page *page, *to;
	int ret;

	if (argc != 2)
		return -EINVAL;
	page = shell_user_page(argv[1]);
	if (!page)
		return -ENOENT;
	to = page_alloc();
	ret = to ? migrate_page(page, to) : -ENOMEM;
	if (!ret)
		printk("the page is in frame %#lx\n", pfn_of(to));
	if (to)
		page_put(to);
	page_put(page);
	return say(ret);
}
SHELL_COMMAND(migrate, "PFN", "move the page to another frame",
	      "new; write 1 0x10000000 7; page 0x10000000 1; migrate PFN; "
	      "page 0x10000000 1",
	      migrate);

static int evacuate(unsigned argc, char **argv)
{
	struct compact_stat was, now;
	struct page *block;
	uint64_t pfn;
	int ret;

	if (argc != 2 || !shell_number(argv[1], &pfn))
		return -EINVAL;
	compact_stat(&was);
	ret = block_evacuate(ALIGN_DOWN(pfn, BLOCK_PAGES), &block);
	compact_stat(&now);
	printk("%lu pages of frames %#lx to %#lx have moved\n",
	       now.moved - was.moved, ALIGN_DOWN(pfn, BLOCK_PAGES),
	       ALIGN_DOWN(pfn, BLOCK_PAGES) + BLOCK_PAGES - 1);
	if (!ret)
		page_put(block);
	return say(ret);
}
SHELL_COMMAND(evacuate, "PFN",
	      "move every page out of the 2 MiB of memory around the frame",
	      "new 512; write 1 0x10000000 7; collapse 1 0x10000000; "
	      "page 0x10000000 1; evacuate PFN; page 0x10000000 1",
	      evacuate);
