/* SPDX-License-Identifier: MIT */
/*
 * unit_quirks.c - tests quirks.h: the boot-time probe of the IOMMU
 *
 * What it finds is whatever this QEMU does; here is what it must not do.
 */
#include "iommu/pt_amdv1.h"
#include "iommu/quirks_trial.h"
#include "kernel/string.h"
#include "tests/engines.h"
#include "tests/gate.h"

static bool is_chip(uint16_t devid)
{
	for (unsigned i = 0; lsi_at(i); i++)
		if (lsi_at(i)->engine.devid == devid)
			return true;
	return false;
}

/* Entries that are not the deny entry; of the chips, too, if so said. */
static unsigned not_denied(struct iommu *iommu, bool chips)
{
	const uint64_t *is = iommu->table->w;
	struct dte deny = iommu_deny(iommu);
	unsigned n = 0;

	for (unsigned id = 0; id < DEVIDS; id++, is += ARRAY_SIZE(deny.w))
		if ((READ_ONCE(is[0]) ^ deny.w[0]) |
		    (READ_ONCE(is[1]) ^ deny.w[1]) |
		    (READ_ONCE(is[2]) ^ deny.w[2]) |
		    (READ_ONCE(is[3]) ^ deny.w[3]))
			n += chips || !is_chip((uint16_t)id);
	return n;
}

static void need_probe(void)
{
	if (quirks_unknown())
		SKIP(quirks_unknown());
}

static void measure(struct iommu_quirks *q)
{
	bool broken;

	EXPECT_STR_NULL(quirks_measure(iommu_machine(), q, &broken));
	EXPECT(!broken);
}

TEST(quirks, second_answer_is_the_first,
     "asked again, the IOMMU answers every question as it did at boot")
{
	struct iommu_quirks again;
	const struct quirk *row;

	need_probe();
	measure(&again);
	for (unsigned i = 0; (row = quirk_at(i)); i++)
		if (quirk_holds(&again, row) !=
		    quirk_holds(iommu_quirks(), row))
			test_fail(__FILE__, __LINE__, "%s: now %d", row->name,
				  quirk_holds(&again, row));
}

struct watch {
	unsigned transfers, passing;
};

static void watch_transfer(uint64_t a, uint64_t b, void *arg)
{
	struct watch *w = arg;

	w->transfers++;
	w->passing += not_denied(iommu_machine(), false);
}

TEST(quirks, others_are_denied_meanwhile,
     "while the LSIs' entries are spoiled, every other entry denies")
{
	struct watch w = { 0 };
	struct iommu_quirks q;

	need_probe();
	hook("lsi_start", watch_transfer, &w);
	measure(&q);
	unhook("lsi_start");
	EXPECT(w.transfers > 50);
	EXPECT_EQ(w.passing, 0);
}

static uint64_t mix(uint64_t hash, uint64_t v)
{
	return (hash ^ v) * 0x100000001b3;
}

/* A number for all that a tree of the v1 dialect says. */
static uint64_t tree_hash(uint64_t hash, pa_t root)
{
	const uint64_t *table = phys_to_virt(root);

	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		uint64_t e = READ_ONCE(table[i]);

		hash = mix(hash, e);
		if (e & AMDV1_PR && e & AMDV1_NEXT_LEVEL)
			hash = tree_hash(hash, pt_pa(e));
	}
	return hash;
}

struct starts {
	unsigned rows, spoiled;
	uint64_t first;
};

static void watch_start(uint64_t a, uint64_t b, void *arg)
{
	struct starts *s = arg;
	uint64_t hash = 0;

	for (unsigned i = 0; lsi_at(i); i++) {
		struct dte dte =
			iommu_get_dte(iommu_machine(), lsi_at(i)->engine.devid);

		for (unsigned k = 0; k < ARRAY_SIZE(dte.w); k++)
			hash = mix(hash, dte.w[k]);
		hash = tree_hash(hash, dte.w[0] & DTE0_ROOT);
	}
	if (!s->rows++)
		s->first = hash;
	s->spoiled += hash != s->first;
}

TEST(quirks, rows_begin_alike,
     "each row meets the entries and the tables that the first one met")
{
	struct starts s = { 0 };
	struct iommu_quirks q;

	need_probe();
	hook("quirk", watch_start, &s);
	measure(&q);
	unhook("quirk");
	EXPECT(s.rows > 40);
	EXPECT_EQ(s.spoiled, 0);
}

/* Does the chip see anything at iova, in a domain that maps nothing there? */
static bool remembered(struct lsi *chip, iova_t iova)
{
	uint64_t word = 0;

	EXPECT_EQ(dma_read(&chip->engine, iova, &word, sizeof(word)), 0);
	return word;
}

static void expect_nothing_cached(struct domain *d, struct lsi *chip)
{
	const struct dma_own *own = &chip->engine.own;
	uint64_t inside = trial_bus(A) & (pt_span(1) - 1);

	REQUIRE(!domain_map(d, own->bus, own->pa, own->len, PROT_R | PROT_W));
	/* This forgets the entry, and no translation. */
	REQUIRE(!domain_attach(d, chip->engine.devid, 0));
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++) {
		EXPECT(!remembered(chip, trial_bus(i)));
		EXPECT(!remembered(chip, pt_span(2) + trial_bus(i)));
		EXPECT(!remembered(chip, WINDOW + i * PAGE_SIZE));
		EXPECT(!remembered(chip, WINDOW + inside + i * PAGE_SIZE));
	}
	EXPECT(!remembered(chip, WINDOW + pt_span(1)));
	EXPECT(!remembered(chip, WINDOW + pt_span(1) + inside));
	EXPECT_EQ(domain_detach(d, chip->engine.devid), 0);
	EXPECT_EQ(domain_unmap(d, own->bus, own->bus + own->len), 0);
}

TEST(quirks, nothing_is_left,
     "afterwards everybody is denied, and no translation is remembered")
{
	struct iommu *iommu = iommu_machine();
	struct iommu_quirks q;
	struct domain *d;

	NEED_QUIRK(refused_read_is_zero); /* or it looks like a memory */
	EXPECT_EQ(not_denied(iommu, true), 0);
	measure(&q);
	EXPECT_EQ(not_denied(iommu, true), 0);
	d = domain_create(iommu);
	REQUIRE(d);
	for (unsigned i = 0; lsi_at(i); i++)
		expect_nothing_cached(d, lsi_at(i));
	domain_destroy(d);
}

TEST(quirks, absence_is_said,
     "without an IOMMU or an LSI nothing is claimed, and a sentence says why")
{
	const char *why = quirks_unknown();
	const struct quirk *row;
	struct iommu_quirks q;
	bool broken;

	memset(&q, 1, sizeof(q));
	if (!why) {
		why = quirks_measure(NULL, &q, &broken);
		EXPECT(!broken);
	} else {
		q = *iommu_quirks();
	}
	REQUIRE(why);
	EXPECT_EQ(q.bad_ids, 0);
	for (unsigned i = 0; (row = quirk_at(i)); i++)
		EXPECT(!quirk_holds(&q, row));
	EXPECT(glob_match(iommu_machine() && !lsi_at(0) ? "*no lsi0*"
							: "*no IOMMU*",
			  why));
}

TEST(quirks, rows_pair_with_answers,
     "each row has a name, a sentence and an answer of its own")
{
	bool taken[sizeof(struct iommu_quirks)] = { 0 };
	const struct quirk *row;

	for (unsigned i = 0; (row = quirk_at(i)); i++) {
		REQUIRE(row->offset < sizeof(taken));
		EXPECT(!taken[row->offset]);
		taken[row->offset] = true;
		EXPECT(quirk_named(row->name) == row);
		EXPECT(row->what[0] && row->holds);
		EXPECT(!row->must || quirks_unknown() ||
		       quirk_holds(iommu_quirks(), row));
	}
	/* No answer is without a row. */
	for (unsigned at = offsetof(struct iommu_quirks, translates);
	     at <= offsetof(struct iommu_quirks, ppr_tail_writable); at++)
		EXPECT(taken[at]);
	EXPECT(!quirk_named("nobody"));
}

TEST(quirks, ids_that_do_not_work_are_avoided,
     "under the 600 ids that come next a device sees its domain's page")
{
	struct iommu *iommu = iommu_machine();
	struct dma_engine *e;
	unsigned blind = 0;

	need_probe();
	e = &lsi_at(0)->engine;
	for (unsigned i = 0; i < 600; i++) {
		struct domain *d = domain_create(iommu);
		uint64_t *page = (uint64_t *)engine_buffer(0), word = 0;

		REQUIRE(d);
		EXPECT(!(d->id & iommu_quirks()->bad_ids));
		REQUIRE(!domain_map(d, e->own.bus, e->own.pa, e->own.len,
				    PROT_R | PROT_W));
		REQUIRE(!domain_map(d, WINDOW, buffer_bus(page), PAGE_SIZE,
				    PROT_R));
		REQUIRE(!domain_attach(d, e->devid, 0));
		blind += dma_read(e, WINDOW, &word, 8) || word != *page;
		REQUIRE(!domain_detach(d, e->devid));
		domain_destroy(d);
		if (blind > 3)
			break; /* each one takes its time */
	}
	EXPECT_EQ(blind, 0);
}

static unsigned ids_with(struct iommu *iommu, uint16_t bits)
{
	struct domain *d[8];
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(d); i++) {
		d[i] = domain_create(iommu);
		REQUIRE(d[i]);
		n += !!(d[i]->id & bits);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(d); i++)
		domain_destroy(d[i]);
	return n;
}

TEST(quirks, avoided_bits_are_in_no_id,
     "no id has a bit that is avoided, also after the IOMMU's restart")
{
	uint16_t bad = iommu_quirks()->bad_ids, low = 3;

	if (!iommu_machine())
		SKIP("no IOMMU on this machine");
	iommu_machine_avoid_ids(bad | low);
	EXPECT_EQ(ids_with(iommu_machine(), low), 0);
	EXPECT_STR_NULL(iommu_machine_restart());
	EXPECT_EQ(ids_with(iommu_machine(), low), 0);
	iommu_machine_avoid_ids(bad);
	EXPECT(ids_with(iommu_machine(), low) > 0);
}
