/* SPDX-License-Identifier: MIT */
/*
 * wx.c - the oracle of the kernel's own tables
 *
 * It believes nothing that kmap.c computed: every leaf of the kernel half is
 * read back and judged by itself, from the frame that it names and the rights
 * that it grants.
 */
#include "mm/kmap.h"
#include "mm/kmap_priv.h"
#include "kernel/printk.h"

static char why[120];

static const char *say(const char *what, va_t va, uint64_t entry)
{
	snprintk(why, sizeof(why), "wx: %s: entry %#lx at %#lx", what, entry,
		 va);
	return why;
}

/* Does the leaf of len bytes show a byte of the image's [start, end)? */
static bool shows(uint64_t entry, uint64_t len, const char *start,
		  const char *end)
{
	pa_t pa = pt_pa(entry);

	return pa < image_pa(end) && image_pa(start) < pa + len;
}

/* One leaf of the kernel half; NULL if it may stand. */
static const char *judge(va_t va, uint64_t entry, uint64_t len)
{
	enum prot prot = x86_prot(entry);
	bool text = va >= (va_t)text_start && va < (va_t)text_end;

	if (prot & PROT_USER)
		return say("the user may use kernel memory", va, entry);
	if (prot & PROT_W && prot & PROT_X)
		return say("writable and executable", va, entry);
	if (prot & PROT_X && !text)
		return say("executable, but not text", va, entry);
	if (prot & PROT_W && shows(entry, len, text_start, text_end))
		return say("text is writable", va, entry);
	if (prot & PROT_W && shows(entry, len, rodata_start, rodata_end))
		return say("rodata is writable", va, entry);
	if (prot && kstack_guard_hit(va) >= 0)
		return say("the guard of a stack is mapped", va, entry);
	return NULL;
}

/* The user half of the kernel's own top table is empty. */
static const char *check_low_half(void)
{
	for (unsigned i = 0; i < PT_ENTRIES / 2; i++)
		if (pte_read(&kernel_pt.root[i]))
			return say("the low half is mapped", pt_span(3) * i,
				   pte_read(&kernel_pt.root[i]));
	return NULL;
}

/* The image's own stacks end in holes too. */
static const char *check_guards(void)
{
	unsigned level;

	for (const struct guard *g = guards_start; g < guards_end; g++) {
		for (uint64_t i = 0; i < g->n; i++) {
			va_t va = (va_t)g->page + i * g->stride;
			uint64_t entry = *pt_lookup(&kernel_pt, va, 0, &level);

			if (entry)
				return say("a guard is mapped", va, entry);
		}
	}
	return NULL;
}

const char *wx_check(void)
{
	const char *wrong = check_low_half();
	struct pt_run run;

	if (!wrong)
		wrong = check_guards();
	for (va_t va = kernel_pt.bottom;
	     !wrong && pt_next_run(&kernel_pt, &va, 0, &run);) {
		for (unsigned i = 0; i < run.count && !wrong; i++) {
			uint64_t entry = pte_read(&run.slots[i]);
			uint64_t len = pt_span(run.level);

			if (entry)
				wrong = judge(run.va + i * len, entry, len);
		}
	}
	return wrong;
}
