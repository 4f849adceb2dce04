/* SPDX-License-Identifier: MIT */
/*
 * quirks.h - what the machine's IOMMU really does, asked at boot
 *
 * QEMU's AMD-Vi departs from the manual (48882), and from version to version.
 * Before anybody relies on it the LSIs do a few dozen transfers through tables
 * built for the purpose, and each row below is a claim that held or did not.
 * docs/limits.md is made of them; a test that needs one says NEED_QUIRK(row).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"

/* Each row's sentence is in the table of the file named above it. */
struct iommu_quirks {
	uint16_t bad_ids; /* no row: what wide_ids found, as bits of an id */
	/* quirks_tables.c: entries */
	bool translates, denies;
	bool leaf_rights_count, upper_rights_count;
	bool pr_counts, marker_blocks, marker_signed;
	bool levels_checked, levels_skipped;
	bool large_leaf, sizes_by_address;
	bool sets_accessed, refused_read_is_zero;
	/* quirks_dte.c: device table entries */
	bool v0_passes, tv0_blocks, mode0_passes, mode0_rights_count;
	bool mode7_blocks, reserved_blocks, dte_rights_count, range_checked;
	bool dte_cached, wide_ids, ppr_translates;
	/* quirks_cache.c: what is remembered, what makes it forget */
	bool flush_works, caches, caches_rights, caches_holes, caches_tables;
	bool caches_by_4k, domain_tags, device_tags;
	bool flush_by_domain, flush_by_address, devtab_keeps;
	bool iotlb_page_flushes, iotlb_range_flushes, all_flushes;
	/* quirks_regs.c: registers, interrupts, the event log */
	bool head_wraps, cmd_run_shown, event_run_shown, ppr_run_shown;
	bool comwait_interrupts, comwait_needs_enable, status_clears;
	bool event_logged, event_address, event_interrupts;
	bool ppr_tail_writable;
};

struct trial;
struct iommu;

struct quirk {
	const char *name, *what; /* the row, and its claim as a sentence    */
	bool specified;          /* the manual requires it; else it is free */
	const char *must;        /* why nothing works without it, or NULL   */
	bool both;               /* it takes two LSIs                       */
	unsigned long offset;    /* in struct iommu_quirks                  */
	bool (*holds)(struct trial *t);
};

/*
 * Measure all rows into *out.  Returns NULL; or, with all rows false, why they
 * could not be measured; *broken says whether that is because the IOMMU does
 * not do what the kernel cannot live without.  In all cases nothing is left:
 * the LSIs are denied, as everybody else is all the time, and idle.
 *
 * Context: a thread, the LSIs and the ring used by nobody else.
 */
const char *quirks_measure(struct iommu *iommu, struct iommu_quirks *out,
			   bool *broken);

/*
 * Measure the machine's IOMMU, and print a summary, or each row.  Returns NULL,
 * or why this machine is of no use.  Boot, once, after devices_init().
 */
must_check const char *quirks_boot(bool each);

/* What quirks_boot() found; all false if it found nothing. */
const struct iommu_quirks *iommu_quirks(void);

/* Why nothing is known, NULL: it is. */
const char *quirks_unknown(void);

/* The nth row, or that of a name; NULL if there is none.  Does it hold? */
const struct quirk *quirk_at(unsigned i);
const struct quirk *quirk_named(const char *name);
bool quirk_holds(const struct iommu_quirks *q, const struct quirk *row);
