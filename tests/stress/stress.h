/* SPDX-License-Identifier: MIT */
/*
 * stress.h - random operations that can be named, left out and repeated
 *
 * An operation is drawn from the seed, its actor and its number, and from
 * nothing else: what ran before, and whether it ran, changes nothing in it.  So
 * a run can leave any of them out and the others stay what they were:
 *
 *	ops=0:17-40,52/2:3	actor 0: 17 to 40 and 52; actor 2: 3; no other
 *
 * That word on the kernel's command line replays a part of a run, and
 * tools/shrink looks for the smallest part that still fails.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include "mm/core/mm.h"
#include "mm/frame/page.h"
#include "mm/pt/pt.h"
#include "tests/base/test.h"

#define STRESS_ACTORS 8

/* ---- which operations run ---------------------------------------------- */

/*
 * Read the word's text (up to a space or the end); NULL: everything runs.
 * Returns NULL or what is wrong with it, in words.
 */
const char *stress_plan(const char *text);

/* Has a part been chosen? */
bool stress_planned(void);

/*
 * The word stress=N: every stress test does N times its operations, in N times
 * its time.  They are those of a run without it and more of their kind, so ops=
 * means the same in both.
 */
void stress_set_times(unsigned times);
unsigned stress_times(void);

/* ---- pages that move ---------------------------------------------------- */

/* Have a swap store until stress_memory_end(), which says how much moved, and how many
 * huge entries came and went: at least one was wanted. */
void stress_memory_begin(void);
void stress_memory_end(void);

/* Return the page that an entry maps at va, of a huge one its block's head, with a
 * reference for the caller; NULL if none. */
struct page *stress_page(struct mm *mm, va_t va);

/*
 * Take the page, on which the caller has a reference, from all tables, in one of three
 * ways: it is evicted, swapped out, or moved to another frame.  Other threads may refuse
 * that.  Then age it, or do not.
 */
void stress_take(struct page *page, unsigned dice);

/* ---- one operation ----------------------------------------------------- */

enum op_shows { /* the arguments that a kind of operation uses           */
	OP_SPACE = BIT(0),
	OP_PAGE = BIT(1),
	OP_RANGE = BIT(2),
	OP_PROT = BIT(3),
	OP_OBJECT = BIT(4),
	OP_TO = BIT(5),       /* to another page                           */
	OP_TO_SPACE = BIT(6), /* to another space                          */
};

struct op_kind {
	const char *name;
	unsigned weight; /* those of a table add up to 100                 */
	unsigned shows;  /* enum op_shows                                  */
};

/* What may be drawn: pages [first, first + pages), at most longest at once. */
struct op_limits {
	unsigned spaces, first, pages, longest, object_pages;
};

struct op {
	unsigned kind; /* index in the table                               */
	unsigned space, to_space;
	unsigned page, n, to; /* [page, page + n); a page                  */
	unsigned limit;       /* behind the last page that may be drawn    */
	unsigned index;       /* of the object                             */
	bool shared;          /* the object, not private memory            */
	enum prot prot;
	unsigned dice; /* below 2^16: whatever else is to be chosen        */
};

struct op op_draw(const struct op_kind *kinds, const struct op_limits *limits,
		  uint64_t seed, unsigned actor, unsigned number);

/* "protect pages 3..9 of space 1 r--" */
void op_words(const struct op_kind *kinds, const struct op *op, char *buf,
	      size_t len);

/* ---- a run ------------------------------------------------------------- */

struct stress {
	unsigned actors, ops; /* ops of each actor                         */
	/* Put operation number of actor into words. */
	void (*words)(unsigned actor, unsigned number, char *buf, size_t len);
	_Atomic bool failed;
	_Atomic unsigned from; /* operations below it do not matter any more */
	_Atomic unsigned at[STRESS_ACTORS]; /* where each actor is          */
	_Atomic unsigned done;              /* operations begun             */
};

/* Say how large the run is, and, if only a few operations run, which.  Until
 * stress_end() a panic tells what has run.  Every ten seconds a line says how
 * far it is, or a runner would take it for dead. */
void stress_begin(struct stress *s);
void stress_end(struct stress *s);

/* Print ops= of what has run, if a run is on.  For panics. */
void stress_tell(void);

/*
 * The actor's next operation: n, or the next one that runs; end when there is
 * none below it or the run has failed.  The loop an actor writes:
 *
 *	for (n = stress_next(s, id, 0, end); n < end;
 *	     n = stress_next(s, id, n + 1, end))
 */
unsigned stress_next(struct stress *s, unsigned actor, unsigned n,
		     unsigned end);

/* Does the actor have an operation in [begin, end)? */
bool stress_any(unsigned actor, unsigned begin, unsigned end);

/* Report that the actor's operation went wrong: the first is printed, and all
 * actors stop. */
#define STRESS_WRONG(s, actor, ...) \
	stress_wrong(s, actor, __FILE__, __LINE__, __VA_ARGS__)
void stress_wrong(struct stress *s, unsigned actor, const char *file, int line,
		  const char *fmt, ...) printf_like(5, 6);
