/* SPDX-License-Identifier: MIT */
/*
 * checkers.h - what must hold for the whole machine after every test
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

/* Check after it; returns NULL or a message. */
const char *checkers_run(const struct checkers *o);
