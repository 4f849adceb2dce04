/* SPDX-License-Identifier: MIT */
/*
 * rand.h - splitmix64: a seeded stream of numbers, the same on every run
 *
 * Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
 */
#pragma once

#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline struct rng rng_seed(uint64_t seed)
{
	return (struct rng){ seed };
}

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Returns a number below n > 0 (slightly uneven for huge n). */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}
