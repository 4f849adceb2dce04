/* SPDX-License-Identifier: MIT */
/*
 * region.h - make, split, join and remove regions
 *
 * For mm's own files: everything here needs mm->lock held to write, and leaves
 * the entries of the range alone.
 */
#pragma once

#include "mm/mm.h"

/* Must run once before the first region_new(). */
void region_init(void);

/*
 * A new region of mm over [start, end), visible to nobody yet.
 * Takes a user of object (may be NULL).  Returns NULL without memory.
 */
struct region *region_new(struct mm *mm, va_t start, va_t end);

/* A twin of r for [start, end) of mm: rights, flags, object, pgoff. */
struct region *region_twin(const struct region *r, struct mm *mm, va_t start,
			   va_t end);

/* Free a region that is in no tree and no family. */
void region_free(struct region *r);

/* Into mm->regions (the family's trees are rmap_insert()'s business). */
void region_attach(struct region *r);

/*
 * Take the region out of mm->regions, its family or object, and free it.  Its
 * entries are gone.
 */
void region_remove(struct region *r);

/*
 * Change the boundaries; pgoff follows start.  No other region is in the way.
 * Takes the family's lock.
 */
void region_resize(struct region *r, va_t start, va_t end);

/*
 * Cut regions at start and at end, so that none crosses either.
 * Returns -ENOMEM; a cut that was made stays, which changes no meaning.
 */
must_check int region_cut(struct mm *mm, va_t start, va_t end);

/*
 * The same for a range whose every page must be mapped: -ENOENT with nothing
 * changed where there is a hole.
 */
must_check int region_cut_out(struct mm *mm, va_t start, va_t end);

/* Join neighbours in [start, end], both ends included, that have become alike. */
void region_join(struct mm *mm, va_t start, va_t end);

/* Lowest free address for len bytes, or 0. */
va_t region_gap(struct mm *mm, uint64_t len);
