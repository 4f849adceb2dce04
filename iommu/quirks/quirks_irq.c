/* SPDX-License-Identifier: MIT */
/*
 * quirks_irq.c - which entries let a message pass, and what becomes of it
 *
 * 48882, section 2.2.5.  The message is a write of the first LSI to FEEx_xxxxh.
 * Its vector is the IOMMU's own, so its arrival does no more than wake the log's
 * thread, which is counted.  The LSI and the IOAPIC are granted that vector while
 * a row runs; their entries lead to the tables that say so, or abort, and let
 * nothing else pass at any moment.
 */
#include "arch/cpu.h"
#include "iommu/hw/irte.h"
#include "iommu/quirks/quirks_trial.h"

#define MESSAGE UINT64_C(0xfee00000)
#define TO(id)  (MESSAGE | (uint64_t)(id) << 12)
#define NO_APIC 0xfeu /* a destination that no local APIC has              */
#define ABORTS  dte_no_interrupts()

static struct {
	uint32_t lapic; /* the destination in the message                    */
	uint64_t own, ioapic; /* words that let the vector pass              */
} m;

static void send(struct trial *t)
{
	trial_message(t, TO(m.lapic), iommu_machine_vector());
}

static uint16_t chip(const struct trial *t)
{
	return trial_devid(t, 0);
}

static void set_word(struct trial *t, uint16_t devid, uint64_t word)
{
	struct iommu *iommu = t->iommu;

	rw_write_lock(&iommu->lock);
	WRITE_ONCE(iommu->table[devid].w[2], word);
	rw_write_unlock(&iommu->lock);
	trial_command(t, command_invalidate_devtab_entry(devid));
	trial_command(t, command_invalidate_interrupt_table(devid));
}

/* Return how many messages of the chip arrive while the entries say this. */
static unsigned arrive(struct trial *t, uint64_t own, uint64_t ioapic,
		       void (*fn)(struct trial *t))
{
	unsigned n;

	set_word(t, chip(t), own);
	set_word(t, t->iommu->ioapic, ioapic);
	n = trial_interrupts(t, fn);
	set_word(t, chip(t), m.own);
	set_word(t, t->iommu->ioapic, m.ioapic);
	return n;
}

/* Call `ask` while both are granted the vector.  Context: may sleep. */
static bool granted(struct trial *t, bool (*ask)(struct trial *t))
{
	struct irq_grant g[] = {
		{ chip(t), iommu_machine_vector(), cpus[0].lapic_id },
		{ IRQ_OF_IOAPIC, iommu_machine_vector(), cpus[0].lapic_id },
	};
	bool holds = false;

	require(may_sleep());
	if (iommu_grant(t->iommu, &g[0]))
		return false;
	m.lapic = g[0].lapic_id;
	if (!iommu_grant(t->iommu, &g[1])) {
		rw_read_lock(&t->iommu->lock);
		m.own = remap_word(t->iommu, chip(t));
		m.ioapic = remap_word(t->iommu, t->iommu->ioapic);
		rw_read_unlock(&t->iommu->lock);
		holds = ask(t);
		t->lost |= iommu_revoke(t->iommu, &g[1]) != 0;
	}
	t->lost |= iommu_revoke(t->iommu, &g[0]) != 0;
	return holds;
}

/* ---- rows -------------------------------------------------------------- */

static bool stops(struct trial *t)
{
	return arrive(t, m.own, m.ioapic, send) == 1 &&
	       arrive(t, ABORTS, ABORTS, send) == 0;
}

static bool iv_stops(struct trial *t)
{
	return granted(t, stops);
}

static bool by_own(struct trial *t)
{
	return arrive(t, m.own, ABORTS, send) == 1 &&
	       arrive(t, ABORTS, m.ioapic, send) == 0;
}

static bool write_by_own_entry(struct trial *t)
{
	return granted(t, by_own);
}

/* The message names no CPU that exists; the entry of the table does. */
static bool remaps(struct trial *t)
{
	m.lapic = NO_APIC;
	return arrive(t, m.own, m.ioapic, send) == 1;
}

static bool irte_remaps(struct trial *t)
{
	return granted(t, remaps);
}

/* The same tables, said to have one entry. */
static bool ends(struct trial *t)
{
	return arrive(t, m.own, m.ioapic, send) == 1 &&
	       arrive(t, m.own & ~DTE2_LENGTH, m.ioapic & ~DTE2_LENGTH, send) ==
		       0;
}

static bool irte_length_counts(struct trial *t)
{
	return granted(t, ends);
}

/* Clear RemapEn after the IOMMU may have read the entries, and set it again. */
static void send_and_change(struct trial *t)
{
	unsigned at = iommu_machine_vector();
	uint32_t *own = phys_to_virt(m.own & DTE2_ROOT), was;
	uint32_t *ioapic = phys_to_virt(m.ioapic & DTE2_ROOT);

	at *= t->iommu->efr & EFR_GA ? 4 : 1;
	was = own[at];
	send(t);
	WRITE_ONCE(own[at], was & ~(uint32_t)IRTE_REMAP_EN);
	WRITE_ONCE(ioapic[at], was & ~(uint32_t)IRTE_REMAP_EN);
	send(t);
	WRITE_ONCE(own[at], was);
	WRITE_ONCE(ioapic[at], was);
}

static bool keeps(struct trial *t)
{
	return arrive(t, m.own, m.ioapic, send_and_change) == 2;
}

static bool irte_cached(struct trial *t)
{
	return granted(t, keeps);
}

const struct quirk quirks_irq[] = {
	{ QUIRK(iv_stops, true,
		"IV = 1 with IntCtl 00b stops a device's message"),
	  .irqs = true },
	{ QUIRK(write_by_own_entry, true,
		"a message that a device writes by DMA is judged by its own "
		"entry"),
	  .irqs = true },
	{ QUIRK(irte_remaps, true,
		"with IntCtl 10b a message becomes what its table says"),
	  .irqs = true },
	{ QUIRK(irte_length_counts, true,
		"a message beyond the table's length is refused"),
	  .irqs = true },
	{ QUIRK(irte_cached, false,
		"a changed entry of that table is not seen until "
		"INVALIDATE_INTERRUPT_TABLE"),
	  .irqs = true },
	{ 0 },
};
