/* SPDX-License-Identifier: MIT */
/*
 * quirks_dte.c - how entries of the device table are read
 *
 * 48882, section 2.2.2.1.  What passes untranslated shows page PLACE.
 */
#include "iommu/quirks/quirks_trial.h"

/* Set and flush the first chip's entry. */
static void set_dte(struct trial *t, struct dte dte)
{
	trial_poke_dte(t, 0, dte);
	trial_flush(t);
}

/* Return the page that is seen with an entry whose first word is `word`. */
static enum trial_page look_with(struct trial *t, uint64_t word)
{
	struct dte dte = t->base[0];

	dte.w[0] = word;
	set_dte(t, dte);
	return trial_look(t);
}

static bool v0_passes(struct trial *t)
{
	return look_with(t, t->base[0].w[0] & ~DTE0_V) == PLACE;
}

static bool tv0_blocks(struct trial *t)
{
	return look_with(t, DTE0_V) == NOWHERE &&
	       look_with(t, t->base[0].w[0] & ~DTE0_TV) == NOWHERE;
}

static bool mode0_passes(struct trial *t)
{
	return look_with(t, DTE0_V | DTE0_TV | DTE0_IR | DTE0_IW) == PLACE;
}

static bool mode0_rights_count(struct trial *t)
{
	return look_with(t, DTE0_V | DTE0_TV) == NOWHERE;
}

static bool mode7_blocks(struct trial *t)
{
	return look_with(t, t->base[0].w[0] | DTE0_MODE) == NOWHERE;
}

static bool reserved_blocks(struct trial *t)
{
	return look_with(t, t->base[0].w[0] | BIT(2)) == NOWHERE;
}

static bool dte_rights_count(struct trial *t)
{
	struct dte dte = t->base[0];

	dte.w[0] &= ~DTE0_IW;
	set_dte(t, dte);
	return trial_write(t, 0, trial_bus(PLACE)) == NOWHERE;
}

/* Two levels are 1 GiB; the directory of the lowest is their root. */
static bool range_checked(struct trial *t)
{
	pa_t root = pt_pa(pte_read(trial_slot(t->near, 0, 2)));

	set_dte(t, dte_translate(root, 2, t->near->id));
	return trial_look(t) == A &&
	       trial_read(t, 0, pt_span(2) + trial_bus(PLACE)) >= ZEROS;
}

/* Set the other tree under the same id, and flush translations only. */
static bool dte_cached(struct trial *t)
{
	struct domain *d = t->near;

	trial_look(t);
	trial_poke_dte(
		t, 0,
		dte_translate(pt_root_pa(&t->far->pt), d->pt.levels, d->id));
	trial_command(t,
		      command_invalidate_iommu_pages(d->id, RANGE_ALL, true));
	return trial_look(t) == A;
}

/* Set an entry that passes, then one that translates; INVALIDATE_IOMMU_ALL only. */
static bool all_takes_entries(struct trial *t)
{
	if (!(t->iommu->efr & EFR_IA) ||
	    look_with(t, t->base[0].w[0] & ~DTE0_V) != PLACE)
		return false;
	trial_poke_dte(t, 0, t->base[0]);
	trial_command(t, command_invalidate_iommu_all());
	return trial_look(t) == A;
}

/* Set the entry's domain id, and flush what is cached under the last one. */
static void set_id(struct trial *t, uint16_t id, uint16_t last)
{
	struct domain *d = t->near;
	struct command c[] = {
		command_invalidate_devtab_entry(trial_devid(t, 0)),
		command_invalidate_iommu_pages(last, RANGE_ALL, true),
	};

	trial_poke_dte(t, 0,
		       dte_translate(pt_root_pa(&d->pt), d->pt.levels, id));
	if (queue_run(&t->iommu->queue, c, ARRAY_SIZE(c)))
		t->lost = true;
}

/* Try each bit of a domain id alone: the near tree must serve under that id. */
static bool wide_ids(struct trial *t)
{
	uint16_t last = t->near->id;

	t->bad_ids = 0;
	for (unsigned bit = 0; bit < 16; bit++) {
		uint16_t id = (uint16_t)BIT(bit);

		set_id(t, id, last);
		if (trial_look(t) != A)
			t->bad_ids |= id;
		last = id;
	}
	set_id(t, t->near->id, last);
	return !t->bad_ids;
}

static bool ppr_translates(struct trial *t)
{
	return look_with(t, t->base[0].w[0] | DTE0_PPR) == A;
}

const struct quirk quirks_dte[] = {
	{ QUIRK(v0_passes, true, "V = 0 passes untranslated") },
	{ QUIRK(tv0_blocks, true, "V = 1 with TV = 0 blocks") },
	{ QUIRK(mode0_passes, true,
		"mode 0 with IR and IW passes untranslated") },
	{ QUIRK(mode0_rights_count, true, "mode 0 without IR and IW blocks") },
	{ QUIRK(mode7_blocks, true, "mode 7 blocks") },
	{ QUIRK(reserved_blocks, true, "a reserved bit blocks") },
	{ QUIRK(dte_rights_count, true,
		"an entry without IW stops a write that the leaf grants") },
	{ QUIRK(range_checked, true,
		"an address beyond the tree's levels is refused") },
	{ QUIRK(dte_cached, false,
		"a changed entry is not seen until INVALIDATE_DEVTAB_ENTRY") },
	{ QUIRK(all_takes_entries, true,
		"a changed entry counts after INVALIDATE_IOMMU_ALL") },
	{ QUIRK(wide_ids, true, "every bit of a domain's id may be set") },
	{ QUIRK(ppr_translates, true,
		"an entry that allows page requests translates as others do") },
	{ 0 },
};
