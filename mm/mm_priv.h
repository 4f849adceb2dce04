/* SPDX-License-Identifier: MIT */
/*
 * mm_priv.h - what the files that change address spaces all need
 */
#pragma once

#include "mm/anon_vma.h"
#include "mm/mm.h"
#include "mm/object.h"
#include "mm/pmm.h"
#include "mm/pool.h"
#include "mm/pt_x86.h"
#include "mm/region.h"
#include "mm/rmap.h"
#include "mm/zap.h"

/* Somebody listens, and W may go from the entries of the run: what a device may
 * have written gets D first (entry_dirty()).  Context: pt_lock held. */
void run_keep_dirty(struct mm *mm, const struct pt_run *run);
