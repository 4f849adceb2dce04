/* SPDX-License-Identifier: MIT */
/*
 * second_ivrs.h - chapter 5 of 48882, implemented a second time
 *
 * Written without reading iommu/ivrs*.c: where both agree on the same bytes,
 * the manual says so, or both made the same mistake.
 */
#pragma once

#include "iommu/core/ivrs.h"

#define SECOND_UNITS   256
#define SECOND_ALIASES 4096

struct second_unit {
	unsigned segment, devid, type;
	uint64_t mmio;
	bool bad;
};

struct second_ivrs {
	unsigned n;
	struct second_unit units[SECOND_UNITS];
	bool usable; /* a unit of segment 0 has possible registers          */
};

struct second_ids {
	uint64_t covers[DEVIDS / 64], no_tlb[DEVIDS / 64];
	unsigned n; /* aliases                                              */
	unsigned first[SECOND_ALIASES], last[SECOND_ALIASES];
	int alias[SECOND_ALIASES];
	bool two_aliases; /* of one device                                  */
};

/* Parse.  False: something in it is cut off, and none of it is used. */
bool second_ivrs(const uint8_t *table, unsigned length,
		 struct second_ivrs *out);

/* Parse the entries of a unit; the table is valid. */
void second_ids(const uint8_t *table, unsigned length, unsigned unit,
		struct second_ids *out);

/* Return the alias; -1: its own number. */
int second_alias(const struct second_ids *s, unsigned devid);
