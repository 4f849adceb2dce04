/* SPDX-License-Identifier: MIT */
/*
 * wx.c - check the kernel's own tables
 *
 * The checker uses nothing that kmap.c computed: it reads every leaf of the
 * kernel half and judges it by the frame that it names and the rights that it
 * grants.
 */
#include "kernel/printk.h"
#include "mm/kernel/kmap.h"
#include "mm/kernel/kmap_priv.h"

static char why[120];

/* Format an error message. */
static const char *wrong_entry(const char *what, va_t va, uint64_t entry)
{
	snprintk(why, sizeof(why), "wx: %s: entry %#lx at %#lx", what, entry,
		 va);
	return why;
}

/* Return true if the leaf, of len bytes, maps a byte of the image's
 * [start, end). */
static bool shows(uint64_t entry, uint64_t len, const char *start,
		  const char *end)
{
	pa_t pa = pt_pa(entry);

	return pa < image_pa(end) && image_pa(start) < pa + len;
}

/* Check one leaf of the kernel half.  Returns NULL or an error message. */
static const char *judge(va_t va, uint64_t entry, uint64_t len)
{
	enum prot prot = x86_prot(entry);
	bool text = va >= (va_t)text_start && va < (va_t)text_end;

	if (prot & PROT_USER)
		return wrong_entry("the user may use kernel memory", va, entry);
	if (prot & PROT_W && prot & PROT_X)
		return wrong_entry("writable and executable", va, entry);
	if (prot & PROT_X && !text)
		return wrong_entry("executable, but not text", va, entry);
	if (prot & PROT_W && shows(entry, len, text_start, text_end))
		return wrong_entry("text is writable", va, entry);
	if (prot & PROT_W && shows(entry, len, rodata_start, rodata_end))
		return wrong_entry("rodata is writable", va, entry);
	if (prot && kstack_guard_hit(va) >= 0)
		return wrong_entry("the guard of a stack is mapped", va, entry);
	return NULL;
}

/* Check that the user half of the kernel's own top table is empty. */
static const char *check_low_half(void)
{
	for (unsigned i = 0; i < PT_ENTRIES / 2; i++)
		if (pte_read(&kernel_pt.root[i]))
			return wrong_entry("the low half is mapped",
					   pt_span(3) * i,
					   pte_read(&kernel_pt.root[i]));
	return NULL;
}

/* Check that the guards of the image's own stacks are holes. */
static const char *check_guards(void)
{
	unsigned level;

	for (const struct guard *g = guards_start; g < guards_end; g++) {
		for (uint64_t i = 0; i < g->n; i++) {
			va_t va = (va_t)g->page + i * g->stride;
			uint64_t entry = *pt_lookup(&kernel_pt, va, 0, &level);

			if (entry)
				return wrong_entry("a guard is mapped", va,
						   entry);
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
