/* SPDX-License-Identifier: MIT */
/*
 * flat_model.h - the flat model of tests/stress/steps.c: what each page of each space holds
 *
 *	space 0..5, page 0..23, across the edge of the first 512 GiB:
 *
 *	   S(0)         S(11)|S(12)         S(23)
 *	    +---+-- ... --+--|--+--- ... ---+        no table is shared by
 *	    | tag, rights |  |  |           |        both halves but the root
 *
 * A page of private memory holds its tag in the first word, one of an object the
 * object's word; everything behind it is zero.
 */
#pragma once

#include "tests/fixture/mm/mm_fixture.h"

#define STEP_SPACES 6u
#define STEP_PAGES  24u
#define STEP_WORDS  8u /* pages of the object                              */
#define STEP_PINS   6u

#define STEP_EDGE (UINT64_C(1) << 39)
#define S(n)      (STEP_EDGE - STEP_PAGES / 2 * PAGE_SIZE + PAGE_SIZE * (va_t)(n))

struct step_page {
	bool mapped, shared, locked, merge;
	enum prot prot;
	unsigned index; /* in the object                                   */
	uint64_t tag;   /* private memory: what the page holds             */
};

struct step_space {
	struct mm *mm; /* NULL: there was no memory for it                 */
	struct step_page page[STEP_PAGES];
};

struct step_pin {
	struct page *page; /* NULL: the place is free                      */
	unsigned space, at;
	bool held;  /* the page is still mapped at this address            */
	bool write; /* it may be written by its frame                      */
};

struct steps {
	struct step_space space[STEP_SPACES];
	struct step_pin pin[STEP_PINS];
	struct object *object;
	uint64_t word[STEP_WORDS];
};

/* What a page holds. */
static inline uint64_t step_value(const struct steps *s,
				  const struct step_page *p)
{
	return p->shared ? s->word[p->index] : p->tag;
}

/* What a load from it finds: BAD where nothing may be read. */
static inline uint64_t step_reads(const struct steps *s,
				  const struct step_page *p)
{
	return p->mapped && p->prot ? step_value(s, p) : BAD;
}

/* The page now holds v. */
void step_store(struct steps *s, struct step_page *p, uint64_t v);

/* Are all of the n pages mapped?  Is any? */
bool step_all(const struct step_space *s, unsigned page, unsigned n);
bool step_any(const struct step_space *s, unsigned page, unsigned n);

/* The first mapped page from this one on, around the end; or this one. */
unsigned step_near(const struct step_space *s, unsigned page);

/* The pages of [page, page + n) are no longer what was pinned there. */
void step_release(struct steps *s, unsigned space, unsigned page, unsigned n);

/*
 * Compare every space with the model, without touching a page: regions, rights,
 * entries, contents, pins.  NULL, or what is wrong in words (mm/check/check.h).
 * Context: a quiet point.
 */
const char *steps_check(const struct steps *s);
