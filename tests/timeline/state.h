/* SPDX-License-Identifier: MIT */
/*
 * state.h - what tables, caches and frames hold after a step of a timeline
 *
 * With `explain=json` each probe that is a step takes a snapshot: what the CPU's
 * table, a guest's nested table, each device's table and the IOMMU's caches lead to
 * for each named page of addresses (explain.h), and what the frames found hold.  A
 * probe that stands before its effect is taken again at a later probe of its thread
 * (state_step(), until).
 *
 * Snapshots take no lock of what they read: tables are walked by physical address,
 * and each page on the way must be a page table.  A table that another CPU changes
 * meanwhile is seen before or after its store.
 */
#pragma once

#include <stdbool.h>
#include "kernel/probe.h"
#include "arch/types.h"

enum holder {
	HOLDER_CPU,        /* id: struct mm                                 */
	HOLDER_NESTED,     /* id: the guest's number                        */
	HOLDER_DEVICE,     /* the table that the DTE leads to; id: devid    */
	HOLDER_IOTLB,      /* id: domain                                    */
	HOLDER_DEVICE_TLB, /* id: devid                                     */
};

/* One translation of a named page. */
struct state_cell {
	enum holder holder;
	uint64_t id;
	va_t address;
	pa_t frame;
	uint8_t prot; /* PROT_R, PROT_W                                     */
};

struct state_frame {
	pa_t frame;
	uint32_t refs, kind; /* kind: enum page_kind                        */
	uint64_t word;       /* the first of the frame                      */
};

#define STATE_CELLS  24
#define STATE_FRAMES 12

/* What does not fit is left out, and counted. */
struct state {
	unsigned n_cells, n_frames, left_out;
	struct state_cell cells[STATE_CELLS];
	struct state_frame frames[STATE_FRAMES];
};

/* Drop all snapshots and sources. */
void state_reset(void);
/* Drop all snapshots. */
void state_begin(void);

/* ---- sources ------------------------------------------------------------ */

/* The table of x86-64's format with this root, a physical address, is the CPU's for
 * an mm, or a guest's nested table; from now on until the root is freed. */
void state_root(enum holder holder, uint64_t id, pa_t root);
/* Forget all but those of mms that still have a name: a scenario is run again. */
void state_forget_roots(void);

/* Add a translation to a snapshot: [iova, iova + 2^shift) leads to pa.  Called by
 * the function given to state_iommu(). */
typedef void state_cached_fn(enum holder holder, uint64_t id, iova_t iova,
			     unsigned shift, pa_t pa, uint8_t prot, void *arg);

/* Read device tables of this IOMMU, and its caches by calling caches(add, arg).
 * exact: they are what is cached, else what may be.  iommu NULL: no IOMMU.
 * caches() is called at any probe, with interrupts off. */
struct iommu;
void state_iommu(const struct iommu *iommu,
		 void (*caches)(state_cached_fn *add, void *arg), bool exact);
/* Return "exact", "may", or "none" without an IOMMU. */
const char *state_caches(void);

/* ---- snapshots ---------------------------------------------------------- */

/* Take a snapshot for this hit, and take it again at the thread's next hit of the
 * probe until: NULL: never; "": of any probe. */
void state_step(const struct probe_hit *hit, const char *until);

/* A hit of any probe: take again what is due.  Context: any but an interrupt. */
void state_hit(const struct probe_hit *hit);

/* Return the snapshot of a hit, or NULL. */
const struct state *state_of(const struct probe_hit *hit);

/* Take a snapshot now. */
void state_now(struct state *s);
