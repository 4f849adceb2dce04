/* SPDX-License-Identifier: MIT */
/*
 * quirks_cache.c - what the IOMMU caches, and which command flushes it
 *
 * Fill the cache, change memory, send a command, look again: page A is the old
 * translation, page B the new one.  A row that is false because nothing is cached
 * at all is of no use to a test either.
 */
#include "mm/pt/pt_amdv1.h"
#include "iommu/quirks/quirks_trial.h"

/* Have PLACE cached as page A while memory says page B. */
static void make_stale(struct trial *t)
{
	trial_look(t);
	trial_poke(t, trial_slot(t->near, trial_bus(PLACE), 0),
		   trial_leaf(B, PROT_R | PROT_W));
}

/* Make it stale, send a command, and return the page that is seen then. */
static enum trial_page after(struct trial *t, struct command command)
{
	make_stale(t);
	trial_command(t, command);
	return trial_look(t);
}

static struct command_range page_range(enum trial_page page)
{
	return command_range(trial_bus(page), trial_bus(page) + PAGE_SIZE);
}

static uint16_t devid(struct trial *t)
{
	return trial_devid(t, 0);
}

static bool flush_works(struct trial *t)
{
	return after(t, command_invalidate_iommu_pages(
				t->near->id, page_range(PLACE), false)) == B;
}

static bool caches(struct trial *t)
{
	make_stale(t);
	return trial_look(t) == A;
}

static bool caches_rights(struct trial *t)
{
	uint64_t *slot = trial_slot(t->near, trial_bus(PLACE), 0);

	trial_poke(t, slot, trial_leaf(A, PROT_R));
	trial_flush(t);
	trial_look(t);
	pte_write(slot, trial_leaf(A, PROT_R | PROT_W));
	return trial_write(t, 0, trial_bus(PLACE)) == NOWHERE;
}

static bool caches_holes(struct trial *t)
{
	uint64_t *slot = trial_slot(t->near, trial_bus(PLACE), 0);

	trial_poke(t, slot, 0);
	trial_flush(t);
	trial_look(t);
	pte_write(slot, trial_leaf(A, PROT_R | PROT_W));
	return trial_look(t) != A;
}

/* The directory leads to the far tree's leaves; PLACE2 was never looked at. */
static bool caches_tables(struct trial *t)
{
	trial_look(t);
	trial_poke(t, trial_slot(t->near, trial_bus(PLACE), 1),
		   pte_read(trial_slot(t->far, trial_bus(PLACE), 1)));
	return trial_read(t, 0, trial_bus(PLACE2)) == A2;
}

static bool caches_by_4k(struct trial *t)
{
	uint64_t inside = trial_bus(A) & (pt_span(1) - 1);
	uint64_t *slot = trial_slot(t->near, WINDOW, 1);

	trial_poke(t, slot, pt_amdv1.leaf(trial_bus(A) - inside, PROT_R, 1));
	trial_flush(t);
	trial_read(t, 0, WINDOW + inside);
	pte_write(slot, 0);
	return trial_read(t, 0, WINDOW + inside) == A &&
	       trial_read(t, 0, WINDOW + inside + PAGE_SIZE) != A2;
}

static bool domain_tags(struct trial *t)
{
	struct domain *far = t->far;

	trial_look(t);
	trial_poke_dte(
		t, 0,
		dte_translate(pt_root_pa(&far->pt), far->pt.levels, far->id));
	trial_command(t, command_invalidate_devtab_entry(devid(t)));
	return trial_look(t) == B;
}

static bool device_tags(struct trial *t)
{
	struct domain *far = t->far;

	trial_look(t);
	trial_poke_dte(t, 1,
		       dte_translate(pt_root_pa(&far->pt), far->pt.levels,
				     t->near->id));
	trial_command(t, command_invalidate_devtab_entry(trial_devid(t, 1)));
	return trial_read(t, 1, trial_bus(PLACE)) == B;
}

static bool flush_by_domain(struct trial *t)
{
	return after(t, command_invalidate_iommu_pages(t->far->id, RANGE_ALL,
						       true)) == A;
}

static bool flush_by_address(struct trial *t)
{
	return after(t, command_invalidate_iommu_pages(
				t->near->id, page_range(PLACE2), false)) == A;
}

static bool devtab_keeps(struct trial *t)
{
	return after(t, command_invalidate_devtab_entry(devid(t))) == A;
}

static bool iotlb_page_flushes(struct trial *t)
{
	return after(t, command_invalidate_iotlb_pages(devid(t), devid(t), 1,
						       page_range(PLACE))) == B;
}

static bool iotlb_range_flushes(struct trial *t)
{
	iova_t place = trial_bus(PLACE);

	return after(t, command_invalidate_iotlb_pages(
				devid(t), devid(t), 1,
				command_range(place, place + 2 * PAGE_SIZE))) ==
	       B;
}

static bool all_flushes(struct trial *t)
{
	return t->iommu->efr & EFR_IA &&
	       after(t, command_invalidate_iommu_all()) == B;
}

const struct quirk quirks_cache[] = {
	{ QUIRK(flush_works, true,
		"INVALIDATE_IOMMU_PAGES of a page flushes it"),
	  .must = "the IOMMU keeps what INVALIDATE_IOMMU_PAGES names" },
	{ QUIRK(caches, false,
		"a changed entry is not seen until it is flushed") },
	{ QUIRK(caches_rights, false,
		"a right that is added is not seen until it is flushed") },
	{ QUIRK(caches_holes, false,
		"an entry that is not present is cached (NpCache)") },
	{ QUIRK(caches_tables, false,
		"a changed directory is not seen until it is flushed") },
	{ QUIRK(caches_by_4k, false,
		"of a 2 MiB leaf only the pages touched are cached") },
	{ QUIRK(domain_tags, true,
		"what is cached under one domain's id serves no other "
		"domain") },
	{ QUIRK(device_tags, false,
		"what is cached for one device serves no other device"),
	  .both = true },
	{ QUIRK(flush_by_domain, false,
		"INVALIDATE_IOMMU_PAGES keeps what is cached of other "
		"domains") },
	{ QUIRK(flush_by_address, false,
		"INVALIDATE_IOMMU_PAGES keeps the pages beside its range") },
	{ QUIRK(devtab_keeps, false,
		"INVALIDATE_DEVTAB_ENTRY keeps the translations") },
	{ QUIRK(iotlb_page_flushes, false,
		"INVALIDATE_IOTLB_PAGES, S = 0, drops the IOMMU's own "
		"entry too") },
	{ QUIRK(iotlb_range_flushes, false,
		"INVALIDATE_IOTLB_PAGES, S = 1, drops the IOMMU's own "
		"entries too") },
	{ QUIRK(all_flushes, true,
		"INVALIDATE_IOMMU_ALL flushes every translation") },
	{ 0 },
};
