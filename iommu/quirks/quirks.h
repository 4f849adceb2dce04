/* SPDX-License-Identifier: MIT */
/*
 * quirks.h - what the machine's IOMMU really does, measured at boot
 *
 * QEMU's AMD-Vi departs from the manual (48882), differently in each version.
 * Before the first test the LSIs do a few dozen transfers through tables built
 * for the purpose, and each row below is a claim that held or did not.
 * docs/limits.md is made of them; a test that needs one says NEED_QUIRK(row).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "arch/compiler.h"
#include "arch/types.h"

/* Each row's claim is a sentence in the table of the file named above it. */
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
	bool dte_cached, all_takes_entries, wide_ids, ppr_translates;
	/* quirks_cache.c: what is cached, and what flushes it */
	bool flush_works, caches, caches_rights, caches_holes, caches_tables;
	bool caches_by_4k, domain_tags, device_tags;
	bool flush_by_domain, flush_by_address, devtab_keeps;
	bool iotlb_page_flushes, iotlb_range_flushes, all_flushes;
	/* quirks_irq.c: interrupts that devices send */
	bool iv_stops, write_by_own_entry;
	bool irte_remaps, irte_length_counts, irte_cached;
	/* quirks_regs.c: registers, interrupts, the event log */
	bool head_wraps, cmd_run_shown, event_run_shown, ppr_run_shown;
	bool comwait_interrupts, comwait_needs_enable, status_clears;
	bool event_logged, event_address, event_interrupts;
	bool overflow_stops, base_counts_pending;
	bool ppr_tail_writable;
};

struct trial;
struct iommu;
struct dma_engine;

#define QUIRK_DEVICES 2

/* The chips: the machine's LSIs, or devices of a test. */
struct quirk_devices {
	struct dma_engine *at[QUIRK_DEVICES];
	unsigned n;
	bool messages; /* what they send to FEEx_xxxxh reaches a CPU       */
	/*
	 * Move bytes, at most 8.  Only memory shows whether they arrived: bytes
	 * that may not be read are zeros, and nothing moves if the chip cannot
	 * read its own memory.
	 */
	void (*move)(struct dma_engine *e, iova_t dst, iova_t src,
		     unsigned bytes);
};

/* quirks_lsi.c: the LSIs of this machine; n is 0 without one. */
const struct quirk_devices *quirks_lsis(void);

struct quirk {
	const char *name, *what; /* the row, and its claim as a sentence    */
	bool specified;          /* the manual requires it; else it is free */
	const char *must;     /* message if it does not hold and must; NULL */
	const char *needs;    /* a row that must hold first, or NULL     */
	bool both;            /* it needs two chips                      */
	bool irqs;            /* it needs an IOMMU that remaps interrupts */
	unsigned long offset; /* in struct iommu_quirks                  */
	bool (*holds)(struct trial *t);
};

/*
 * Measure all rows into *out.  Returns NULL; or a message with all rows false, if
 * they cannot be measured; *broken is true if the kernel cannot work with this
 * IOMMU.  Afterwards the chips are idle and denied; all other devices are denied
 * all the time.
 * Context: may sleep; no other thread uses the chips or the command ring.
 */
const char *quirks_measure(struct iommu *iommu,
			   const struct quirk_devices *devices,
			   struct iommu_quirks *out, bool *broken);

/*
 * Measure the machine's IOMMU, and print a summary, or each row.  Returns NULL, or
 * a message if the kernel cannot work with it.
 * Context: boot, once, after devices_init().
 */
must_check const char *quirks_boot(bool each);

/* Return what quirks_boot() found; all false if it could not measure. */
const struct iommu_quirks *iommu_quirks(void);

/* Return NULL, or a message why nothing was measured. */
const char *quirks_unknown(void);

/* Find the i-th row, or a row by name; NULL if there is none.  quirk_holds(): true
 * if its claim held. */
const struct quirk *quirk_at(unsigned i);
const struct quirk *quirk_named(const char *name);
bool quirk_holds(const struct iommu_quirks *q, const struct quirk *row);
