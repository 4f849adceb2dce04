/* SPDX-License-Identifier: MIT */
/*
 * remap.h - which interrupts of a device arrive
 *
 *   message          FEEx_xxxxh, data ──► the requester's entry of the device
 *                                         table, w[2]: abort, or a table
 *   table            512 entries, index = bits 10:0 of data = the vector
 *   its entry        vector, local APIC; all others: RemapEn = 0
 *
 * A device that was granted nothing has no table: all its interrupts are
 * aborted.  A device that was granted a vector has a table with one entry for it.
 * Whatever message it writes, the entry decides: that vector arrives at that CPU,
 * or nothing does.
 *
 * The index is the vector.  So a device is programmed alike with and without an
 * IOMMU, and the end of a level-triggered interrupt is found by its vector.
 * 48882, section 2.2.5; Linux: drivers/iommu/amd/iommu.c, irq_remapping.
 */
#pragma once

#include "arch/compiler.h"
#include "arch/types.h"
#include "drivers/irq_grant.h"

/* All that fixed (000b) and arbitrated (001b) messages can name by 10:0. */
#define REMAP_BITS    9u
#define REMAP_ENTRIES (1u << REMAP_BITS)

struct iommu;
struct page;

/* One vector of one device. */
struct remap_grant {
	uint16_t devid, owner; /* owner: the number its messages bear        */
	unsigned vector;
	uint32_t lapic_id;
	struct page *table; /* the owner's; NULL: no grant                   */
};

/*
 * Let the source raise the vector at that local APIC, under its own number and
 * under its alias.  Returns 0, or with nothing granted: -ENOMEM, -EBUSY if the
 * vector is granted already.  -ETIMEDOUT if the IOMMU does not answer: the tables
 * in memory grant nothing, but entries that the IOMMU has read meanwhile count
 * until they are flushed.
 * Context: may sleep; takes iommu->lock.
 */
must_check int iommu_grant(struct iommu *iommu, const struct irq_grant *grant);

/*
 * Take a grant back.  After 0 no message of the source that is sent later arrives.
 * -ENOENT if it was not granted; -ETIMEDOUT: the messages may still arrive, and
 * the table is kept for ever.  Context as above.
 */
must_check int iommu_revoke(struct iommu *iommu, const struct irq_grant *grant);

/* ---- for iommu.c, and for the checker ---------------------------------- */

/*
 * Put grants into the tables of an IOMMU that is still off: no command.  Returns
 * 0 or -ENOMEM; then remap_stop() frees what was taken.  Context: may sleep.
 */
must_check int remap_start(struct iommu *iommu, const struct irq_grant *grants,
			   unsigned n);

/* Free the tables of an IOMMU that is off.  Context: iommu_stop()'s. */
void remap_stop(struct iommu *iommu);

/* Make w[2] of a device's entry.  Context: iommu->lock held. */
uint64_t remap_word(const struct iommu *iommu, uint16_t devid);

/*
 * Check that the table of one grant has the entries of its owner's grants and no
 * other.  Returns NULL or a message.  Context as above.
 */
const char *remap_check(const struct iommu *iommu,
			const struct remap_grant *grant);
