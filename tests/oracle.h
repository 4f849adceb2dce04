/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - what must be true of the whole machine after every test
 */
#pragma once

#include <stdint.h>

struct oracle {
	uint64_t frames;  /* free, or in caches that keep nothing           */
	uint64_t objects; /* in use in all pools                            */
	unsigned threads;
};

/* Before a test. */
void oracle_begin(struct oracle *o);

/* After it: NULL, or what is wrong in words. */
const char *oracle_check(const struct oracle *o);
