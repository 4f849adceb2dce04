/* SPDX-License-Identifier: MIT */
/*
 * page_model.h - what a word may hold while other threads change the layout
 *
 * A model of one address space that many threads use at once.  Each page of the
 * space is at every moment one *cell* of contents (or none): mapping and
 * discarding give it a new cell, unmapping none, moving takes the cell along.
 * Only the page's owner changes that, and says so before and after:
 *
 *        look a                                  look b
 *   ---+---|------[ transition: old, new ]---------|---> time, of one page
 *              other writers, other transitions
 *
 * An access is bracketed by two looks.  No change of contents between them:
 * its cell is known, and with it what each word may hold.  Word k of a page is
 * written by writer k alone, with rising counters c:
 *
 *   floor  c of the last store that was over when the cell was made: forgotten
 *   kept   c of the last store known to be in the cell: not lost
 *   hi     c of the last store begun when the load was over: not yet written
 *
 *   0 if kept == 0, or a tag of writer k, from a page where the cell has been,
 *   with floor < c, kept <= c <= hi
 *
 * Rights likewise: all that held between the looks allow an access, and it must
 * succeed; none does, and it must fail; else it may do either.
 *
 * Locks: none.  An owner's words are its own; counters are written by their
 * writer.  All atomics are sequentially consistent: the brackets need it.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include "mm/pt/pt.h"

#define CELL_WRITERS 5  /* CPUs and devices                              */
#define CELL_PAGES   24 /* of the space; at most 32                        */
#define CELL_OBJECT  8  /* pages of the object: cells 1 to CELL_OBJECT     */
#define CELL_NONE    0

/* One look at a page. */
struct look {
	unsigned cell;
	enum prot now, next; /* differ in a transition of rights           */
	bool moving;         /* a transition of contents                   */
	unsigned seq;        /* of the page's transitions, begun and ended  */
	unsigned moves;      /* those of contents                          */
};

/* ---- the owner of pages ------------------------------------------------ */

/* Before all rounds of a run: counters begin at 0, and a tag holds 2^23. */
void cells_begin(void);

/* Reset: no page is mapped, no cell used.  No other thread runs. */
void cells_reset(void);

/* The page begins to change: its rights, and its contents if moving. */
void cell_begin(unsigned page, enum prot next, bool moving);

/* Fresh contents, after cell_begin(): all stores that are over are forgotten. */
unsigned cell_new(void);

/* The cell of a page of the object. */
static inline unsigned cell_of_object(unsigned index)
{
	return 1 + index;
}

static inline bool cell_is_object(unsigned cell)
{
	return cell && cell <= CELL_OBJECT;
}

/* From now on tags of page may be in the cell.  Before the first can. */
void cell_visit(unsigned cell, unsigned page);

/* The change is over: the page shows cell, with the rights of cell_begin(). */
void cell_end(unsigned page, unsigned cell);

/* The change did not happen. */
void cell_undo(unsigned page, const struct look *before);

/* ---- all actors -------------------------------------------------------- */

struct look cell_look(unsigned page);

enum may {
	MAY_NOT,
	MAY_EITHER,
	MAY_SURELY
};

/* Did the page allow an access of this right between the looks? */
enum may cell_may(const struct look *a, const struct look *b, enum prot right);

/* The contents were of cell a->cell all the time. */
static inline bool cell_settled(const struct look *a, const struct look *b)
{
	return !a->moving && !b->moving && a->moves == b->moves;
}

/* Before a store of writer to page: the tag to store. */
uint32_t cell_store_begin(unsigned writer, unsigned page);

/* After it; a and b bracket it.  stored: it did not fault. */
void cell_store_end(unsigned writer, const struct look *a, const struct look *b,
		    bool stored);

/* The bounds of a word: low before the load, high after it. */
struct bounds {
	uint64_t low, high;
};

uint64_t cell_low(const struct look *a, unsigned writer);
uint64_t cell_high(unsigned writer);

/*
 * May word `writer` of the page that the looks bracket hold value?  Returns
 * NULL, or why not in words (in buf).
 */
const char *cell_judge(const struct look *a, const struct look *b,
		       unsigned writer, struct bounds bounds, uint64_t value,
		       char *buf, size_t len);
