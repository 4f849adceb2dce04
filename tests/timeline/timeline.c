/* SPDX-License-Identifier: MIT */
/*
 * timeline.c - lay out a timeline: columns as wide as their text, no trailing
 * spaces
 */
#include "tests/timeline/timeline.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define NUMBER 4 /* width of a step's number                               */
#define GAP    2 /* between columns                                        */

static void put_text(char *to, const char *text)
{
	size_t n = strlen(text);

	if (n >= TIMELINE_WORDS) {
		n = TIMELINE_WORDS - 1;
		memcpy(to, text, n);
		to[n - 1] = '~'; /* show that the text is cut */
	} else {
		memcpy(to, text, n);
	}
	to[n] = '\0';
}

/* Find or add a lane, sorted by key; false: no room. */
static bool lane_make(struct timeline *t, uint64_t key, const char *title)
{
	unsigned at = 0;

	while (at < t->n_lanes && t->lanes[at].key < key)
		at++;
	if (at < t->n_lanes && t->lanes[at].key == key)
		return true;
	if (t->n_lanes == TIMELINE_LANES)
		return false;
	for (unsigned i = t->n_lanes++; i > at; i--)
		t->lanes[i] = t->lanes[i - 1];
	t->lanes[at].key = key;
	put_text(t->lanes[at].title, title);
	return true;
}

void timeline_add(struct timeline *t, uint64_t lane, const char *title,
		  const char *text)
{
	struct timeline_step *s;

	if (t->n_steps == TIMELINE_STEPS || !lane_make(t, lane, title)) {
		t->left_out++;
		return;
	}
	s = &t->steps[t->n_steps++];
	s->lane = lane;
	put_text(s->words, text);
}

/* ---- the table ---------------------------------------------------------- */

/* Printed after the text of the step at which an invariant broke. */
#define BROKEN "  \342\227\204" /* a triangle that points at it           */

static unsigned lane_width(const struct timeline *t, uint64_t key,
			   const char *title)
{
	size_t width = strlen(title);

	for (unsigned i = 0; i < t->n_steps; i++) {
		size_t n = strlen(t->steps[i].words);

		if (t->steps[i].lane == key && n > width)
			width = n;
	}
	return (unsigned)width;
}

/* Put text at a column of a line that has only spaces from there on. */
static void place(char *line, unsigned column, const char *text)
{
	size_t n = strlen(text);

	if (column >= TIMELINE_LINE - 1)
		return;
	if (n > TIMELINE_LINE - 1 - column)
		n = TIMELINE_LINE - 1 - column;
	memcpy(line + column, text, n);
}

static void line_begin(char *line)
{
	memset(line, ' ', TIMELINE_LINE);
}

static void line_end(char *line, void (*emit)(const char *, void *), void *arg)
{
	unsigned n = TIMELINE_LINE - 1;

	while (n && line[n - 1] == ' ')
		n--;
	line[n] = '\0';
	emit(line, arg);
}

/* Compute where columns begin if none is wider than cap; return the length of
 * the longest line. */
static unsigned layout(const struct timeline *t, unsigned cap, unsigned *column)
{
	unsigned at = NUMBER + GAP, longest = 0;

	for (unsigned i = 0; i < t->n_lanes; i++) {
		const struct timeline_lane *l = &t->lanes[i];
		unsigned width = lane_width(t, l->key, l->title);
		unsigned title = (unsigned)strlen(l->title);

		column[i] = at;
		if (at + width > longest)
			longest = at + width;
		if (width > cap)
			width = title > cap ? title : cap;
		at += width + GAP;
	}
	return longest;
}

void timeline_print(const struct timeline *t,
		    void (*emit)(const char *line, void *arg), void *arg)
{
	unsigned column[TIMELINE_LANES], cap = TIMELINE_WORDS;
	char line[TIMELINE_LINE], number[NUMBER + 8];

	if (!t->n_steps)
		return;
	while (layout(t, cap, column) > TIMELINE_FIT && cap)
		cap--;
	line_begin(line);
	for (unsigned i = 0; i < t->n_lanes; i++)
		place(line, column[i], t->lanes[i].title);
	line_end(line, emit, arg);
	for (unsigned i = 0; i < t->n_steps; i++) {
		unsigned lane = 0;

		while (t->lanes[lane].key != t->steps[i].lane)
			lane++;
		line_begin(line);
		snprintk(number, sizeof(number), "%4u", i + 1);
		place(line, 0, number);
		place(line, column[lane], t->steps[i].words);
		if (i + 1 == t->broken)
			place(line,
			      column[lane] +
				      (unsigned)strlen(t->steps[i].words),
			      BROKEN);
		line_end(line, emit, arg);
	}
	if (!t->left_out)
		return;
	snprintk(line, sizeof(line), "%u more steps are left out", t->left_out);
	emit(line, arg);
}
