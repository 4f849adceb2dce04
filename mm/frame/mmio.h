/* SPDX-License-Identifier: MIT */
/*
 * mmio.h - which physical addresses are registers, and of which device
 *
 *   0        1M                       top           4G - 16M   4G      end
 *   |old     | RAM .................. | registers    | ROM     | ...   | nothing
 *
 * Addresses of registers come from firmware tables and BARs.  A driver claims
 * the range before it maps it.  A claim that cannot be true is refused with a
 * message, so that no driver takes memory, or the registers of another device,
 * for its own registers.
 *
 * Ranges are half-open, in bytes.  Context of all: one thread at a time.
 */
#pragma once

#include "mm/frame/memmap.h"

#define MMIO_CLAIMS 48

struct mmio_claim {
	const char *owner; /* "the local APIC"; lives as long as the map     */
	pa_t start, end;   /* [start, end)                                   */
};

/* All claims.  mmio.c has the machine's own map; tests make others. */
struct mmio_map {
	const struct memmap *ram;
	pa_t top; /* end of the CPU's physical addresses                 */
	unsigned n;
	struct mmio_claim claims[MMIO_CLAIMS];
	char message[128]; /* the last refusal                           */
};

/*
 * Initialise a map in which only the first MiB and the firmware's ROM are
 * claimed.  ram and top bound the claims that follow.
 */
void mmio_map_init(struct mmio_map *map, const struct memmap *ram, pa_t top);

/*
 * Check whether the len bytes at pa can be registers of owner.  Returns NULL,
 * or an error message that is valid until the next call.  The name is only for
 * messages: the same range under the same name is refused too, because several
 * BARs share the name "a BAR".
 */
must_check const char *mmio_map_check(struct mmio_map *map, const char *owner,
				      pa_t pa, uint64_t len);

/* Check as above and record the claim; refuses also when the map is full. */
must_check const char *mmio_map_claim(struct mmio_map *map, const char *owner,
				      pa_t pa, uint64_t len);

/* Do the two for the machine's own map.  Context: after pmm_init(). */
must_check const char *mmio_check(const char *owner, pa_t pa, uint64_t len);
must_check const char *mmio_claim(const char *owner, pa_t pa, uint64_t len);
