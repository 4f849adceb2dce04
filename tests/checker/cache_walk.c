/* SPDX-License-Identifier: MIT */
/*
 * cache_walk.c - from a device's address to a leaf
 */
#include "tests/checker/cache_walk.h"
#include "mm/frame/page.h"
#include "mm/pt/pt.h"

#define E_PR    BIT(0)
#define E_NEXT  GENMASK(11, 9)
#define E_ADDR  GENMASK(51, 12)
#define D_VALID GENMASK(1, 0) /* V and TV                                  */

/* Return whether there is a frame at pa that can be read. */
static bool is_ram(pa_t pa)
{
	pfn_t pfn = pa >> PAGE_SHIFT;

	return pfn < frames_end &&
	       page_kind(page_head(&frames[pfn])) > PAGE_FREE;
}

/* Decode the leaf e in a table whose entries cover 2^shift bytes: a cache may hold all of
 * them as one translation. */
static struct known leaf_of(uint64_t e, iova_t iova, unsigned shift,
			    uint64_t rights)
{
	return (struct known){
		.iova = iova & ~GENMASK(shift - 1, 0),
		.shift = (uint8_t)shift,
		.frame = e & E_ADDR & ~GENMASK(shift - 1, 0),
		.prot = (uint8_t)((rights >> 61 & 1 ? PROT_R : 0) |
				  (rights >> 62 & 1 ? PROT_W : 0)),
	};
}

bool cache_walk(const struct walk *w, iova_t iova, struct known *leaf)
{
	uint64_t e = w->dte.w[0], rights = e;
	unsigned level = (unsigned)FIELD_GET(E_NEXT, e), next;

	if ((e & D_VALID) != D_VALID || !level || level > 6 ||
	    (level < 6 && iova >> (PAGE_SHIFT + 9 * level)))
		return false;
	for (bool root = true;; root = false, level = next) {
		unsigned shift = PAGE_SHIFT + 9 * (level - 1);
		pa_t table = e & E_ADDR;
		struct known here = { .iova = iova & ~GENMASK(shift + 8, 0),
				      .shift = (uint8_t)(shift + 9),
				      .frame = table };

		if (!is_ram(table))
			return false;
		if (w->passed)
			w->passed(w, root, &here);
		e = READ_ONCE(((const uint64_t *)phys_to_virt(
			table))[(iova >> shift) % 512]);
		next = (unsigned)FIELD_GET(E_NEXT, e);
		rights &= e;
		if (!(e & E_PR) || next >= level)
			return false;
		if (next)
			continue;
		*leaf = leaf_of(e, iova, shift, rights);
		return leaf->prot;
	}
}
