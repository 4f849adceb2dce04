/* SPDX-License-Identifier: MIT */
/*
 * region.h - make, split, trim, join and remove regions
 *
 * For the files of mm/ only.  No function here changes an entry, except that a cut
 * splits the huge entry that crosses it.  Ranges are half-open, in bytes, page-aligned.
 *
 * "mm->lock held to write" below is also true of the child of a fork that is not
 * yet published: only the forking thread knows it.
 */
#pragma once

#include "mm/core/track.h"

/* Return true if this thread may change mm's regions: it holds mm->lock to write,
 * or mm is a fork's child that is not on the list of all mms yet. */
static inline bool mm_lock_held_write(struct mm *mm)
{
	return rw_held_write(&mm->lock) || !mm->link.le_prev;
}

/* Initialise the pool.  Context: boot, once, before the first region_new(). */
void region_init(void);

/*
 * Make a region of mm over [start, end) that is in no tree yet and has no
 * object.  Returns NULL without memory.
 */
struct region *region_new(struct mm *mm, va_t start, va_t end);

/*
 * Make a region of mm over [start, end) with the rights, flags, object and pgoff
 * of r; it is a user of the object.  Returns NULL without memory.
 */
struct region *region_dup(const struct region *r, struct mm *mm, va_t start,
			  va_t end);

/* Note no more writes to the region: it has W again.  Entries stay as they are.
 * Context: r->mm->lock held to write. */
static inline void region_untrack(struct region *r)
{
	require(mm_lock_held_write(r->mm));
	if (likely(!(r->flags & REGION_TRACKED)))
		return;
	WRITE_ONCE(r->prot, region_rights(r));
	WRITE_ONCE(r->flags, r->flags & ~REGION_TRACKED);
}

/* Free a region that is in no tree and in no anon_vma. */
void region_free(struct region *r);

/*
 * Put the region into mm->regions; rmap_insert() puts it into the reverse map.
 * Context: r->mm->lock held to write.
 */
void region_attach(struct region *r);

/*
 * Take the region, which has no entries any more, out of mm->regions and out of
 * the reverse map, and free it.  Context: r->mm->lock held to write.
 */
void region_remove(struct region *r);

/*
 * Move the region's end, up into free addresses or down.  Takes the region's rmap lock.
 * Context: r->mm->lock held to write.
 */
void region_set_end(struct region *r, va_t end);

/*
 * Make the region show its object, or its anon_vmas, from page number pgoff on.  It has
 * no entries.  Takes the region's rmap lock.
 * Context: r->mm->lock held to write.
 */
void region_set_pgoff(struct region *r, uint64_t pgoff);

/*
 * Split regions at start and at end, so that none crosses either.  A caller that
 * fails afterwards calls region_join().
 * Context: mm->lock held to write.  Returns 0, or -ENOMEM with none split.
 */
must_check int region_cut(struct mm *mm, va_t start, va_t end);

/*
 * Do region_cut() for a range in which every page must belong to a region.
 * Context: mm->lock held to write.
 * Returns 0; -ENOENT if there is a hole, or -ENOMEM, with none split.
 */
must_check int region_cut_out(struct mm *mm, va_t start, va_t end);

/*
 * Split the region that crosses both start and end, if there is one, at end: then
 * region_clear() can take the range out of any region at one end.  A caller that fails
 * afterwards calls region_join().
 * Context: mm->lock held to write.
 * Returns 0; -ENOMEM, or -EINVAL for a part of a huge page of the fixed pool, with none
 * split.
 */
must_check int region_part(struct mm *mm, va_t start, va_t end);

/*
 * Take [start, end), which has no entries any more, out of mm's regions: those inside
 * are removed, those that cross one end are trimmed.  None crosses both: region_part()
 * was called before.  Linux splits such a VMA and removes the piece (do_munmap()).
 * Context: mm->lock held to write.
 */
void region_clear(struct mm *mm, va_t start, va_t end);

/*
 * Return true if a, directly before b, differs from b in the boundary only.  Each
 * operation joins such neighbours, so that they never exist outside mm->lock.
 * Context: mm->lock, or no thread changes mm.
 */
bool region_alike(const struct region *a, const struct region *b);

/*
 * Join neighbours in [start, end], both ends included, that have become alike.
 * Context: mm->lock held to write.
 */
void region_join(struct mm *mm, va_t start, va_t end);

/*
 * Return the lowest free address for len bytes, or 0 if there is none.
 * Context: mm->lock held.
 */
va_t region_gap(struct mm *mm, uint64_t len);

/*
 * Return true if the region allows the access.  An entry that can be written or
 * executed can be read: x86 has no other kind (SDM vol. 3, 4.6).  So any right
 * allows a read, and the result is what an entry would allow.
 */
static inline bool region_allows(const struct region *r, enum prot access)
{
	return r->prot && !(access & ~(r->prot | PROT_R));
}
