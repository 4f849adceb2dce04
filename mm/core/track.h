/* SPDX-License-Identifier: MIT */
/*
 * track.h - which pages of a range may have been written: the record of mm_track_writes()
 *
 * A tracked range has one bit for each page.  A region of it that may be written has
 * PROT_TRACK in place of PROT_W, so that no entry which is made there has W.  A write
 * faults, the fault notes the page, and only then its entry gets W.  Hence:
 *
 *	an entry with W in a tracked region   =>   the bit of its page is set     (B59)
 *
 * This is true of a device too: it has no right that the entry lacks (B32).  D is not
 * used.  A device does not set it, KSM and mkclean clear it, and a page that comes from
 * the swap store has it unwritten.  The bit belongs to the address and not to the entry,
 * so whatever becomes of the entry, the page or its frame, the bit stays.
 *
 * A page also changes without a write through its entry.  Code that gives it another
 * content (a new mapping, a discard) notes it.  What writes a frame past the entry (a
 * pin, a device with the page in its memory or alone) notes it at the beginning, or has
 * found W there, and its bit stays set as long as it may write.
 *
 * A region without PROT_TRACK in a tracked range is one that was mapped or moved there
 * after the last mm_take_written().  All its bits are set.
 */
#pragma once

#include "kernel/list.h"
#include "mm/core/mm.h"

#define TRACK_PAGES \
	(PAGE_SIZE * UINT64_C(8)) /* of one range: one frame of bits */

struct track {
	LIST_ENTRY(track) link; /* mm->tracks                               */
	va_t start, end;        /* (I)                                      */
	struct page *frame;     /* (I) of the bits, which are atomic        */
};

/* Initialise the pool.  Context: boot, once. */
void track_init(void);

/* Make a record of [start, end), at most TRACK_PAGES, with every bit set, that is on no
 * list.  Returns NULL without memory.  Context: any that may take RANK_POOL. */
struct track *track_new(va_t start, va_t end);

/* Free a record that is on no list.  Context: any that may take RANK_POOL. */
void track_free(struct track *t);

/* Put the record on mm's list, or take it off.  Context: mm->lock held to write. */
void track_insert(struct mm *mm, struct track *t);
void track_remove(struct mm *mm, struct track *t);

/* Return the first record that meets [start, end), or NULL.
 * Context: mm->lock or mm->pt_lock held. */
struct track *track_find(struct mm *mm, va_t start, va_t end);

/* Return whether the page's bit is set.  Context: va lies in the range. */
bool track_noted(const struct track *t, va_t va);

/* Clear the page's bit.  Context: mm->lock held to write, and pt_lock. */
void track_clear(struct mm *mm, struct track *t, va_t va);

/* Do track_note() for an mm with tracked ranges. */
void track_note_slow(struct mm *mm, va_t start, va_t end);

/*
 * Note that the pages of [start, end) may have been written, or are about to be, where
 * the range is tracked.  Context: mm->lock or mm->pt_lock held.
 */
static inline void track_note(struct mm *mm, va_t start, va_t end)
{
	require(rw_held(&mm->lock) || spin_held(&mm->pt_lock));
	if (unlikely(!LIST_EMPTY(&mm->tracks)))
		track_note_slow(mm, start, end);
}

/* Return what the prot field of the region is with these rights. */
static inline enum prot track_prot(const struct region *r, enum prot rights)
{
	return r->flags & REGION_TRACKED && rights & PROT_W
		       ? (rights & ~PROT_W) | PROT_TRACK
		       : rights;
}

/* Return the rights of the region: with W also where it waits for a note. */
static inline enum prot region_rights(const struct region *r)
{
	return r->prot & PROT_TRACK ? (r->prot & ~PROT_TRACK) | PROT_W
				    : r->prot;
}
