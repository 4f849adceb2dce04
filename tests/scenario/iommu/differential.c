/* SPDX-License-Identifier: MIT */
/*
 * differential.c - QEMU's IOMMU and the strict model, side by side
 *
 * Both get the same random operations on tables of their own, with flushes that
 * are right, wrong or forgotten, and the same transfers.  The outcome of a
 * transfer is which page it hit.  Three things must hold:
 *
 *   a slot whose changes were all flushed      both hit the page of now
 *   a slot with changes not flushed            both hit a page that it named
 *                                              since its last flush, or none
 *   the model hits the page of now, and        so does QEMU: the model is at
 *   holds no other                             least as strict
 *
 * Pages hold their number; a write is found by looking for it, and undone.
 */
#include "drivers/lsi.h"
#include "kernel/panic.h"
#include "kernel/rand.h"
#include "mm/frame/pmm.h"
#include "mm/pt/pt_amdv1.h"
#include "tests/checker/event_checker.h"
#include "tests/fixture/iommu/engines.h"
#include "tests/fixture/iommu/iommu_fixture.h"

#define OPERATIONS 12000u
#define DEVICES    2u
#define DOMAINS    2u
#define SLOTS      24u
#define PAGES      6u
#define NONE       PAGES /* an outcome: no page                            */
#define MARK       UINT64_C(0x6d61726b)

/* One of the two: QEMU's device or the model. */
struct side {
	struct iommu *iommu;
	struct model *model;
	struct domain *d[DOMAINS];
	struct page *page[PAGES];
};

/* What a slot of a domain's table says, and what may still be cached of it. */
struct slot {
	unsigned page; /* NONE: a hole                                     */
	bool write;
	uint32_t history; /* pages that a transfer may hit: bit NONE, too  */
	bool dirty;       /* changed since the last right flush            */
};

static struct differential {
	struct side side[2];
	struct slot slot[DOMAINS][SLOTS];
	unsigned in[DEVICES]; /* domain; DOMAINS: none                     */
	struct rng rng;
	uint64_t transfers, hidden; /* QEMU knew, and the model did not    */
} x;

static unsigned pick(unsigned n)
{
	return (unsigned)rng_below(&x.rng, n);
}

static void each_side(void (*fn)(struct side *, unsigned, unsigned, unsigned),
		      unsigned a, unsigned b, unsigned c)
{
	fn(&x.side[0], a, b, c);
	fn(&x.side[1], a, b, c);
}

/* ---- the flat truth ----------------------------------------------------- */

static void settled(unsigned dom, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		struct slot *s = &x.slot[dom][i];

		s->dirty = false;
		s->history = BIT(s->page) | BIT(NONE);
	}
}

static void changed(unsigned dom, unsigned at, unsigned page, bool write)
{
	struct slot *s = &x.slot[dom][at];

	s->page = page;
	s->write = write;
	s->dirty = true;
	s->history |= BIT(page);
}

/* ---- operations on one side --------------------------------------------- */

static void do_map(struct side *s, unsigned dom, unsigned at, unsigned page)
{
	enum prot prot = x.slot[dom][at].write ? IO_RW : PROT_R;

	REQUIRE(!domain_map(s->d[dom], IO(at), page_pa(s->page[page]),
			    PAGE_SIZE, prot));
}

static void do_unmap(struct side *s, unsigned dom, unsigned first, unsigned end)
{
	REQUIRE(!domain_unmap(s->d[dom], IO(first), IO(end)));
}

static void do_protect(struct side *s, unsigned dom, unsigned at,
		       unsigned write)
{
	REQUIRE(!domain_protect(s->d[dom], IO(at), IO(at + 1),
				write ? IO_RW : PROT_R));
}

/* Change the entry behind the driver's back. */
static void do_raw(struct side *s, unsigned dom, unsigned at, unsigned page)
{
	uint64_t *slot = fixture_slot(s->d[dom], IO(at));
	uint64_t rights = AMDV1_PR | AMDV1_FC | AMDV1_IR |
			  (x.slot[dom][at].write ? AMDV1_IW : 0);

	pt_set(&s->d[dom]->pt, slot,
	       page == NONE ? 0 : page_pa(s->page[page]) | rights);
}

static void do_flush(struct side *s, unsigned dom, unsigned first, unsigned end)
{
	struct command c = command_invalidate_iommu_pages(
		s->d[dom]->id, command_range(IO(first), IO(end)), false);

	REQUIRE(!queue_run(&s->iommu->queue, &c, 1));
}

static void do_flush_devtab(struct side *s, unsigned dev, unsigned b,
			    unsigned c)
{
	struct command command =
		command_invalidate_devtab_entry(lsi_at(dev)->engine.devid);

	REQUIRE(!queue_run(&s->iommu->queue, &command, 1));
}

static void do_attach(struct side *s, unsigned dev, unsigned dom, unsigned c)
{
	REQUIRE(!domain_attach(s->d[dom], lsi_at(dev)->engine.devid, 0));
}

static void do_detach(struct side *s, unsigned dev, unsigned dom, unsigned c)
{
	REQUIRE(!domain_detach(s->d[dom], lsi_at(dev)->engine.devid));
}

/* ---- transfers ---------------------------------------------------------- */

static unsigned find_tag(uint64_t word)
{
	return word && word <= PAGES ? (unsigned)word - 1 : NONE;
}

static uint64_t *word_of(const struct side *s, unsigned page)
{
	return page_va(s->page[page]);
}

static unsigned read_of(struct side *s, unsigned dev, unsigned at)
{
	struct dma_engine *e = &lsi_at(dev)->engine;
	uint64_t word = 0;

	if (s->model)
		model_dma(s->model, e->devid, IO(at), &word, 8, false, NULL);
	else
		REQUIRE(!dma_read(e, IO(at), &word, 8));
	return find_tag(word);
}

static unsigned write_of(struct side *s, unsigned dev, unsigned at)
{
	struct dma_engine *e = &lsi_at(dev)->engine;
	uint64_t word = MARK;
	unsigned hit = NONE;

	if (s->model)
		model_dma(s->model, e->devid, IO(at), &word, 8, true, NULL);
	else
		REQUIRE(!dma_write(e, IO(at), &word, 8));
	for (unsigned i = 0; i < PAGES; i++) {
		if (READ_ONCE(*word_of(s, i)) != MARK)
			continue;
		hit = i;
		WRITE_ONCE(*word_of(s, i), i + 1);
	}
	return hit;
}

/*
 * The model holds an entry of before.  If that refuses a write, and the table of now
 * does too, nothing shows which of the two it went by.
 */
static bool model_is_stale(unsigned dom, unsigned at)
{
	struct side *s = &x.side[1];
	unsigned page = x.slot[dom][at].page;
	struct model_entry e;

	return model_lookup(s->model, false, s->d[dom]->id, IO(at), &e) &&
	       (page == NONE || e.pa != page_pa(s->page[page]));
}

static void transfer(unsigned dev, unsigned at, bool write)
{
	unsigned dom = x.in[dev], now, got[2];
	const struct slot *slot;

	if (dom == DOMAINS)
		return; /* the chip could not even fetch its program */
	slot = &x.slot[dom][at];
	now = write && !slot->write ? NONE : slot->page;
	for (unsigned i = 0; i < 2; i++)
		got[i] = write ? write_of(&x.side[i], dev, at)
			       : read_of(&x.side[i], dev, at);
	x.transfers++;
	x.hidden += got[0] == now && got[1] != now;
	for (unsigned i = 0; i < 2; i++) {
		if (!slot->dirty)
			EXPECT_EQ(got[i], now);
		EXPECT(slot->history & BIT(got[i]));
	}
	if (got[1] == now && !model_is_stale(dom, at))
		EXPECT_EQ(got[0], now);
}

/* ---- the random walk ---------------------------------------------------- */

static void walk_map(unsigned dom, unsigned at)
{
	struct slot *slot = &x.slot[dom][at];

	if (slot->page != NONE || slot->dirty)
		return;
	slot->write = pick(2);
	slot->page = pick(PAGES);
	each_side(do_map, dom, at, slot->page);
	settled(dom, at, at + 1);
}

static void walk_unmap(unsigned dom, unsigned at)
{
	unsigned end = at + 1 + pick(SLOTS - at);

	each_side(do_unmap, dom, at, end);
	for (unsigned i = at; i < end; i++)
		x.slot[dom][i].page = NONE;
	settled(dom, at, end);
}

static void walk_protect(unsigned dom, unsigned at)
{
	struct slot *slot = &x.slot[dom][at];

	if (slot->page != NONE)
		slot->write = pick(2);
	each_side(do_protect, dom, at, slot->write);
	settled(dom, at, at + 1);
}

static void walk_raw(unsigned dom, unsigned at)
{
	unsigned page = pick(PAGES + 1);

	changed(dom, at, page, pick(2));
	each_side(do_raw, dom, at, page);
}

/* Right, too short, of the other domain, or of a device's entry. */
static void walk_flush(unsigned dom, unsigned at)
{
	unsigned end = at + 1 + pick(SLOTS - at);

	if (pick(4) == 0) {
		each_side(do_flush_devtab, pick(DEVICES), 0, 0);
		return;
	}
	each_side(do_flush, dom, at, end);
	settled(dom, at, end);
}

static void walk_move(unsigned dev)
{
	unsigned dom = x.in[dev];

	if (dom != DOMAINS) {
		each_side(do_detach, dev, dom, 0);
		settled(dom, 0, SLOTS); /* detach flushes the domain */
	}
	x.in[dev] = pick(DOMAINS + 1);
	if (x.in[dev] != DOMAINS)
		each_side(do_attach, dev, x.in[dev], 0);
}

static void walk_one(void)
{
	unsigned what = pick(20), dom = pick(DOMAINS), at = pick(SLOTS);

	if (what == 0)
		walk_unmap(dom, at);
	else if (what < 4)
		walk_map(dom, at);
	else if (what == 4)
		walk_protect(dom, at);
	else if (what < 7)
		walk_raw(dom, at);
	else if (what == 7)
		walk_flush(dom, at);
	else if (what == 8 && pick(4) == 0)
		walk_move(pick(DEVICES));
	else
		transfer(pick(DEVICES), at, pick(2));
}

/* ---- both sides of the table -------------------------------------------- */

static void side_open(struct iommu_fixture *s, struct side *side,
		      struct iommu *iommu, struct model *model)
{
	side->iommu = iommu;
	side->model = model;
	for (unsigned i = 0; i < PAGES; i++)
		side->page[i] = fixture_page(s, i + 1);
	for (unsigned i = 0; i < DOMAINS; i++) {
		side->d[i] = domain_create(iommu);
		REQUIRE(side->d[i]);
		for (unsigned k = 0; k < DEVICES && !model; k++) {
			struct dma_own *own = &lsi_at(k)->engine.own;

			REQUIRE(!domain_map(side->d[i], own->bus, own->pa,
					    own->len, IO_RW));
		}
	}
}

static void all_out(struct side *s, unsigned a, unsigned b, unsigned c)
{
	for (unsigned dev = 0; dev < DEVICES; dev++)
		if (x.in[dev] != DOMAINS)
			do_detach(s, dev, x.in[dev], 0);
	for (unsigned i = 0; i < DOMAINS; i++)
		domain_destroy(s->d[i]);
}

static void differential_against_qemu(struct iommu_fixture *s)
{
	struct iommu *machine = iommu_machine();

	if (!machine || !lsi_at(0) || !lsi_at(1))
		SKIP("needs an IOMMU and both LSI chips");
	need_apart(machine, lsi_at(0)->engine.devid, lsi_at(1)->engine.devid);
	x = (struct differential){ .in = { DOMAINS, DOMAINS } };
	for (unsigned i = 0; i < LSI_MAX; i++)
		events_allow(lsi_at(i)->engine.devid);
	x.rng = rng_seed(test_seed());
	side_open(s, &x.side[0], machine, NULL);
	side_open(s, &x.side[1], s->iommu, s->model);
	for (unsigned dom = 0; dom < DOMAINS; dom++) {
		for (unsigned i = 0; i < SLOTS; i++)
			x.slot[dom][i].page = NONE;
		settled(dom, 0, SLOTS);
	}

	for (unsigned i = 0; i < OPERATIONS; i++)
		walk_one();

	each_side(all_out, 0, 0, 0);
	EXPECT(x.transfers > OPERATIONS / 4);
	EXPECT(x.hidden > 0);
	test_note("%lu transfers, in %lu QEMU hid what the model showed",
		  x.transfers, x.hidden);
}

FIXTURE_TEST(
	differential, against_qemu, model,
	"after each of 12,000 random operations QEMU's device reads what the "
	"model reads, or hides a stale entry that the model shows",
	1, 120);
