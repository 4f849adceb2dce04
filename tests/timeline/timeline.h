/* SPDX-License-Identifier: MIT */
/*
 * timeline.h - a table of steps: a row for each, a column for each actor
 *
 *	       T0                  device 0          IOMMU
 *	  1                        DMA read A: 10
 *	  2    clear PTE A
 *	  3                                          INVALIDATE_IOMMU_PAGES d1 A
 *
 * This is only the table; tests/timeline/explain.h fills it from probes.
 */
#pragma once

#include <stdint.h>

#define TIMELINE_LANES 10
#define TIMELINE_STEPS 100
#define TIMELINE_WORDS \
	44 /* bytes of a step's text, with the 0; cut if longer */
#define TIMELINE_LINE 240 /* bytes of a printed line                       */

struct timeline_lane {
	uint64_t key; /* columns are sorted by it                           */
	char title[TIMELINE_WORDS];
};

struct timeline_step {
	uint64_t lane; /* key of its lane                                   */
	char words[TIMELINE_WORDS];
};

/* A timeline of zeros is empty. */
struct timeline {
	struct timeline_lane lanes[TIMELINE_LANES];
	struct timeline_step steps[TIMELINE_STEPS];
	unsigned n_lanes, n_steps;
	unsigned
		broken; /* number of the step that broke an invariant; 0: none */
	unsigned left_out; /* steps for which there was no room             */
};

/* Add a step to the lane with this key; a new lane gets the title. */
void timeline_add(struct timeline *t, uint64_t lane, const char *title,
		  const char *text);

/*
 * Pass the table to emit(), line by line, without newlines; a table without
 * steps prints nothing.  Columns are as wide as their text, or narrower so that a
 * line fits TIMELINE_FIT: a row has text in one column only, which may extend
 * below the titles of the next.
 */
#define TIMELINE_FIT 94 /* 100 with what KTAP puts before it             */
void timeline_print(const struct timeline *t,
		    void (*emit)(const char *line, void *arg), void *arg);
