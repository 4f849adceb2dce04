/* SPDX-License-Identifier: MIT */
/*
 * quirks.c - tests quirks.h: the boot-time probe of the IOMMU
 *
 * What it finds depends on this QEMU; here is what it must not do.
 */
#include "drivers/lsi.h"
#include "iommu/quirks/quirks_trial.h"
#include "kernel/panic.h"
#include "kernel/string.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/mm/sync_point.h"

static bool is_chip(uint16_t devid)
{
	for (unsigned i = 0; lsi_at(i); i++)
		if (lsi_at(i)->engine.devid == devid)
			return true;
	return false;
}

/*
 * Return whether the device may send more than was granted.  A shorter table
 * allows less.
 */
static bool sends_more(struct iommu *iommu, uint16_t devid, uint64_t word)
{
	return (word | DTE2_LENGTH) != (remap_word(iommu, devid) | DTE2_LENGTH);
}

/*
 * Count entries that let a device reach memory, or send what was not granted;
 * with those of the chips if `chips`.
 */
static unsigned not_denied(struct iommu *iommu, bool chips)
{
	const uint64_t *is = iommu->table->w;
	struct dte deny = iommu_deny(iommu);
	unsigned n = 0;

	assert(rw_read_trylock(&iommu->lock)); /* a probe may not sleep */
	for (unsigned id = 0; id < DEVIDS; id++, is += ARRAY_SIZE(deny.w))
		if ((READ_ONCE(is[0]) ^ deny.w[0]) |
		    (READ_ONCE(is[1]) ^ deny.w[1]) |
		    (READ_ONCE(is[3]) ^ deny.w[3]))
			n += chips || !is_chip((uint16_t)id);
		else if (READ_ONCE(is[2]) != deny.w[2])
			n += sends_more(iommu, (uint16_t)id, is[2]);
	rw_read_unlock(&iommu->lock);
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

	for (unsigned i = 0; lsi_at(i); i++)
		events_allow(lsi_at(i)->engine.devid);
	EXPECT_STR_NULL(
		quirks_measure(iommu_machine(), quirks_lsis(), q, &broken));
	EXPECT(!broken);
}

TEST(quirks, answers_are_repeatable,
     "a second probe of the IOMMU gives the same answers as at boot")
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

/* Rows that QEMU 7.2 to 11.1 answer alike (docs/limits.md). */
static const char *const always[] = {
	"translates",
	"denies",
	"leaf_rights_count",
	"marker_blocks",
	"marker_signed",
	"levels_skipped",
	"large_leaf",
	"sizes_by_address",
	"refused_read_is_zero",
	"v0_passes",
	"mode0_passes",
	"mode7_blocks",
	"reserved_blocks",
	"flush_works",
	"caches",
	"caches_rights",
	"caches_by_4k",
	"device_tags",
	"flush_by_domain",
	"devtab_keeps",
	"all_flushes",
	"iv_stops",
	"irte_remaps",
	"cmd_run_shown",
	"event_run_shown",
	"comwait_interrupts",
	"ppr_tail_writable",
};
static const char *const never[] = {
	"sets_accessed",      "dte_cached",           "caches_holes",
	"caches_tables",      "domain_tags",          "flush_by_address",
	"write_by_own_entry", "irte_length_counts",   "irte_cached",
	"ppr_run_shown",      "comwait_needs_enable", "event_address",
};

static void expect_rows(const char *const *names, size_t n, bool holds)
{
	for (size_t i = 0; i < n; i++) {
		const struct quirk *row = quirk_named(names[i]);

		REQUIRE(row);
		if ((!row->both || lsi_at(1)) &&
		    quirk_holds(iommu_quirks(), row) != holds)
			test_fail(__FILE__, __LINE__, "%s: %d", row->name,
				  !holds);
	}
}

TEST(quirks, answers_are_those_of_every_known_qemu,
     "the probe answers as QEMU behaves, where all versions behave alike")
{
	need_probe();
	expect_rows(always, ARRAY_SIZE(always), true);
	expect_rows(never, ARRAY_SIZE(never), false);
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

TEST(quirks, other_devices_stay_denied,
     "while the LSIs' entries are changed, every other entry denies")
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

/* Hash everything in a tree of v1 tables. */
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

TEST(quirks, rows_start_from_one_state,
     "each row starts with the entries and tables with which the first one "
     "started")
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

/*
 * Return whether the chip sees anything at iova, in a domain that maps nothing
 * there.
 */
static bool cached(struct lsi *chip, iova_t iova)
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
	/* This invalidates the entry, and no translation. */
	REQUIRE(!domain_attach(d, chip->engine.devid, 0));
	for (enum trial_page i = 0; i < TRIAL_PAGES; i++) {
		EXPECT(!cached(chip, trial_bus(i)));
		EXPECT(!cached(chip, pt_span(2) + trial_bus(i)));
		EXPECT(!cached(chip, WINDOW + i * PAGE_SIZE));
		EXPECT(!cached(chip, WINDOW + inside + i * PAGE_SIZE));
	}
	EXPECT(!cached(chip, WINDOW + pt_span(1)));
	EXPECT(!cached(chip, WINDOW + pt_span(1) + inside));
	EXPECT_EQ(domain_detach(d, chip->engine.devid), 0);
	EXPECT_EQ(domain_unmap(d, own->bus, own->bus + own->len), 0);
}

TEST(quirks, probe_leaves_nothing,
     "after the probe every device is denied, and no translation is cached")
{
	struct iommu *iommu = iommu_machine();
	struct iommu_quirks q;
	struct domain *d;

	NEED_QUIRK(refused_read_is_zero); /* else 0 is ambiguous */
	EXPECT_EQ(not_denied(iommu, true), 0);
	measure(&q);
	EXPECT_EQ(not_denied(iommu, true), 0);
	d = domain_create(iommu);
	REQUIRE(d);
	for (unsigned i = 0; lsi_at(i); i++)
		expect_nothing_cached(d, lsi_at(i));
	domain_destroy(d);
}

TEST(quirks, missing_hardware_is_reported,
     "without an IOMMU or an LSI nothing is claimed, and a message gives the "
     "reason")
{
	const char *why = quirks_unknown();
	const struct quirk *row;
	struct iommu_quirks q;
	bool broken;

	memset(&q, 1, sizeof(q));
	if (!why) {
		why = quirks_measure(NULL, quirks_lsis(), &q, &broken);
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
	EXPECT(!quirk_named("no_such_row"));
}

TEST(quirks, ids_that_do_not_work_are_avoided,
     "a device sees its domain's page under each of the next 600 domain ids")
{
	struct iommu *iommu = iommu_machine();
	struct dma_engine *e;
	unsigned blind = 0;
	uint64_t *page;

	need_probe();
	e = &lsi_at(0)->engine;
	page = (uint64_t *)engine_buffer(0); /* the device only reads it */
	for (unsigned i = 0; i < 600; i++) {
		struct domain *d = domain_create(iommu);
		uint64_t word = 0;

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
			break; /* each one takes time */
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
     "no domain id has an avoided bit, also after a restart of the IOMMU")
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

TEST(quirks, iommu_without_tables_is_refused,
     "an IOMMU without translation is refused with a message that says what "
     "to change, and no device is tried")
{
	static struct iommu none = { .efr = EFR_HATS };
	struct iommu_quirks q;
	const char *why;
	bool broken;

	if (!lsi_at(0))
		SKIP("no lsi0 on this machine");
	why = quirks_measure(&none, quirks_lsis(), &q, &broken);
	EXPECT(why && glob_match("*without dma-translation=off", why));
	EXPECT(broken);
}
