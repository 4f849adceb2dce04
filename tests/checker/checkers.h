/* SPDX-License-Identifier: MIT */
/*
 * checkers.h - what must hold for the whole machine after every test, and after a suite
 */
#pragma once

#include <stdint.h>

struct checkers {
	uint64_t frames;  /* free, or in caches that may be emptied         */
	uint64_t objects; /* in use in all pools                            */
	unsigned threads;
};

/* Record the state before a test. */
void checkers_begin(struct checkers *o);

/* Check after it what tests usually break; returns NULL or a message. */
const char *checkers_run(const struct checkers *o);

/*
 * Check the rest, which takes as long as 60 short tests do: the state of every frame,
 * the poison of those freed since, every entry of the device table, every kernel
 * mapping.  Returns NULL or a message.
 */
const char *checkers_sweep(void);
