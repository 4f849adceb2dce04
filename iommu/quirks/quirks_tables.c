/* SPDX-License-Identifier: MIT */
/*
 * quirks_tables.c - how entries of a page table are read
 *
 * 48882, section 2.2.3.  At WINDOW a directory can be changed without unmapping
 * the chips' programs.
 */
#include "drivers/pci.h"
#include "iommu/quirks/quirks_trial.h"
#include "mm/pt/pt_amdv1.h"

#define CLASS_IOMMU        0x0806
#define PCI_SIGNALED_ABORT BIT(11) /* in PCI_STATUS                      */
#define ACCESSED           BIT(5)
#define DIRTY              BIT(6)
#define BY_ADDRESS         FIELD_PREP(AMDV1_NEXT_LEVEL, 7)

/* An address with a directory of its own; page A is mapped there. */
#define LONELY (WINDOW + pt_span(1))

static uint64_t *leaf_of_place(struct trial *t)
{
	return trial_slot(t->near, trial_bus(PLACE), 0);
}

static void set_leaf(struct trial *t, uint64_t entry)
{
	trial_poke(t, leaf_of_place(t), entry);
	trial_flush(t);
}

static bool blocked(struct trial *t)
{
	return trial_look(t) >= ZEROS &&
	       trial_write(t, 0, trial_bus(PLACE)) == NOWHERE;
}

static bool translates(struct trial *t)
{
	return trial_look(t) == A && trial_write(t, 0, trial_bus(PLACE)) == A;
}

static bool denies(struct trial *t)
{
	for (unsigned i = 0; i < t->devices->n; i++)
		trial_poke_dte(t, i, iommu_deny(t->iommu));
	trial_flush(t);
	return t->denied_first && trial_look(t) == NOWHERE &&
	       trial_write(t, 0, trial_bus(PLACE)) == NOWHERE;
}

static bool leaf_rights_count(struct trial *t)
{
	set_leaf(t, trial_leaf(A, PROT_R));
	return trial_write(t, 0, trial_bus(PLACE)) == NOWHERE;
}

static bool upper_rights_count(struct trial *t)
{
	uint64_t *slot = trial_slot(t->near, LONELY, 1);

	trial_poke(t, slot, pte_read(slot) & ~AMDV1_IW);
	trial_flush(t);
	return trial_write(t, 0, LONELY) == NOWHERE;
}

static bool pr_counts(struct trial *t)
{
	set_leaf(t, trial_leaf(A, PROT_R | PROT_W) & ~AMDV1_PR);
	return blocked(t);
}

static bool marker_blocks(struct trial *t)
{
	set_leaf(t, FIELD_PREP(AMDV1_NEXT_LEVEL, 1));
	return blocked(t);
}

static struct pci_dev *iommu_function(void)
{
	struct pci_dev *dev;

	for (unsigned i = 0; (dev = pci_at(i)); i++)
		if (dev->class >> 8 == CLASS_IOMMU)
			return dev;
	return NULL;
}

static bool marker_signed(struct trial *t)
{
	struct pci_dev *dev = iommu_function();
	bool sign;

	if (!dev)
		return false;
	set_leaf(t, FIELD_PREP(AMDV1_NEXT_LEVEL, 1));
	pci_write(dev, PCI_STATUS, 2, PCI_SIGNALED_ABORT);
	trial_look(t);
	sign = pci_read(dev, PCI_STATUS, 2) & PCI_SIGNALED_ABORT;
	pci_write(dev, PCI_STATUS, 2, PCI_SIGNALED_ABORT);
	return sign;
}

/*
 * The directory leads to a table of its own level.  A walker that follows it uses
 * the same bits of the address again, and finds a leaf of 2 MiB there.
 */
static bool levels_checked(struct trial *t)
{
	uint64_t inside = trial_bus(A) & (pt_span(1) - 1);
	iova_t again = LONELY + pt_index(LONELY, 1) * PAGE_SIZE;
	uint64_t *slot = trial_slot(t->near, LONELY, 1);
	uint64_t *leaf = trial_slot(t->near, again, 0);

	trial_poke(t, slot,
		   (pte_read(slot) & ~AMDV1_NEXT_LEVEL) |
			   FIELD_PREP(AMDV1_NEXT_LEVEL, 2));
	trial_poke(t, leaf, pt_amdv1.leaf(trial_bus(A) - inside, PROT_R, 1));
	trial_flush(t);
	return trial_read(t, 0, LONELY + inside) >= ZEROS;
}

/* The entry two levels up leads to the leaves; the bits between are zero. */
static bool levels_skipped(struct trial *t)
{
	trial_poke(t, trial_slot(t->near, WINDOW, 2),
		   pte_read(trial_slot(t->near, LONELY, 1)));
	trial_flush(t);
	return trial_read(t, 0, WINDOW) == A;
}

/* Read-only, because the 2 MiB hold other pages of the kernel too. */
static bool large_leaf(struct trial *t)
{
	pa_t pa = trial_bus(A);
	uint64_t inside = pa & (pt_span(1) - 1);

	trial_poke(t, trial_slot(t->near, WINDOW, 1),
		   pt_amdv1.leaf(pa - inside, PROT_R, 1));
	trial_flush(t);
	return trial_read(t, 0, WINDOW + inside) == A &&
	       trial_read(t, 0, WINDOW + inside + PAGE_SIZE) == A2;
}

/* Bit 12 is the lowest that is zero: 8 KiB, said by two entries alike. */
static bool sizes_by_address(struct trial *t)
{
	uint64_t both = trial_leaf(A, PROT_R | PROT_W) | BY_ADDRESS;

	trial_poke(t, trial_slot(t->near, trial_bus(PLACE2), 0), both);
	set_leaf(t, both);
	return trial_look(t) == A && trial_read(t, 0, trial_bus(PLACE2)) == A2;
}

static bool sets_accessed(struct trial *t)
{
	trial_look(t);
	trial_write(t, 0, trial_bus(PLACE));
	return pte_read(leaf_of_place(t)) & (ACCESSED | DIRTY);
}

static bool refused_read_is_zero(struct trial *t)
{
	set_leaf(t, 0);
	return trial_look(t) == ZEROS;
}

const struct quirk quirks_tables[] = {
	{ QUIRK(translates, true,
		"a device's address is looked up in its domain's table"),
	  .must = "the IOMMU translates nothing: start QEMU with -device "
		  "amd-iommu,dma-remap=on, or ,pt=off if it knows no "
		  "dma-remap" },
	{ QUIRK(denies, true,
		"a device with an empty table reaches nothing, nor does one "
		"that was never attached"),
	  .must = "the IOMMU lets devices pass that are denied" },
	{ QUIRK(leaf_rights_count, true, "a leaf without IW stops a write"),
	  .must = "the IOMMU lets devices write by leaves that say no" },
	{ QUIRK(upper_rights_count, true,
		"an upper entry without IW stops a write that the leaf "
		"grants") },
	{ QUIRK(pr_counts, true,
		"a leaf without PR blocks, whatever rights are in it") },
	{ QUIRK(marker_blocks, true,
		"a leaf that holds NextLevel 1 and nothing else blocks") },
	{ QUIRK(marker_signed, false,
		"such a leaf's refusal shows as Signaled Target Abort") },
	{ QUIRK(levels_checked, true,
		"an entry that leads to a table of its own level blocks") },
	{ QUIRK(levels_skipped, true, "an entry may lead two levels down") },
	{ QUIRK(large_leaf, true,
		"NextLevel 0 in a directory is a leaf of 2 MiB") },
	{ QUIRK(sizes_by_address, true,
		"NextLevel 7 takes the leaf's size, here 8 KiB, from its "
		"address") },
	{ QUIRK(sets_accessed, false,
		"the IOMMU sets accessed or dirty bits in a leaf") },
	{ QUIRK(refused_read_is_zero, false,
		"a read that is refused gives the device zeros") },
	{ 0 },
};
