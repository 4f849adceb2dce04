/* SPDX-License-Identifier: MIT */
/*
 * mm.c - address spaces, tables, frames and the reverse map, to look at
 *
 * Each command takes the locks that mm itself would take for reading, so it can
 * be asked while tests or other threads change what it shows.
 */
#include "kernel/err.h"
#include "kernel/printk.h"
#include "kernel/shell.h"
#include "mm/core/object.h"
#include "mm/frame/pmm.h"
#include "mm/frame/pool.h"
#include "mm/kernel/kmap.h"
#include "mm/pt/pt_x86.h"
#include "mm/rmap/huge.h"
#include "mm/rmap/rmap.h"
#include "tests/fixture/mm/mm_fixture.h"
#include "tests/shell/shell.h"

#define MMS_SHOWN 32

const char *shell_rights(enum prot prot, char buf[4])
{
	buf[0] = prot & PROT_R ? 'r' : '-';
	buf[1] = prot & PROT_W ? 'w' : '-';
	buf[2] = prot & PROT_X ? 'x' : '-';
	buf[3] = 0;
	return buf;
}

struct mm *shell_find_mm(const char *text)
{
	struct mm *mm = NULL;
	uint64_t id;

	if (shell_number(text, &id) && id <= UINT32_MAX)
		mm = mm_find((unsigned)id);
	if (!mm)
		printk("there is no mm %s\n", text);
	return mm;
}

/* ---- mm ----------------------------------------------------------------- */

static void show_mm(struct mm *mm)
{
	uint64_t mapped, tables;
	struct region *r;
	char rights[4];

	rw_read_lock(&mm->lock);
	spin_lock(&mm->pt_lock);
	mapped = mm->mapped;
	tables = mm->pt.tables;
	spin_unlock(&mm->pt_lock);
	/* One of the users is ours, as long as we look. */
	printk("mm %u: users %u, on cpus %lx, %lu pages mapped, %lu tables\n",
	       mm->id, atomic_load(&mm->users) - 1,
	       atomic_load(&mm->cpus) & MM_CPUS, mapped, tables);
	for_each_region (r, mm, USER_START, USER_END)
		printk("  %#lx-%#lx %s %s%s%s, pgoff %#lx\n", r->start, r->end,
		       shell_rights(r->prot, rights),
		       r->object ? "object" : "private",
		       r->flags & MAP_LOCKED ? ", locked" : "",
		       r->flags & REGION_MERGEABLE ? ", mergeable" : "",
		       r->pgoff);
	rw_read_unlock(&mm->lock);
}

struct ids {
	unsigned n, id[MMS_SHOWN];
};

static void add_id(struct mm *mm, void *arg)
{
	struct ids *ids = arg;

	if (ids->n < MMS_SHOWN)
		ids->id[ids->n] = mm->id;
	ids->n++;
}

static int list_mms(unsigned argc, char **argv)
{
	struct ids ids = { 0 };
	struct mm *mm;

	if (argc > 2)
		return -EINVAL;
	if (argc == 2) {
		mm = shell_find_mm(argv[1]);
		if (!mm)
			return -ENOENT;
		show_mm(mm);
		mm_put(mm);
		return 0;
	}
	mm_for_each(add_id, &ids);
	for (unsigned i = 0; i < ids.n && i < MMS_SHOWN; i++) {
		mm = mm_find(ids.id[i]);
		if (!mm)
			continue; /* gone meanwhile */
		show_mm(mm);
		mm_put(mm);
	}
	printk("%u address spaces\n", ids.n);
	return 0;
}
SHELL_COMMAND(mm, "[MM]", "address spaces and their regions", "new; mm 1",
	      list_mms);

/* ---- pt ----------------------------------------------------------------- */

/* rwxugd: read, write, execute, user, global, dirty; as k-pt shows them. */
static void show_entry(uint64_t e, const char *kind, unsigned level, pa_t pa,
		       const char *state)
{
	printk("level %u: %016lx %s %#lx %c%c%c%c%c%c%s%s\n", level, e, kind,
	       pa, e & PTE_P ? 'r' : '-', e & PTE_W ? 'w' : '-',
	       e & PTE_NX ? '-' : 'x', e & PTE_U ? 'u' : '-',
	       e & PTE_G ? 'g' : '-', e & PTE_D ? 'd' : '-', *state ? " " : "",
	       state);
}

/*
 * The entries from the root down to where the walk ends.  Returns how many.
 * Context: what keeps the tables in place.
 */
static unsigned walk(pa_t root, const struct pt_format *format, va_t va,
		     uint64_t entries[PT_X86_LEVELS])
{
	const uint64_t *table = phys_to_virt(root);
	unsigned n = 0;

	for (unsigned level = PT_X86_LEVELS; level-- > 0;) {
		uint64_t e = pte_read(&table[pt_index(va, level)]);

		entries[n++] = e;
		if (pt_kind(format, e, level) != PT_TABLE)
			break;
		table = pt_table(e);
	}
	return n;
}

/* As walk(), and the state of the leaf entry if the walk came to one. */
static unsigned walk_mm(struct mm *mm, va_t va, uint64_t *entries,
			const char **state)
{
	unsigned n;

	rw_read_lock(&mm->lock);
	spin_lock(&mm->pt_lock);
	n = walk(pt_root_pa(&mm->pt), &pt_x86_user, va, entries);
	if (n == PT_X86_LEVELS || entry_huge(entries[n - 1]))
		*state = entry_state_name(entry_state(entries[n - 1]));
	spin_unlock(&mm->pt_lock);
	rw_read_unlock(&mm->lock);
	return n;
}

static int show_walk(unsigned argc, char **argv)
{
	uint64_t entries[PT_X86_LEVELS];
	const char *state = "";
	struct mm *mm = NULL;
	unsigned n;
	va_t va;

	if (argc < 2 || argc > 3 || !shell_number(argv[1], &va))
		return -EINVAL;
	if (va >> 47 && va >> 47 != UINT64_MAX >> 47) {
		printk("%#lx is not canonical\n", va);
		return -EFAULT;
	}
	if (argc == 3 && !(mm = shell_find_mm(argv[2])))
		return -ENOENT;
	/* The kernel's half is never taken down: nothing to hold. */
	n = mm ? walk_mm(mm, va, entries, &state)
	       : walk(kmap_root(), &pt_x86_kernel, va, entries);
	if (mm)
		mm_put(mm);
	for (unsigned i = 0; i < n; i++) {
		unsigned level = PT_X86_LEVELS - 1 - i;
		enum pt_kind kind = pt_kind(&pt_x86_user, entries[i], level);
		uint64_t in = kind == PT_LEAF ? va & (pt_span(level) - 1) : 0;

		if (kind == PT_HOLE)
			printk("level %u: %016lx %s\n", level, entries[i],
			       *state ? state : "hole");
		else
			show_entry(entries[i],
				   kind == PT_LEAF ? "leaf" : "table", level,
				   pt_pa(entries[i]) + in,
				   i + 1 < n ? "" : state);
	}
	return 0;
}
SHELL_COMMAND(pt, "VA [MM]", "walk the kernel's table, or that of an mm",
	      "new; write 1 0x10000000 7; pt 0x10000000 1", show_walk);

/* ---- page, rmap --------------------------------------------------------- */

struct visits {
	unsigned regions, mappings;
	bool all; /* show what does not map the page, too */
};

static bool show_visit(struct page *page, struct region *r, va_t va, void *arg)
{
	struct visits *v = arg;
	struct rmap_leaf leaf;
	uint64_t e;

	spin_lock(&r->mm->pt_lock);
	leaf = rmap_leaf(page, r, va);
	e = leaf.slot ? pte_read(leaf.slot) : 0;
	spin_unlock(&r->mm->pt_lock);
	v->regions++;
	v->mappings += leaf.slot != NULL;
	if (leaf.slot)
		printk("  mm %u at %#lx: %016lx %c%c%s\n", r->mm->id, va, e,
		       e & PTE_P ? 'r' : '-', e & PTE_W ? 'w' : '-',
		       entry_huge(e) ? " 2 MiB" : "");
	else if (v->all)
		printk("  mm %u at %#lx: not mapped here\n", r->mm->id, va);
	return true;
}

static struct page *find_page(const char *text)
{
	uint64_t pfn;

	if (shell_number(text, &pfn) && pfn < frames_end)
		return page_of(pfn);
	printk("there is no frame %s, the last is %#lx\n", text,
	       frames_end - 1);
	return NULL;
}

struct page *shell_user_page(const char *text)
{
	struct page *page = find_page(text);

	if (!page || page_try_get_user(page))
		return page;
	printk("frame %#lx is %s: no user's page\n", pfn_of(page),
	       page_kind_name(page_kind(page)));
	return NULL;
}

static void show_flags(const struct page *page)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ PG_BUDDY, "buddy" },         { PG_TAIL, "tail" },
		{ PG_BARE, "whole" },          { PG_POISONED, "poisoned" },
		{ PG_EXCLUSIVE, "exclusive" }, { PG_DIRTY, "dirty" }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (page_test(page, names[i].bit))
			printk(" %s", names[i].name);
}

/* The page that mm maps at va, with a reference: of a whole block of 2 MiB the head.
 * NULL if none. */
static struct page *page_by_entry(struct mm *mm, va_t va)
{
	struct page *page = page_at(mm, va);
	uint64_t *slot;

	if (page)
		return page;
	spin_lock(&mm->pt_lock);
	slot = huge_slot(mm, va);
	if (slot) {
		page = entry_page(pte_read(slot));
		if (!block_whole(page))
			page += (va & (BLOCK_SIZE - 1)) >> PAGE_SHIFT;
		page_get(page);
	}
	spin_unlock(&mm->pt_lock);
	return page;
}

/* The same for an mm by its number; NULL with a word if none. */
static struct page *mapped_page(const char *mm_text, va_t va)
{
	struct mm *mm = shell_find_mm(mm_text);
	struct page *page;

	if (!mm)
		return NULL;
	page = page_by_entry(mm, va);
	if (!page)
		printk("mm %u maps nothing at %#lx\n", mm->id, va);
	mm_put(mm);
	return page;
}

/* page PFN: of any kind; page VA MM: a user's, held by mapped_page(). */
static int show_page(unsigned argc, char **argv)
{
	struct visits v = { 0 };
	struct page *page;
	bool held;
	va_t va;

	if (argc < 2 || argc > 3 ||
	    (argc == 3 && (!shell_number(argv[1], &va) || va >= USER_END)))
		return -EINVAL;
	page = argc == 3 ? mapped_page(argv[2], va) : find_page(argv[1]);
	if (!page)
		return -ENOENT;
	held = argc == 3 || page_try_get_user(page);
	printk("frame %#lx %s refs %u maps %u pins %u", pfn_of(page),
	       page_kind_name(page_kind(page)), page_refs(page) - held,
	       page_maps(page), page_pins(page));
	show_flags(page);
	printk("\n");
	if (!held)
		return 0;
	rmap_walk(page, show_visit, &v);
	page_put(page);
	return 0;
}
SHELL_COMMAND(page, "PFN | VA MM", "a frame: kind, counts, flags, its mappings",
	      "new; write 1 0x10000000 7; page 0x10000000 1", show_page);

static int show_rmap(unsigned argc, char **argv)
{
	struct visits v = { .all = true };
	struct page *page;

	if (argc != 2)
		return -EINVAL;
	page = shell_user_page(argv[1]);
	if (!page)
		return -ENOENT;
	rmap_walk(page, show_visit, &v);
	printk("%u regions visited, %u map it\n", v.regions, v.mappings);
	page_put(page);
	return 0;
}
SHELL_COMMAND(rmap, "PFN", "every region that the reverse map visits",
	      "new; write 1 0x10000000 7; page 0x10000000 1; rmap PFN",
	      show_rmap);

/* ---- mem ---------------------------------------------------------------- */

static void show_pool(struct pool *pool, void *arg)
{
	(void)arg;
	printk("pool %-16s %u bytes, %lu live in %lu slabs\n", pool->name,
	       pool->size, pool_live(pool), pool_slabs(pool));
}

static int show_memory(unsigned argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return -EINVAL;
	printk("frames %lu, free %lu, of these %lu in the caches of CPUs\n",
	       pmm_total(), pmm_free_pages(), pmm_cached_pages());
	for (unsigned kind = PAGE_KERNEL; kind < PAGE_KINDS; kind++)
		printk("%-8s %lu\n", page_kind_name(kind), pmm_used_by(kind));
	pool_for_each(show_pool, NULL);
	return 0;
}
SHELL_COMMAND(mem, "", "frames by kind, pools", "mem", show_memory);
