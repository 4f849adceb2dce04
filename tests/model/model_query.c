/* SPDX-License-Identifier: MIT */
/*
 * model_query.c - checks for tests: is a page still named, is the cache
 * coherent
 */
#include "kernel/printk.h"
#include "kernel/string.h"
#include "tests/model/model_priv.h"

/* ---- which cache names a page ------------------------------------------ */

/* Describe an entry; returns true. */
static bool describe(const struct model *m, const struct cached *e,
		     const char *cache, char *text, size_t len)
{
	snprintk(text, len, "%s: %s of %#x: %#lx (2^%u) -> %#lx %s%s",
		 m->config.name, cache, e->tag, e->base, e->shift,
		 e->value & VALUE_PAGE, e->value & MAY_READ ? "R" : "",
		 e->value & MAY_WRITE ? "W" : "");
	return true;
}

bool names_frame(struct model *m, pa_t frame, char *text, size_t len)
{
	const struct cached *e = cache_names(&m->iotlb, frame);

	if (e)
		return describe(m, e, "IOTLB", text, len);
	if (!cache_names(&m->device_tlb, frame))
		return false;
	for (e = NULL; (e = cache_next(&m->device_tlb, e));) {
		uint64_t pages = frame ^ (e->value & VALUE_PAGE);

		if (!(pages >> e->shift) && dte_allows_tlb(m, e->tag))
			return describe(m, e, "device TLB", text, len);
	}
	return false;
}

bool names_table(struct model *m, pa_t table, char *text, size_t len)
{
	const struct cached *e = cache_names(&m->directories, table);

	if (e)
		return describe(m, e, "directory", text, len);
	for (unsigned i = 0; i < m->dte_live; i++) {
		const struct cached_dte *d = &m->dtes[i];
		uint64_t both = DTE0_VALID | DTE0_TVALID;

		if (dte_has_irtes(m, d, ALIGN_DOWN(table, PAGE_SIZE))) {
			snprintk(text, len,
				 "%s: cached DTE of %#x: interrupts at %#lx",
				 m->config.name, d->devid, table);
			return true;
		}
		if ((d->w[0] & both) != both || !(d->w[0] & DTE0_LEVELS) ||
		    (d->w[0] & DTE0_TABLE) != ALIGN_DOWN(table, PAGE_SIZE))
			continue;
		snprintk(text, len, "%s: cached DTE of %#x: root %#lx",
			 m->config.name, d->devid, d->w[0] & DTE0_TABLE);
		return true;
	}
	return false;
}

bool names_irte(struct model *m, pa_t page, char *text, size_t len)
{
	for (unsigned i = 0; i < m->irte_live; i++) {
		const struct cached_irte *e = &m->irtes[i];

		if ((e->at ^ page) & PAGE_MASK)
			continue;
		snprintk(text, len, "%s: interrupt %#x of %#x, from %#lx",
			 m->config.name, e->index, e->devid, e->at);
		return true;
	}
	return false;
}

static bool in_ring(const struct log *l, pa_t page)
{
	return page - (l->base & BASE_ADDRESS) < ring_bytes(l->base);
}

bool names_own(struct model *m, pa_t page, char *text, size_t len)
{
	pa_t table = m->dev_table & BASE_ADDRESS;
	uint64_t units = FIELD_GET(DEV_TABLE_SIZE, m->dev_table) + 1;
	const char *what = NULL;

	page = ALIGN_DOWN(page, PAGE_SIZE);
	if (!(m->control & CONTROL_IOMMU_EN))
		return false;
	if (page - table < units * PAGE_SIZE)
		what = "the device table";
	if (cmd_stores_to(m, page))
		what = "where a COMPLETION_WAIT will store";
	if (cmd_running(m) && in_ring(&m->cmd, page))
		what = "the command ring";
	if (event_running(m) && in_ring(&m->event, page))
		what = "the event log";
	if (ppr_running(m) && in_ring(&m->ppr, page))
		what = "the page request log";
	if (what)
		snprintk(text, len, "%s: %#lx is %s", m->config.name, page,
			 what);
	return what != NULL;
}

bool model_names_frame(struct model *m, pa_t frame, char *text, size_t len)
{
	uint64_t flags = model_enter(m);
	bool found = names_frame(m, frame, text, len);

	model_leave(m, flags);
	return found;
}

bool model_names_table(struct model *m, pa_t table, char *text, size_t len)
{
	uint64_t flags = model_enter(m);
	bool found = names_table(m, table, text, len);

	model_leave(m, flags);
	return found;
}

/* ---- is everything coherent -------------------------------------------- */

/* Find a DTE in memory that translates for the domain. */
static bool dte_of_domain(struct model *m, uint16_t domain, uint64_t w[4])
{
	uint64_t devices = (FIELD_GET(DEV_TABLE_SIZE, m->dev_table) + 1) * 128;
	uint64_t both = DTE0_VALID | DTE0_TVALID;

	for (unsigned i = 0; i < m->dte_live; i++)
		if (dte_read(m, m->dtes[i].devid, w) && (w[0] & both) == both &&
		    dte_domain(w) == domain)
			return true;
	for (uint64_t i = 0; i < devices; i++)
		if (dte_read(m, (uint16_t)i, w) && (w[0] & both) == both &&
		    dte_domain(w) == domain)
			return true;
	return false;
}

/*
 * Return whether the tables below this DTE grant what the entry grants, for
 * every byte.
 */
static bool translation_true(const uint64_t dte[4], const struct cached *e)
{
	uint64_t at = 0, rights = e->value & MAY;

	if (!FIELD_GET(DTE0_LEVELS, dte[0]))
		return (e->value & VALUE_PAGE) == e->base;
	while (at < BIT(e->shift)) {
		struct walk w;
		enum walk_end end = walk_plain(dte, e->base + at, &w);
		uint64_t pa;

		if (e->value & IS_ABSENT)
			return end == WALK_ABSENT;
		if (end != WALK_LEAF || (rights & ~w.value))
			return false;
		pa = (w.value & VALUE_PAGE) +
		     ((e->base + at) & (BIT(w.shift) - 1));
		if (pa != (e->value & VALUE_PAGE) + at)
			return false;
		at += BIT(w.shift) - ((e->base + at) & (BIT(w.shift) - 1));
	}
	return true;
}

/* Return whether a walk still passes this table, with no fewer rights. */
static bool directory_true(const uint64_t dte[4], const struct cached *e)
{
	unsigned level = (e->shift - 12) / 9;
	struct walk w;

	walk_plain(dte, e->base, &w);
	return level < 7 && !((w.table[level] ^ e->value) & VALUE_PAGE) &&
	       !(e->value & MAY & ~w.table[level]);
}

static bool dtes_true(struct model *m, char *text, size_t len)
{
	for (unsigned i = 0; i < m->dte_live; i++) {
		const struct cached_dte *d = &m->dtes[i];
		uint64_t w[4];

		if (dte_read(m, d->devid, w) && !memcmp(w, d->w, sizeof(w)))
			continue;
		snprintk(text, len, "%s: cached DTE of %#x is stale",
			 m->config.name, d->devid);
		return false;
	}
	return true;
}

static bool irtes_true(struct model *m, char *text, size_t len)
{
	for (unsigned i = 0; i < m->irte_live; i++) {
		const struct cached_irte *e = &m->irtes[i];

		if (irte_true(m, e))
			continue;
		snprintk(text, len, "%s: stale interrupt %#x of %#x",
			 m->config.name, e->index, e->devid);
		return false;
	}
	return true;
}

static bool tagged_by_domain_true(struct model *m, struct cache *c, char *text,
				  size_t len)
{
	const struct cached *e = NULL;
	bool known = false;
	uint16_t domain = 0;
	uint64_t w[4];

	while ((e = cache_next(c, e))) {
		bool same;

		if (!known || domain != e->tag)
			known = dte_of_domain(m, e->tag, w);
		domain = e->tag;
		same = known && (c->tables ? directory_true(w, e)
					   : translation_true(w, e));
		if (!same)
			return !describe(m, e,
					 c->tables ? "stale directory"
						   : "stale IOTLB",
					 text, len);
	}
	return true;
}

static bool device_tlbs_true(struct model *m, char *text, size_t len)
{
	const struct cached *e = NULL;

	while ((e = cache_next(&m->device_tlb, e))) {
		uint64_t w[4], both = DTE0_VALID | DTE0_TVALID;

		if (!dte_allows_tlb(m, e->tag))
			continue;
		if (!dte_read(m, e->tag, w) || (w[0] & both) != both ||
		    !(w[1] & DTE1_TLB) || (e->value & MAY & ~dte_rights(w)) ||
		    !translation_true(w, e))
			return !describe(m, e, "stale device TLB", text, len);
	}
	return true;
}

bool model_coherent(struct model *m, char *text, size_t len)
{
	uint64_t flags = model_enter(m);
	bool good = dtes_true(m, text, len) && irtes_true(m, text, len) &&
		    tagged_by_domain_true(m, &m->directories, text, len) &&
		    tagged_by_domain_true(m, &m->iotlb, text, len) &&
		    device_tlbs_true(m, text, len);

	model_leave(m, flags);
	return good;
}

/* ---- looking ----------------------------------------------------------- */

static struct model_entry shown(const struct cached *e, bool device_tlb)
{
	return (struct model_entry){
		.device_tlb = device_tlb,
		.tag = e->tag,
		.shift = e->shift,
		.prot = e->value & MAY,
		.iova = e->base,
		.pa = e->value & VALUE_PAGE,
	};
}

bool model_lookup(struct model *m, bool device_tlb, uint16_t tag, iova_t iova,
		  struct model_entry *out)
{
	uint64_t flags = model_enter(m);
	struct cache *c = device_tlb ? &m->device_tlb : &m->iotlb;
	const struct cached *e = cache_lookup(c, tag, iova);
	bool found = e && !(e->value & IS_ABSENT);

	if (found && out)
		*out = shown(e, device_tlb);
	model_leave(m, flags);
	return found;
}

void model_each(struct model *m, void (*fn)(const struct model_entry *, void *),
		void *arg)
{
	bool mine = spin_held(&m->lock);
	uint64_t flags = mine ? 0 : spin_lock_irq(&m->lock);

	for (unsigned i = 0; i < 2; i++) {
		struct cache *c = i ? &m->device_tlb : &m->iotlb;
		const struct cached *e = NULL;

		while ((e = cache_next(c, e))) {
			struct model_entry entry = shown(e, i);

			if (!(e->value & IS_ABSENT))
				fn(&entry, arg);
		}
	}
	if (!mine)
		spin_unlock_irq(&m->lock, flags);
}

const char *model_complaint(struct model *m)
{
	uint64_t flags = model_enter(m);
	bool any = m->complained;

	m->complained = false;
	model_leave(m, flags);
	return any ? m->complaint : NULL;
}

void model_stats(struct model *m, struct model_stats *out)
{
	uint64_t flags = model_enter(m);

	*out = m->stats;
	model_leave(m, flags);
}

static void dump_ring(const char *name, const struct log *l)
{
	printk("  %s: base %#lx, %lu entries, head %#lx, tail %#lx%s\n", name,
	       l->base & BASE_ADDRESS, ring_bytes(l->base) / 16, l->head,
	       l->tail, l->stopped ? ", stopped" : "");
}

void model_dump(struct model *m)
{
	static const char *const modes[] = { "immediate", "delayed", "shuffled",
					     "stopped" };
	uint64_t flags = model_enter(m);
	const struct model_stats *s = &m->stats;

	printk("%s: %s, control %#lx, status %#lx, device table %#lx\n",
	       m->config.name, modes[m->config.mode], m->control, m->status,
	       m->dev_table);
	dump_ring("commands", &m->cmd);
	dump_ring("events", &m->event);
	dump_ring("requests", &m->ppr);
	printk("  %u commands fetched and not done; %lu steps\n", m->in_queue,
	       s->steps);
	for (unsigned i = 0; i < m->in_queue; i++)
		printk("    %lx %lx\n", m->queue[i].w[0], m->queue[i].w[1]);
	printk("  cached: %u translations, %u directories, %u in devices\n",
	       m->iotlb.live, m->directories.live, m->device_tlb.live);
	printk("  %lu hits, %lu misses, %lu walks; %lu bytes, %lu faults\n",
	       s->hits, s->misses, s->walks, s->dma_bytes, s->dma_faults);
	printk("  %lu events lost, %lu requests, %lu lost, %lu answers\n",
	       s->events_lost, s->pprs, s->pprs_lost, s->answers);
	printk("  %lu complaints%s%s\n", s->complaints,
	       s->complaints ? ", the last: " : "", m->complaint);
	model_leave(m, flags);
}
