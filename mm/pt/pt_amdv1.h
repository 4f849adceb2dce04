/* SPDX-License-Identifier: MIT */
/*
 * pt_amdv1.h - the IOMMU's own page-table format, "v1" or "host" tables
 *
 *   63 62 61 60 59  58..52  51 ....... 12  11...9    8..7  6  5  4..1  0
 *   -  IW IR FC  U  -       table / frame  NextLevel  -    D  A   -    PR
 *
 * 48882, section 2.2.3 "I/O Page Tables for Host Translations".  The entry names
 * the level below it: NextLevel 0 is a leaf of this level's size, n a table of n
 * levels (the walker's level n - 1).  Rights are ANDed over the DTE and all
 * levels: DTE and table entries grant all, so that the leaf decides.
 */
#pragma once

#include "mm/pt/pt.h"

#define AMDV1_PR         BIT(0)
#define AMDV1_NEXT_LEVEL GENMASK(11, 9)
#define AMDV1_FC         BIT(60) /* DMA snoops the CPU's caches            */
#define AMDV1_IR         BIT(61)
#define AMDV1_IW         BIT(62)

#define AMDV1_MIN_LEVELS 3
#define AMDV1_MAX_LEVELS 6

extern const struct pt_format pt_amdv1;
