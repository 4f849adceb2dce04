/* SPDX-License-Identifier: MIT */
/*
 * quirks.c - measure the rows, keep and print the answers
 */
#include "iommu/quirks/quirks.h"
#include "iommu/quirks/quirks_trial.h"
#include "kernel/printk.h"
#include "kernel/probe.h"
#include "kernel/string.h"

static const struct quirk *const groups[] = { quirks_tables, quirks_dte,
					      quirks_cache, quirks_irq,
					      quirks_regs };

static struct iommu_quirks found; /* (I) after boot */
static const char *unknown = "the IOMMU was not probed";

const struct iommu_quirks *iommu_quirks(void)
{
	return &found;
}

const char *quirks_unknown(void)
{
	return unknown;
}

const struct quirk *quirk_at(unsigned i)
{
	for (unsigned g = 0; g < ARRAY_SIZE(groups); g++) {
		const struct quirk *row = groups[g];

		for (; row->name; row++)
			if (!i--)
				return row;
	}
	return NULL;
}

const struct quirk *quirk_named(const char *name)
{
	const struct quirk *row = NULL;

	for (unsigned i = 0; (row = quirk_at(i)); i++)
		if (!strcmp(row->name, name))
			break;
	return row;
}

static bool *answer(struct iommu_quirks *q, const struct quirk *row)
{
	return (bool *)((char *)q + row->offset);
}

bool quirk_holds(const struct iommu_quirks *q, const struct quirk *row)
{
	return *answer((struct iommu_quirks *)q, row);
}

static bool can_ask(const struct quirk_devices *devices,
		    const struct quirk *row)
{
	if (row->irqs && (!devices->messages || iommu_machine_no_remap() ||
			  !iommu_machine_vector()))
		return false;
	return !row->both || devices->n > 1;
}

/* True if the row that this row needs holds. */
static bool is_met(const struct iommu_quirks *q, const struct quirk *row)
{
	return !row->needs || quirk_holds(q, quirk_named(row->needs));
}

/* Measure all rows; returns the message of the first that must hold and does not. */
static const char *measure(struct trial *t, struct iommu_quirks *out)
{
	const struct quirk *row;

	for (unsigned i = 0; (row = quirk_at(i)) && !t->lost; i++) {
		if (!can_ask(t->devices, row) || !is_met(out, row))
			continue;
		trial_reset(t);
		PROBE(quirk, i, t->transfers);
		*answer(out, row) = row->holds(t);
		if (row->must && !quirk_holds(out, row))
			return row->must;
	}
	trial_reset(t);
	return NULL;
}

const char *quirks_measure(struct iommu *iommu,
			   const struct quirk_devices *devices,
			   struct iommu_quirks *out, bool *broken)
{
	static struct trial t; /* one at a time, as the chips are */
	const char *why, *left;

	require(may_sleep());
	*out = (struct iommu_quirks){ 0 };
	*broken = false;
	if (!iommu)
		return "no IOMMU on this machine";
	if (!devices->n)
		return "no lsi0 on this machine's bus 0 to probe the IOMMU "
		       "with";
	if (FIELD_GET(EFR_HATS, iommu->efr) == HATS_NONE) {
		*broken = true;
		return "the IOMMU says that it cannot translate (HATS = 3): "
		       "start QEMU without dma-translation=off";
	}
	why = trial_open(&t, iommu, devices);
	if (why) {
		*broken = t.lost;
		return why;
	}
	why = measure(&t, out);
	out->bad_ids = t.bad_ids;
	left = trial_close(&t);
	if (!why)
		why = left;
	if (why) {
		*out = (struct iommu_quirks){ 0 };
		*broken = true;
	}
	return why;
}

static void print(bool each)
{
	const struct quirk *row;
	unsigned n = 0, against = 0, unasked = 0;

	for (; (row = quirk_at(n)); n++) {
		bool holds = quirk_holds(&found, row);
		bool asked = can_ask(quirks_lsis(), row) && is_met(&found, row);

		against += asked && row->specified && !holds;
		unasked += !asked;
		if (each)
			printk("# quirk %s: %s (%s): %s\n", row->name,
			       !asked  ? "unknown"
			       : holds ? "yes"
				       : "no",
			       row->specified ? "specified" : "free",
			       row->what);
	}
	if (found.bad_ids)
		printk("# iommu: no domain's id may have the bits %xh\n",
		       found.bad_ids);
	printk("# iommu: %u claims tried, %u against the manual "
	       "(the word `quirks` lists them)\n",
	       n - unasked, against);
}

const char *quirks_boot(bool each)
{
	bool broken;

	unknown =
		quirks_measure(iommu_machine(), quirks_lsis(), &found, &broken);
	if (broken)
		return unknown;
	if (unknown) {
		printk("# iommu: not probed: %s\n", unknown);
	} else {
		iommu_machine_avoid_ids(found.bad_ids);
		print(each);
	}
	return NULL;
}
