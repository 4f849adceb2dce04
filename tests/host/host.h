/* SPDX-License-Identifier: MIT */
/*
 * host.h - common to the tests on the host: a seed, and how they fail
 *
 * 	build/host/fuzz_x [SEED]
 *
 * The same seed is the same run; a failure prints the seed and the round.
 */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernel/rand.h"

static uint64_t host_seed = 1;
static unsigned host_round; /* set by the test's loop */
static struct rng host_rng;

static inline void host_begin(int argc, char **argv)
{
	if (argc > 1)
		host_seed = strtoull(argv[1], NULL, 0);
	host_rng = rng_seed(host_seed);
}

/* Return a number below n > 0. */
static inline uint64_t below(uint64_t n)
{
	return rng_below(&host_rng, n);
}

#define CHECK(cond, ...)                                                 \
	do {                                                             \
		if (!(cond)) {                                           \
			printf("%s:%d: %s: seed %" PRIu64 " round %u\n", \
			       __FILE__, __LINE__, #cond, host_seed,     \
			       host_round);                              \
			printf("  " __VA_ARGS__);                        \
			printf("\n");                                    \
			exit(1);                                         \
		}                                                        \
	} while (0)
