/* SPDX-License-Identifier: MIT */
/*
 * world.c - address spaces to play with: make, fork, write, read, drop
 *
 * The shell's thread binds itself to the address space that a command names
 * and does a real load or store: page faults and all.
 */
#include "arch/uaccess.h"
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "kernel/string.h"
#include "mm/huge/collapse.h"
#include "mm/rmap/block.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/shell/shell.h"

#define OURS 16

static struct mm *ours[OURS]; /* each with a user of ours; NULL: free       */

static int keep(struct mm *mm)
{
	for (unsigned i = 0; i < OURS; i++)
		if (!ours[i]) {
			ours[i] = mm;
			printk("mm %u\n", mm->id);
			return 0;
		}
	printk("there are %u already: drop one\n", OURS);
	mm_put(mm);
	return -EBUSY;
}

int shell_say(int error)
{
	if (error == -ENOMEM)
		printk("no memory\n");
	else if (error == -ENOENT)
		printk("not all of the range is mapped\n");
	return error;
}

static int make(unsigned argc, char **argv)
{
	bool pool = argc == 3 && !strcmp(argv[2], "pool");
	uint64_t pages = 4;
	struct mm *mm;

	if (argc > 2u + pool || (argc > 1 && !shell_number(argv[1], &pages)) ||
	    !pages || pages > (USER_END - VA) / PAGE_SIZE ||
	    (pool && pages % BLOCK_PAGES))
		return -EINVAL;
	mm = mm_create();
	if (!mm)
		return shell_say(-ENOMEM);
	if (mm_map(mm, VA, pages * PAGE_SIZE, RW, pool ? MAP_HUGETLB : 0, NULL,
		   0, NULL)) {
		mm_put(mm);
		return shell_say(-ENOMEM);
	}
	return keep(mm);
}
SHELL_COMMAND(new, "[PAGES [pool]]",
	      "an mm with private pages (4), or of the pool, at 0x10000000",
	      "new; new 16", make);

static int fork(unsigned argc, char **argv)
{
	struct mm *mm = argc == 2 ? shell_find_mm(argv[1]) : NULL, *child;
	int ret;

	if (argc != 2)
		return -EINVAL;
	if (!mm)
		return -ENOENT;
	ret = mm_fork(mm, &child);
	mm_put(mm);
	return ret ? shell_say(ret) : keep(child);
}
SHELL_COMMAND(fork, "MM", "a copy that shares every page until one writes",
	      "new; fork 1", fork);

/* Bound to mm, so that one real access tells. */
static int access(struct mm *mm, va_t va, uint64_t *v, bool write)
{
	int ret;

	mm_bind(mm);
	ret = write ? user_store64(va, *v) : user_load64(va, v);
	mm_bind(NULL);
	if (ret)
		printk("mm %u: %#lx faults\n", mm->id, va);
	return ret ? -EFAULT : 0;
}

static int read(unsigned argc, char **argv)
{
	struct mm *mm;
	uint64_t v;
	va_t va;
	int ret;

	if (argc != 3 || !shell_number(argv[2], &va) || va >= USER_END)
		return -EINVAL;
	mm = shell_find_mm(argv[1]);
	if (!mm)
		return -ENOENT;
	ret = access(mm, va, &v, false);
	mm_put(mm);
	if (!ret)
		printk("%#lx\n", v);
	return ret;
}
SHELL_COMMAND(read, "MM VA", "load 8 bytes, as a CPU does",
	      "new; read 1 0x10000000", read);

static int write(unsigned argc, char **argv)
{
	struct mm *mm;
	uint64_t v;
	va_t va;
	int ret;

	if (argc != 4 || !shell_number(argv[2], &va) || va >= USER_END ||
	    !shell_number(argv[3], &v))
		return -EINVAL;
	mm = shell_find_mm(argv[1]);
	if (!mm)
		return -ENOENT;
	ret = access(mm, va, &v, true);
	mm_put(mm);
	return ret;
}
SHELL_COMMAND(write, "MM VA VALUE", "store 8 bytes, as a CPU does",
	      "new; write 1 0x10000000 7; read 1 0x10000000", write);

int shell_on_range(unsigned argc, char **argv,
		   int (*fn)(struct mm *mm, va_t start, va_t end))
{
	struct mm *mm;
	va_t start, end;
	int ret;

	if (argc != 4 || !shell_number(argv[2], &start) ||
	    !shell_number(argv[3], &end) || !range_valid(start, end))
		return -EINVAL;
	mm = shell_find_mm(argv[1]);
	if (!mm)
		return -ENOENT;
	ret = fn(mm, start, end);
	mm_put(mm);
	return shell_say(ret);
}

static int unmap(unsigned argc, char **argv)
{
	return shell_on_range(argc, argv, mm_unmap);
}
SHELL_COMMAND(unmap, "MM START END", "unmap a range of whole pages",
	      "new; unmap 1 0x10000000 0x10001000; mm 1", unmap);

static int collapse(unsigned argc, char **argv)
{
	struct mm *mm;
	va_t va;
	int ret;

	if (argc != 3 || !shell_number(argv[2], &va) || va >= USER_END)
		return -EINVAL;
	mm = shell_find_mm(argv[1]);
	if (!mm)
		return -ENOENT;
	ret = mm_collapse(mm, va);
	mm_put(mm);
	return shell_say(ret);
}
SHELL_COMMAND(collapse, "MM VA", "make the 2 MiB around VA one entry",
	      "new 512; write 1 0x10000000 7; collapse 1 0x10000000; "
	      "pt 0x10000000 1",
	      collapse);

static int evict(unsigned argc, char **argv)
{
	struct page *page;
	int ret;

	if (argc != 2)
		return -EINVAL;
	page = shell_user_page(argv[1]);
	if (!page)
		return -ENOENT;
	ret = try_to_unmap(page);
	page_put(page);
	if (ret)
		printk("the page is locked or pinned\n");
	return ret;
}
SHELL_COMMAND(evict, "PFN", "evict the page: the next access faults it back",
	      "new; write 1 0x10000000 7; page 0x10000000 1; evict PFN", evict);

static int drop(unsigned argc, char **argv)
{
	uint64_t id;

	if (argc != 2 || !shell_number(argv[1], &id))
		return -EINVAL;
	for (unsigned i = 0; i < OURS; i++) {
		struct mm *mm = ours[i];

		if (!mm || mm->id != id)
			continue;
		ours[i] = NULL;
		mm_put(mm);
		return 0;
	}
	printk("no mm %s was made here\n", argv[1]);
	return -ENOENT;
}
SHELL_COMMAND(drop, "MM", "end an address space that was made here",
	      "new; drop 1", drop);

void shell_spaces_end(void)
{
	for (unsigned i = 0; i < OURS; i++) {
		if (ours[i])
			mm_put(ours[i]);
		ours[i] = NULL;
	}
}
