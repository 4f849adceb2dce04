/* SPDX-License-Identifier: MIT */
/*
 * zap.h - clear the entries of a range and free what they mapped
 */
#pragma once

#include "mm/core/mm.h"

struct gather;

/*
 * Clear every entry in [start, end), page-aligned.  What they mapped is gathered,
 * across the ends of tables and of calls.  It is flushed and freed when the
 * gather is full or ZAP_TABLES tables have been passed, and the rest by the
 * caller's gather_flush(), before pt_lock is dropped: no fault may fill a hole
 * while its old translation may still be used.
 *
 * Context: mm->lock held, to read is enough; pt_lock held, and dropped for a
 * moment where nothing is gathered.
 */
void zap_entries(struct gather *gather, va_t start, va_t end);

/*
 * Clear every entry in [start, end), page-aligned, unlink the tables that are
 * empty then, flush all of it once, and free pages and tables.  Returns with
 * nothing gathered.
 * Context: mm->lock held to write, so that no thread holds a slot of a table.
 */
void zap_range(struct mm *mm, va_t start, va_t end);
