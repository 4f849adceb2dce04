/* SPDX-License-Identifier: MIT */
/*
 * cache_walk.h - the walk of an IOMMU, for checker O3
 *
 * Entries are decoded here a second time and not by iommu/, so that an error there is
 * not repeated here.
 */
#pragma once

#include "iommu/core/iommu.h"
#include "tests/checker/known.h"

struct walk {
	struct dte dte;
	uint16_t devid;
	/* Called for each table passed, the root first; NULL: not. */
	void (*passed)(const struct walk *w, bool root,
		       const struct known *table);
};

/*
 * Walk as the hardware does.  Returns whether iova has a translation, and in *leaf the
 * addresses, frames and rights that it has: a cache may hold all of a leaf of 2 MiB as
 * one translation.  Context: no table is freed meanwhile.
 */
bool cache_walk(const struct walk *w, iova_t iova, struct known *leaf);
