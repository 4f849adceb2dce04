/* SPDX-License-Identifier: MIT */
/*
 * reference.h - the clocks of a PC whose rate is known, for clock_calibrate()
 *
 *	if (r->begin(sources)) {
 *		... read the clock that is to be measured
 *		if (r->end(sources))
 *			... REFERENCE_NS have passed since then
 *	}
 */
#pragma once

#include "arch/clock.h"

#define REFERENCE_NS UINT64_C(2500000)

struct reference {
	const char *name;
	/* Start; false: it is not there, or stands still. */
	bool (*begin)(const struct clock_sources *sources);
	/* Wait; false: it did not get there in a bounded number of reads. */
	bool (*end)(const struct clock_sources *sources);
};

/* In order of preference; the name of the last is NULL. */
extern const struct reference references[];
