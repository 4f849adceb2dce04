/* SPDX-License-Identifier: MIT */
/*
 * quirks_trial.h - two LSIs, two trees, eight pages: what a row works with
 *
 *   device's address   near tree        far tree         untranslated
 *   PLACE              page A           page B           page PLACE
 *   PLACE + 4 KiB      page A2          page B2          page PLACE2
 *   SINK, SOURCE       themselves       themselves       themselves
 *
 * So one read shows which tree translated it.  Both LSIs are attached to the near
 * tree.  A row changes entries by trial_poke() and trial_poke_dte(); trial_reset()
 * restores and flushes all of them before the next row.
 *
 * Only here does the kernel use encodings that the manual forbids or that let a
 * device pass.  Memory is safe meanwhile: the LSIs run programs of this file only,
 * and those name the pages above only.
 */
#pragma once

#include <stddef.h>
#include "iommu/core/domain.h"
#include "iommu/quirks/quirks.h"

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
	NOWHERE,             /* it wrote none of the pages                    */
};

/* Of one thread at a time, but for events. */
struct trial {
	struct iommu *iommu;
	const struct quirk_devices *devices;
	struct domain *near, *far;
	struct dte base[QUIRK_DEVICES]; /* what the chips' entries say    */
	bool denied_first; /* the chips reached nothing before attach    */
	bool lost;         /* the IOMMU did not answer                    */
	unsigned transfers;
	uint16_t bad_ids; /* of wide_ids                         */
	struct {
		uint64_t *slot, was;
	} pokes[8];
	unsigned n_pokes;
	struct log_entry event; /* the first one since events was 0    */
	_Atomic unsigned events;
};

/* An address range with a directory and a leaf table of its own: the near tree
 * maps only page A there, at WINDOW + 2 MiB. */
#define WINDOW (UINT64_C(1) << 30)

/* Set up domains and pages.  Returns NULL, or a message with nothing left.
 * Context, of all functions here: may sleep; one thread, which has the LSIs. */
const char *trial_open(struct trial *t, struct iommu *iommu,
		       const struct quirk_devices *devices);

/* Return the number that a chip's requests bear. */
uint16_t trial_devid(const struct trial *t, unsigned chip);

/* Deny the LSIs again and free the domains.  Returns NULL or a message. */
const char *trial_close(struct trial *t);

/* Undo all pokes and flush everything. */
void trial_reset(struct trial *t);

/* Return the device's address of a page, which equals the address of its frame. */
iova_t trial_bus(enum trial_page page);

/* Have a chip read at iova; returns the page that was read, or NOWHERE. */
enum trial_page trial_read(struct trial *t, unsigned chip, iova_t iova);

/* Have a chip write at iova; returns the page that changed, and restores it. */
enum trial_page trial_write(struct trial *t, unsigned chip, iova_t iova);

/* Have the first chip write 4 bytes, a message, to an address. */
void trial_message(struct trial *t, iova_t address, uint32_t data);

/* True if the IOMMU has written to the page; restores it. */
bool trial_take(enum trial_page page);

/* Have the first chip read PLACE. */
static inline enum trial_page trial_look(struct trial *t)
{
	return trial_read(t, 0, trial_bus(PLACE));
}

/* Find the entry for iova at a level, to which the tree reaches. */
uint64_t *trial_slot(struct domain *tree, iova_t iova, unsigned level);

/* Store a value into an entry, without a flush.  At most 8 in a row. */
void trial_poke(struct trial *t, uint64_t *slot, uint64_t value);
void trial_poke_dte(struct trial *t, unsigned chip, struct dte dte);

/* Make a leaf for a page, with rights. */
uint64_t trial_leaf(enum trial_page page, enum prot prot);

/* Run one command and wait for it. */
void trial_command(struct trial *t, struct command command);

/* Flush everything that is cached of both trees and of the chips' entries. */
void trial_flush(struct trial *t);

/* Count the interrupts of the IOMMU that come while fn runs. */
unsigned trial_interrupts(struct trial *t, void (*fn)(struct trial *t));

/* For the tables of rows, which end with a row without a name. */
#define QUIRK(name_, specified_, what_)                         \
	.name = #name_, .what = what_, .specified = specified_, \
	.offset = offsetof(struct iommu_quirks, name_), .holds = name_

extern const struct quirk quirks_tables[], quirks_dte[], quirks_cache[],
	quirks_irq[], quirks_regs[];
