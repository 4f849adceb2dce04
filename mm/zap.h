/* SPDX-License-Identifier: MIT */
/*
 * zap.h - empty a range of entries, for those who hold a gather
 */
#pragma once

#include "mm/mm.h"

struct gather;

/*
 * Clear every entry in [start, end).  What they named is gathered, and flushed
 * and freed at the latest by gather_flush().
 *
 * Context: mm->lock held (reading is enough); takes pt_lock, a table at a time.
 */
void zap_entries(struct gather *gather, va_t start, va_t end);

/*
 * zap_entries(), then unhook and free the tables that no entry is left in, and
 * flush.  Context: mm->lock held to write: nobody may hold a slot of a table.
 */
void zap_range(struct mm *mm, va_t start, va_t end);
