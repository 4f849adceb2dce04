/* SPDX-License-Identifier: MIT */
/*
 * timeline.c - columns as wide as what stands in them, lines that end at their
 * last word
 */
#include "tests/timeline.h"
#include "kernel/printk.h"
#include "kernel/string.h"

#define NUMBER 4 /* width of a step's number                               */
#define GAP    2 /* between columns                                        */

static void put_words(char *to, const char *words)
{
	size_t n = strlen(words);

	if (n >= TIMELINE_WORDS) {
		n = TIMELINE_WORDS - 1;
		memcpy(to, words, n);
		to[n - 1] = '~'; /* the reader should know that it is cut */
	} else {
		memcpy(to, words, n);
	}
	to[n] = '\0';
}

/* Keeps the lanes in order of their keys; false: no room. */
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
	put_words(t->lanes[at].title, title);
	return true;
}

void timeline_add(struct timeline *t, uint64_t lane, const char *title,
		  const char *words)
{
	struct timeline_step *s;

	if (t->n_steps == TIMELINE_STEPS || !lane_make(t, lane, title)) {
		t->left_out++;
		return;
	}
	s = &t->steps[t->n_steps++];
	s->lane = lane;
	put_words(s->words, words);
}

/* ---- the table ---------------------------------------------------------- */

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

/* Words at a column of a line that is all spaces so far behind it. */
static void place(char *line, unsigned column, const char *words)
{
	size_t n = strlen(words);

	if (column >= TIMELINE_LINE - 1)
		return;
	if (n > TIMELINE_LINE - 1 - column)
		n = TIMELINE_LINE - 1 - column;
	memcpy(line + column, words, n);
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

void timeline_print(const struct timeline *t,
		    void (*emit)(const char *line, void *arg), void *arg)
{
	unsigned column[TIMELINE_LANES], at = NUMBER + GAP;
	char line[TIMELINE_LINE], number[NUMBER + 8];

	if (!t->n_steps)
		return;
	line_begin(line);
	for (unsigned i = 0; i < t->n_lanes; i++) {
		const struct timeline_lane *l = &t->lanes[i];

		column[i] = at;
		place(line, at, l->title);
		at += lane_width(t, l->key, l->title) + GAP;
	}
	line_end(line, emit, arg);
	for (unsigned i = 0; i < t->n_steps; i++) {
		unsigned lane = 0;

		while (t->lanes[lane].key != t->steps[i].lane)
			lane++;
		line_begin(line);
		snprintk(number, sizeof(number), "%4u", i + 1);
		place(line, 0, number);
		place(line, column[lane], t->steps[i].words);
		line_end(line, emit, arg);
	}
	if (!t->left_out)
		return;
	snprintk(line, sizeof(line), "%u more steps are left out", t->left_out);
	emit(line, arg);
}
