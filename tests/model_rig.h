/* SPDX-License-Identifier: MIT */
/*
 * model_rig.h - a strict IOMMU with rings, tables and devices, for its tests
 *
 * The smallest thing that can drive the model: no locks, one thread, tables
 * built by hand.  Devices 0..127 have a DTE; the words of data pages say which
 * page they are, so that a transfer tells where it ended up.
 */
#pragma once

#include "iommu/command.h"
#include "iommu/dte.h"
#include "iommu/log.h"
#include "iommu/regs.h"
#include "mm/page.h"
#include "tests/model.h"
#include "tests/test.h"

#define RIG_PAGES 128u
#define RIG_SLOTS 256u /* entries of each ring                             */

/* What a device reads where it may not. */
#define NOTHING UINT64_C(0xbadbadbadbadbad)

struct rig {
	struct model *m;
	struct iommu_port port;
	pa_t device_table, commands, events, requests, word;
	uint64_t tail, waits;
	struct page *pages[RIG_PAGES];
	unsigned n;
	bool complaints_expected;
	uint64_t interrupts; /* status bits that came, or-ed              */
	unsigned interrupt_count;
	struct rig_answer {
		uint16_t devid, tag;
		unsigned status, count;
	} answer;
};

/*
 * A running model: rings of 256, device table of 128 entries that deny all,
 * everything enabled.  config may be NULL: MODEL_IMMEDIATE.  Ends the test when
 * there is no memory.
 */
void rig_open(struct rig *r, const struct model_config *config);

/* CONTROL as rig_open() leaves it; without page requests if there are none. */
#define RIG_ON                                                          \
	(CONTROL_IOMMU_EN | CONTROL_CMD_BUF_EN | CONTROL_EVENT_LOG_EN | \
	 CONTROL_EVENT_INT_EN | CONTROL_COMWAIT_INT | CONTROL_PPR_EN |  \
	 CONTROL_PPR_LOG_EN | CONTROL_PPR_INT_EN)
void rig_control(struct rig *r, uint64_t control);

/* Everything away; complaints fail the test unless they were expected. */
void rig_close(struct rig *r);

/* A zeroed page, given back by rig_close(). */
pa_t rig_page(struct rig *r);
/* One whose every word is 8 * i + its own address. */
pa_t rig_data(struct rig *r);

static inline uint64_t *rig_word(pa_t pa)
{
	return phys_to_virt(pa);
}

/* ---- tables ------------------------------------------------------------ */

#define RIG_R    BIT(61)
#define RIG_W    BIT(62)
#define RIG_RW   (RIG_R | RIG_W)
#define NEXT(n)  ((uint64_t)(n) << 9)
#define PRESENT  BIT(0)
#define LEVELS   4u
#define RIG_IOVA UINT64_C(0x4000000000) /* its own entry in every table     */

struct dte *rig_dte(struct rig *r, uint16_t devid);

/* An empty tree of 4 levels behind the device, in this domain. */
pa_t rig_attach(struct rig *r, uint16_t devid, uint16_t domain);

/* The entry for iova at `level` (1: leaves), tables above it made as needed. */
uint64_t *rig_slot(struct rig *r, pa_t root, iova_t iova, unsigned level);

/* A leaf of 4 KiB. */
void rig_map(struct rig *r, pa_t root, iova_t iova, pa_t pa, uint64_t rights);

/* ---- commands ---------------------------------------------------------- */

/* Queue it and ring the doorbell. */
void rig_send(struct rig *r, struct command c);
/* COMPLETION_WAIT; reads REG_STATUS until the word is there. */
void rig_sync(struct rig *r);
/* The same without waiting; the word will be *word. */
uint64_t rig_send_wait(struct rig *r);
bool rig_done(struct rig *r, uint64_t ticket);

/* Drop the pages [iova, iova + len) of the domain, and wait. */
void rig_flush(struct rig *r, uint16_t domain, iova_t iova, uint64_t len,
	       bool tables);

/* ---- devices ----------------------------------------------------------- */

/* 8 bytes at iova, or NOTHING. */
uint64_t rig_read(struct rig *r, uint16_t devid, iova_t iova);
bool rig_write(struct rig *r, uint16_t devid, iova_t iova, uint64_t v);

/* Events logged and not yet taken; takes the oldest, zero its slot. */
unsigned rig_events(struct rig *r);
struct log_entry rig_event(struct rig *r);

/* Events without their device, domain and address. */
#define TYPE(t)  ((uint64_t)(t) << 60)
#define ABSENT   TYPE(IO_PAGE_FAULT)
#define DENIED   (TYPE(IO_PAGE_FAULT) | EVENT0_PR | EVENT0_PE)
#define RESERVED (TYPE(IO_PAGE_FAULT) | EVENT0_PR | EVENT0_RZ)

/* Forget everything cached; then what does a read log? 0: nothing. */
void rig_forget(struct rig *r);
uint64_t rig_event_of_read(struct rig *r, uint16_t devid, iova_t iova);

struct model_stats rig_stats(struct rig *r);
