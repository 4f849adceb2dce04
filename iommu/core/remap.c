/* SPDX-License-Identifier: MIT */
/*
 * remap.c - tables of interrupts, and the word of the device table that leads
 * there
 *
 *    grant:   entry of the table, then w[2], then flush
 *    revoke:  entry of the table, w[2] if it was the last, flush, free
 *
 * A table has room for every index that a message can name, although its length
 * would stop the others: QEMU does not look at the length (docs/limits.md).
 *
 * Devices with the same alias share a table, as they share a domain: the IOMMU
 * cannot tell their messages apart.
 *
 * Locks: iommu->lock to write, which orders all stores to w[2] of the device
 * table.  The other words of an entry are stored by iommu_set_dte().
 */
#include "iommu/core/remap.h"
#include "iommu/core/iommu.h"
#include "iommu/hw/irte.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/check/check.h"
#include "mm/frame/pmm.h"

#define TABLE_ORDER 1 /* 512 entries of 16 bytes                             */

_Static_assert(REMAP_ENTRIES * sizeof(struct irte_128) ==
		       PAGE_SIZE << TABLE_ORDER,
	       "the table holds all that a message can name");

static uint16_t devid_of(const struct iommu *iommu, const struct irq_grant *g)
{
	return g->source == IRQ_OF_IOAPIC ? iommu->ioapic : (uint16_t)g->source;
}

/* ---- entries of a table ------------------------------------------------ */

/* Store an entry in the layout that the IOMMU reads; w[0] with RemapEn last. */
static void entry_set(const struct iommu *iommu, const struct remap_grant *g)
{
	if (iommu->efr & EFR_GA) {
		struct irte_128 *at = page_va(g->table);
		struct irte_128 e = irte_128_fixed(g->vector, g->lapic_id);

		WRITE_ONCE(at[g->vector].w[1], e.w[1]);
		__atomic_store_n(&at[g->vector].w[0], e.w[0], __ATOMIC_RELEASE);
	} else {
		struct irte_32 *at = page_va(g->table);

		WRITE_ONCE(at[g->vector].w,
			   irte_32_fixed(g->vector, g->lapic_id).w);
	}
}

/* Clear an entry; w[0] with RemapEn first. */
static void entry_clear(const struct iommu *iommu, const struct remap_grant *g)
{
	if (iommu->efr & EFR_GA) {
		struct irte_128 *at = page_va(g->table);

		__atomic_store_n(&at[g->vector].w[0], 0, __ATOMIC_RELEASE);
		WRITE_ONCE(at[g->vector].w[1], 0);
	} else {
		struct irte_32 *at = page_va(g->table);

		WRITE_ONCE(at[g->vector].w, 0);
	}
}

/* ---- the word of the device table -------------------------------------- */

uint64_t remap_word(const struct iommu *iommu, uint16_t devid)
{
	require(rw_held((struct rwsem *)&iommu->lock));
	if (!iommu->remaps)
		return 0;
	for (unsigned i = 0; i < IRQ_GRANTS; i++) {
		const struct remap_grant *g = &iommu->grants[i];

		if (g->table && (g->devid == devid || g->owner == devid))
			return dte_remap_interrupts(page_pa(g->table),
						    REMAP_BITS);
	}
	return dte_no_interrupts();
}

static void word_store(struct iommu *iommu, uint16_t devid)
{
	__atomic_store_n(&iommu->table[devid].w[2], remap_word(iommu, devid),
			 __ATOMIC_RELEASE);
}

/*
 * Flush the entries of the device, of its owner, and of all devices that share the
 * owner's table: the IOMMU may cache an entry under each of these numbers.  The
 * device table entries first: a cached one could lead to the table again.
 * Context: iommu->lock held to write.
 */
static int grant_flush(struct iommu *iommu, const struct remap_grant *g)
{
	struct command c[4 + IRQ_GRANTS] = {
		command_invalidate_devtab_entry(g->devid),
		command_invalidate_devtab_entry(g->owner),
		command_invalidate_interrupt_table(g->devid),
		command_invalidate_interrupt_table(g->owner),
	};
	unsigned n = 4;

	require(rw_held_write(&iommu->lock));
	for (unsigned i = 0; i < IRQ_GRANTS; i++) {
		const struct remap_grant *of = &iommu->grants[i];

		if (of->table && of->owner == g->owner &&
		    of->devid != g->devid && of->devid != g->owner)
			c[n++] = command_invalidate_interrupt_table(of->devid);
	}
	return queue_run(&iommu->queue, c, n);
}

/* ---- grants ------------------------------------------------------------ */

static struct remap_grant *find(struct iommu *iommu, uint16_t devid,
				unsigned vector)
{
	for (unsigned i = 0; i < IRQ_GRANTS; i++) {
		struct remap_grant *g = &iommu->grants[i];

		if (g->table && g->devid == devid && g->vector == vector)
			return g;
	}
	return NULL;
}

static bool is_owners(const struct iommu *iommu, uint16_t owner, unsigned index)
{
	for (unsigned i = 0; i < IRQ_GRANTS; i++)
		if (iommu->grants[i].table && iommu->grants[i].owner == owner &&
		    iommu->grants[i].vector == index)
			return true;
	return false;
}

/* Find the table for messages that bear this number; NULL: none yet. */
static struct page *table_of(const struct iommu *iommu, uint16_t owner)
{
	for (unsigned i = 0; i < IRQ_GRANTS; i++)
		if (iommu->grants[i].table && iommu->grants[i].owner == owner)
			return iommu->grants[i].table;
	return NULL;
}

static struct page *table_alloc(void)
{
	struct page *table = pages_alloc(TABLE_ORDER);

	if (!table)
		return NULL;
	page_set_kind_block(table, PAGE_IOMMU);
	memset(page_va(table), 0, PAGE_SIZE << TABLE_ORDER);
	return table;
}

/* Store a grant in memory, without a flush.  -ENOMEM, -EBUSY.
 * Context: iommu->lock held to write. */
static int grant_store(struct iommu *iommu, const struct irq_grant *grant,
		       struct remap_grant **out)
{
	uint16_t devid = devid_of(iommu, grant);
	uint16_t owner = iommu_alias(iommu, devid);
	struct remap_grant *g = iommu->grants;

	require(rw_held_write(&iommu->lock));
	assert(grant->vector < REMAP_ENTRIES);
	if (is_owners(iommu, owner, grant->vector))
		return err(EBUSY);
	while (g < iommu->grants + IRQ_GRANTS && g->table)
		g++;
	if (g == iommu->grants + IRQ_GRANTS)
		return err(ENOMEM);
	*g = (struct remap_grant){ devid, owner, grant->vector, grant->lapic_id,
				   table_of(iommu, owner) };
	if (!g->table)
		g->table = table_alloc();
	if (!g->table)
		return err(ENOMEM);
	entry_set(iommu, g);
	word_store(iommu, devid);
	word_store(iommu, owner);
	*out = g;
	return 0;
}

/*
 * Take a grant out of memory and flush it.  Its table, if that was the last grant,
 * is freed after the IOMMU has answered.  Context: iommu->lock held to write.
 */
static int grant_drop(struct iommu *iommu, struct remap_grant *at)
{
	struct remap_grant g = *at;
	int error;

	require(rw_held_write(&iommu->lock));
	entry_clear(iommu, &g);
	at->table = NULL;
	word_store(iommu, g.devid);
	word_store(iommu, g.owner);
	error = grant_flush(iommu, &g);
	if (!error && !table_of(iommu, g.owner))
		page_put(g.table);
	return error;
}

int iommu_grant(struct iommu *iommu, const struct irq_grant *grant)
{
	struct remap_grant *g;
	int error;

	require(may_sleep() && locks_below(RANK_IOMMU));
	if (!iommu->remaps)
		return 0;
	rw_write_lock(&iommu->lock);
	error = grant_store(iommu, grant, &g);
	if (!error) {
		error = grant_flush(iommu, g);
		PROBE(irq_granted, g->devid, g->vector);
		if (error && grant_drop(iommu, g))
			PROBE(irq_table_lost, g->devid, 0);
	}
	rw_write_unlock(&iommu->lock);
	return error;
}

int iommu_revoke(struct iommu *iommu, const struct irq_grant *grant)
{
	struct remap_grant *g;
	int error;

	require(may_sleep() && locks_below(RANK_IOMMU));
	if (!iommu->remaps)
		return 0;
	rw_write_lock(&iommu->lock);
	g = find(iommu, devid_of(iommu, grant), grant->vector);
	error = g ? grant_drop(iommu, g) : err(ENOENT);
	rw_write_unlock(&iommu->lock);
	return error;
}

/* ---- life -------------------------------------------------------------- */

int remap_start(struct iommu *iommu, const struct irq_grant *grants, unsigned n)
{
	struct remap_grant *g;
	int error = 0;

	require(may_sleep());
	rw_write_lock(&iommu->lock);
	for (unsigned i = 0; iommu->remaps && i < n && !error; i++)
		if (grants[i].vector)
			error = grant_store(iommu, &grants[i], &g);
	rw_write_unlock(&iommu->lock);
	return error;
}

void remap_stop(struct iommu *iommu)
{
	for (unsigned i = 0; i < IRQ_GRANTS; i++) {
		struct page *table = iommu->grants[i].table;

		iommu->grants[i].table = NULL;
		if (table && !table_of(iommu, iommu->grants[i].owner))
			page_put(table);
	}
}

/* ---- checker ----------------------------------------------------------- */

/* Read an entry, in the layout of 128 bits. */
static struct irte_128 entry_at(const struct iommu *iommu,
				const struct page *table, unsigned i)
{
	if (iommu->efr & EFR_GA)
		return ((const struct irte_128 *)page_va(table))[i];
	return (struct irte_128){
		{ ((const struct irte_32 *)page_va(table))[i].w, 0 }
	};
}

/* True if a grant of the table's owner says exactly this entry. */
static bool is_granted(const struct iommu *iommu, uint16_t owner, unsigned i,
		       struct irte_128 is)
{
	for (unsigned n = 0; n < IRQ_GRANTS; n++) {
		const struct remap_grant *g = &iommu->grants[n];
		struct irte_128 want = { { 0, 0 } };

		if (!g->table || g->owner != owner || g->vector != i)
			continue;
		if (iommu->efr & EFR_GA)
			want = irte_128_fixed(g->vector, g->lapic_id);
		else
			want.w[0] = irte_32_fixed(g->vector, g->lapic_id).w;
		return is.w[0] == want.w[0] && is.w[1] == want.w[1];
	}
	return false;
}

const char *remap_check(const struct iommu *iommu, const struct remap_grant *g)
{
	require(rw_held((struct rwsem *)&iommu->lock));
	for (unsigned i = 0; i < REMAP_ENTRIES; i++) {
		struct irte_128 e = entry_at(iommu, g->table, i);

		if ((e.w[0] | e.w[1]) && !is_granted(iommu, g->owner, i, e))
			return check_message("device %x: interrupt %x was not "
					     "granted so",
					     g->owner, i);
	}
	for (unsigned n = 0; n < IRQ_GRANTS; n++) {
		const struct remap_grant *of = &iommu->grants[n];

		if (of->table == g->table &&
		    !entry_at(iommu, g->table, of->vector).w[0])
			return check_message(
				"device %x: interrupt %x is granted "
				"and refused",
				g->owner, of->vector);
	}
	return NULL;
}
