/* SPDX-License-Identifier: MIT */
/*
 * page_model.c - looks, cells and their bounds; tests/stress/page_model.h has the idea
 */
#include "tests/stress/page_model.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define CELLS_MAX 4096

struct cell {
	_Atomic uint64_t visited; /* pages where it has been, one bit each */
	uint64_t floor[CELL_WRITERS];
	_Atomic uint64_t kept[CELL_WRITERS];
};

static struct cell cells[CELLS_MAX];
static _Atomic unsigned cells_used;

/* A look in one word, so that it is taken in one instant. */
#define LOOK_CELL   GENMASK(12, 0)
#define LOOK_NOW    GENMASK(15, 13)
#define LOOK_NEXT   GENMASK(18, 16)
#define LOOK_MOVES  GENMASK(40, 20)
#define LOOK_SEQ    GENMASK(62, 41)
#define LOOK_MOVING BIT(19)

static _Atomic uint64_t pages[CELL_PAGES];

/* A tag: writer, first page, and counter.  As wide as one DMA access. */
#define TAG_WRITER  GENMASK(31, 28)
#define TAG_PAGE    GENMASK(27, 23)
#define TAG_COUNTER GENMASK(22, 0)

/* Counters of all rounds of a run: what an old round left is known as old. */
static _Atomic uint64_t started[CELL_WRITERS], done[CELL_WRITERS];

/* ---- the owner of pages ------------------------------------------------ */

static void look_store(unsigned page, const struct look *l)
{
	atomic_store(&pages[page], FIELD_PREP(LOOK_CELL, l->cell) |
					   FIELD_PREP(LOOK_NOW, l->now) |
					   FIELD_PREP(LOOK_NEXT, l->next) |
					   FIELD_PREP(LOOK_MOVES, l->moves) |
					   FIELD_PREP(LOOK_SEQ, l->seq) |
					   (l->moving ? LOOK_MOVING : 0));
}

struct look cell_look(unsigned page)
{
	uint64_t w;

	assert(page < CELL_PAGES);
	w = atomic_load(&pages[page]);
	return (struct look){ .cell = (unsigned)FIELD_GET(LOOK_CELL, w),
			      .now = (enum prot)FIELD_GET(LOOK_NOW, w),
			      .next = (enum prot)FIELD_GET(LOOK_NEXT, w),
			      .moving = w & LOOK_MOVING,
			      .moves = (unsigned)FIELD_GET(LOOK_MOVES, w),
			      .seq = (unsigned)FIELD_GET(LOOK_SEQ, w) };
}

static unsigned cell_make(unsigned cell)
{
	struct cell *c = &cells[cell];

	atomic_store(&c->visited, 0);
	for (unsigned k = 0; k < CELL_WRITERS; k++) {
		c->floor[k] = atomic_load(&done[k]);
		atomic_store(&c->kept[k], 0);
	}
	return cell;
}

void cells_begin(void)
{
	for (unsigned k = 0; k < CELL_WRITERS; k++) {
		atomic_store(&started[k], 0);
		atomic_store(&done[k], 0);
	}
}

void cells_reset(void)
{
	for (unsigned i = 0; i < CELL_PAGES; i++)
		atomic_store(&pages[i], 0);
	for (unsigned i = 0; i <= CELL_OBJECT; i++)
		cell_make(i);
	atomic_store(&cells_used, CELL_OBJECT + 1);
}

void cell_begin(unsigned page, enum prot next, bool moving)
{
	struct look l = cell_look(page);

	assert(!(l.seq & 1));
	l.next = next;
	l.moving = moving;
	l.moves += moving;
	l.seq++;
	look_store(page, &l);
}

unsigned cell_new(void)
{
	unsigned cell = atomic_fetch_add(&cells_used, 1);

	assert(cell < CELLS_MAX);
	return cell_make(cell);
}

void cell_visit(unsigned cell, unsigned page)
{
	atomic_fetch_or(&cells[cell].visited, BIT(page));
}

static void finish(unsigned page, unsigned cell, enum prot prot)
{
	struct look l = cell_look(page);

	assert(l.seq & 1);
	l.cell = cell;
	l.now = l.next = prot;
	l.moving = false;
	l.seq++;
	look_store(page, &l);
}

void cell_end(unsigned page, unsigned cell)
{
	finish(page, cell, cell_look(page).next);
}

void cell_undo(unsigned page, const struct look *before)
{
	finish(page, before->cell, before->now);
}

/* ---- all actors -------------------------------------------------------- */

enum may cell_may(const struct look *a, const struct look *b, enum prot right)
{
	bool all = (a->now & a->next & b->now & b->next & right) == right;
	bool any = (a->now | a->next | b->now | b->next) & right;

	/* Further apart there were rights that neither look has seen. */
	if (b->seq - a->seq > 3)
		return MAY_EITHER;
	return all ? MAY_SURELY : any ? MAY_EITHER : MAY_NOT;
}

uint32_t cell_store_begin(unsigned writer, unsigned page)
{
	uint64_t c = atomic_fetch_add(&started[writer], 1) + 1;

	assert(c <= TAG_COUNTER);
	return (uint32_t)(FIELD_PREP(TAG_WRITER, writer + 1) |
			  FIELD_PREP(TAG_PAGE, page) |
			  FIELD_PREP(TAG_COUNTER, c));
}

void cell_store_end(unsigned writer, const struct look *a, const struct look *b,
		    bool stored)
{
	uint64_t c = atomic_load(&started[writer]);

	if (stored && cell_settled(a, b))
		atomic_store(&cells[a->cell].kept[writer], c);
	atomic_store(&done[writer], c);
}

uint64_t cell_low(const struct look *a, unsigned writer)
{
	return atomic_load(&cells[a->cell].kept[writer]);
}

uint64_t cell_high(unsigned writer)
{
	return atomic_load(&started[writer]);
}

static const char *judge_cell(const struct cell *c, unsigned writer,
			      struct bounds bounds, uint64_t value)
{
	uint64_t counter = FIELD_GET(TAG_COUNTER, value);

	if (!value)
		return bounds.low ? "a store is lost" : NULL;
	if (!(atomic_load(&c->visited) & BIT(FIELD_GET(TAG_PAGE, value))))
		return "another page's contents";
	if (counter <= c->floor[writer])
		return "forgotten contents are back";
	return counter < bounds.low ? "a store is lost" : NULL;
}

const char *cell_judge(const struct look *a, const struct look *b,
		       unsigned writer, struct bounds bounds, uint64_t value,
		       char *buf, size_t len)
{
	struct cell *c = &cells[a->cell];
	const char *why = NULL;

	if (value &&
	    (value > UINT32_MAX || FIELD_GET(TAG_WRITER, value) != writer + 1 ||
	     FIELD_GET(TAG_COUNTER, value) > bounds.high))
		why = "no writer has stored this value here";
	else if (cell_settled(a, b))
		why = judge_cell(c, writer, bounds, value);
	if (!why)
		return NULL;
	snprintk(buf, len,
		 "%s: %lx (cell %u, forgotten to %lx, kept %lx, begun %lx)",
		 why, value, a->cell, c->floor[writer], bounds.low,
		 bounds.high);
	return buf;
}
