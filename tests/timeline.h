/* SPDX-License-Identifier: MIT */
/*
 * timeline.h - what happened, as a table: a column each for who did it
 *
 *	       T0                  lsi0              iommu
 *	  1                        DMA read A: 10
 *	  2    clear PTE A
 *	  3                                          INVALIDATE_IOMMU_PAGES d1 A
 *
 * Here is only the table; what goes into it, and when, is tests/explain.h.
 */
#pragma once

#include <stdint.h>

#define TIMELINE_LANES 10
#define TIMELINE_STEPS 100
#define TIMELINE_WORDS 44 /* bytes of a step, with the final 0; cut if longer */
#define TIMELINE_LINE  240 /* bytes of a printed line                       */

struct timeline_lane {
	uint64_t key; /* columns stand in its order                         */
	char title[TIMELINE_WORDS];
};

struct timeline_step {
	uint64_t lane; /* key of its lane                                   */
	char words[TIMELINE_WORDS];
};

/* All zeros: empty. */
struct timeline {
	struct timeline_lane lanes[TIMELINE_LANES];
	struct timeline_step steps[TIMELINE_STEPS];
	unsigned n_lanes, n_steps;
	unsigned left_out; /* steps for which there was no room             */
};

/* One step more, in the lane with this key; title: if the lane is new. */
void timeline_add(struct timeline *t, uint64_t lane, const char *title,
		  const char *words);

/* Hand the table to emit(), line by line, without newlines.  Nothing is printed
 * of a table without steps. */
void timeline_print(const struct timeline *t,
		    void (*emit)(const char *line, void *arg), void *arg);
