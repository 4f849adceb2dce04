/* SPDX-License-Identifier: MIT */
/*
 * quirks_trial.h - two LSIs, two trees, eight pages: what a row works with
 *
 *   device's address   near tree        far tree         untranslated
 *   PLACE              page A           page B           page PLACE
 *   PLACE + 4 KiB      page A2          page B2          page PLACE2
 *   SINK, SOURCE       themselves       themselves       themselves
 *
 * So one read tells who translated it.  Both LSIs see the near tree.  A row
 * spoils whatever it likes by trial_poke() and trial_poke_dte(); before the next one
 * everything is as it was, and nothing is cached.
 *
 * These are the only encodings in the kernel that the manual forbids or that
 * let a device pass.  Memory is safe meanwhile: the LSIs run our programs only,
 * and those name our pages only.
 */
#pragma once

#include <stddef.h>
#include "drivers/lsi.h"
#include "iommu/domain.h"
#include "iommu/quirks.h"

enum trial_page {
	PLACE,
	PLACE2,
	A,
	A2,
	B,
	B2,
	SINK,
	SOURCE,
	TRIAL_PAGES,
	/* Also what a transfer can show: */
	ZEROS = TRIAL_PAGES, /* the device read zeros                         */
	NOWHERE,             /* it wrote nothing that we know of              */
};

struct trial {
	struct iommu *iommu;
	struct lsi *chips[LSI_MAX];
	unsigned n_chips;
	struct domain *near, *far;
	struct dte base[LSI_MAX]; /* what the chips' entries say          */
	bool lost;                /* the IOMMU did not answer             */
	unsigned transfers;
	uint16_t bad_ids; /* of wide_ids                         */
	struct {
		uint64_t *slot, was;
	} pokes[8];
	unsigned n_pokes;
	struct log_entry event; /* the first one since events was 0    */
	_Atomic unsigned events;
};

/* Where another leaf table and another directory are: nothing is mapped here
 * but page A, at 2 MiB, by the near tree. */
#define WINDOW (UINT64_C(1) << 30)

/* Set it up.  NULL, or why not, with nothing left. */
const char *trial_open(struct trial *t, struct iommu *iommu);

/* As it was before: everybody denied.  NULL, or what is wrong. */
const char *trial_close(struct trial *t);

/* Undo all pokes and forget everything. */
void trial_renew(struct trial *t);

/* A device's address of a page, and a page's frame: the same number. */
iova_t trial_bus(enum trial_page page);

/* Have a chip read at iova: whose bytes came?  Nothing: NOWHERE. */
enum trial_page trial_read(struct trial *t, unsigned chip, iova_t iova);

/* Have a chip write at iova: whose bytes changed?  They are put back. */
enum trial_page trial_write(struct trial *t, unsigned chip, iova_t iova);

/* The usual: the first chip reads PLACE. */
static inline enum trial_page trial_look(struct trial *t)
{
	return trial_read(t, 0, trial_bus(PLACE));
}

/* The entry for iova at a level; the tree reaches down to there. */
uint64_t *trial_slot(struct domain *tree, iova_t iova, unsigned level);

/* Store something into an entry, with no flush.  At most 8 a row. */
void trial_poke(struct trial *t, uint64_t *slot, uint64_t value);
void trial_poke_dte(struct trial *t, unsigned chip, struct dte dte);

/* A leaf for a page, with rights. */
uint64_t trial_leaf(enum trial_page page, enum prot prot);

/* One command, done. */
void trial_command(struct trial *t, struct command command);

/* Everything that is cached of both trees and of the chips' entries. */
void trial_forget(struct trial *t);

/* The interrupts of the IOMMU that came while fn ran. */
unsigned trial_interrupts(struct trial *t, void (*fn)(struct trial *t));

/* For the tables of rows, which end with a row without a name. */
#define QUIRK(name_, specified_, what_)                         \
	.name = #name_, .what = what_, .specified = specified_, \
	.offset = offsetof(struct iommu_quirks, name_), .holds = name_

extern const struct quirk quirks_tables[], quirks_dte[], quirks_cache[],
	quirks_regs[];
