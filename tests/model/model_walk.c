/* SPDX-License-Identifier: MIT */
/*
 * model_walk.c - from a device's address to memory, and what is cached
 *
 *   devid ─► DTE (cached until INVALIDATE_DEVTAB_ENTRY)
 *              │ domain, root, levels, rights
 *              ▼
 *   iova ──► IOTLB ──miss──► deepest cached directory, or the root
 *                                 │ one entry a level, rights ANDed
 *                                 ▼
 *                               leaf: into the IOTLB
 *
 * The IOTLB holds the rights of the levels.  The DTE's IR and IW are ANDed at
 * each use, because devices that share a domain need not share rights.
 *
 * v1 entries (48882, 2.2.3): 0 PR, 11:9 NextLevel, 51:12 address, 61 IR, 62 IW;
 * reserved: 58:52 of a leaf, 60:52 of a directory.  NextLevel 7: the leaf's
 * size is in its address, by the lowest zero bit from bit 12 up.
 */
#include "kernel/probe.h"
#include "mm/frame/page.h"
#include "tests/model/model_priv.h"

#define PTE_PRESENT    BIT(0)
#define PTE_NEXT       GENMASK(11, 9)
#define PTE_MAY_R      BIT(61)
#define PTE_MAY_W      BIT(62)
#define LEAF_ZERO      GENMASK(58, 52)
#define DIRECTORY_ZERO GENMASK(60, 52)

/* ---- memory ------------------------------------------------------------ */

bool ram_at(pa_t pa)
{
	pfn_t pfn = pa >> PAGE_SHIFT;
	va_t image = pa + KERNEL_BASE;

	if (image >= (va_t)dma_start && image < (va_t)dma_end)
		return true; /* the part of the image that is for devices */
	return pfn < frames_end && page_kind(&frames[pfn]) != PAGE_RESERVED;
}

bool ram_is_free(pa_t pa)
{
	return page_is_free(page_of_pa(pa));
}

/* Acquire: what a CPU stored before this word is visible to later reads. */
bool ram_read(pa_t pa, uint64_t *out)
{
	if (!ram_at(pa))
		return false;
	*out = __atomic_load_n((uint64_t *)phys_to_virt(pa), __ATOMIC_ACQUIRE);
	return true;
}

bool ram_write(pa_t pa, uint64_t v)
{
	if (!ram_at(pa))
		return false;
	__atomic_store_n((uint64_t *)phys_to_virt(pa), v, __ATOMIC_RELEASE);
	return true;
}

/* ---- the device table -------------------------------------------------- */

bool dte_read(struct model *m, uint16_t devid, uint64_t w[4])
{
	pa_t at = (m->dev_table & BASE_ADDRESS) + 32u * devid;

	for (unsigned i = 0; i < 4; i++)
		if (!ram_read(at + 8 * i, &w[i]))
			return false;
	return true;
}

static struct cached_dte *dte_cached(struct model *m, uint16_t devid)
{
	for (unsigned i = 0; i < m->dte_live; i++)
		if (m->dtes[i].devid == devid)
			return &m->dtes[i];
	return NULL;
}

bool dte_allows_tlb(struct model *m, uint16_t devid)
{
	const struct cached_dte *d = dte_cached(m, devid);
	uint64_t w[4];

	if (!d && !dte_read(m, devid, w))
		return false;
	return (d ? d->w[0] : w[0]) & DTE0_VALID &&
	       (d ? d->w[1] : w[1]) & DTE1_TLB;
}

void dte_drop(struct model *m, uint16_t devid)
{
	struct cached_dte *d = dte_cached(m, devid);

	if (d) {
		*d = m->dtes[--m->dte_live];
		m->stats.dropped_dtes++;
	}
}

static struct cached_dte *dte_room(struct model *m)
{
	if (m->dte_live < m->dte_size)
		return &m->dtes[m->dte_live++];
	return &m->dtes[rng_below(&m->rng, m->dte_size)];
}

static uint64_t access_bits(enum access a)
{
	return (a == ACCESS_WRITE ? EV_WRITE : 0) |
	       (a == ACCESS_ATS ? EV_TRANSLATION : 0);
}

struct cached_dte *dte_get(struct model *m, uint16_t devid, enum access a)
{
	struct cached_dte *d = dte_cached(m, devid);
	uint64_t units = FIELD_GET(DEV_TABLE_SIZE, m->dev_table) + 1, w[4];

	if (d) {
		m->stats.dte_hits++;
		return d;
	}
	if (32u * devid >= units * PAGE_SIZE) {
		event_log(m, EVENT(EV_ILLEGAL_DTE, devid) | access_bits(a), 0);
		return NULL;
	}
	if (!dte_read(m, devid, w)) {
		event_log(m, EVENT(EV_DEV_TAB_HW, devid) | access_bits(a),
			  (m->dev_table & BASE_ADDRESS) + 32u * devid);
		return NULL;
	}
	d = dte_room(m);
	*d = (struct cached_dte){ { w[0], w[1], w[2], w[3] }, devid, false };
	m->stats.dte_reads++;
	return d;
}

/* Check a valid DTE for illegal values; logs the event. */
static bool dte_illegal(struct model *m, const struct cached_dte *d,
			uint64_t iova, enum access a)
{
	unsigned levels = (unsigned)FIELD_GET(DTE0_LEVELS, d->w[0]);
	unsigned most = 4 + (unsigned)FIELD_GET(EFR_HATS, m->efr);
	uint64_t zero = DTE0_ZERO | (m->efr & EFR_GT ? 0 : DTE0_GUEST);
	uint64_t ev = EVENT(EV_ILLEGAL_DTE, d->devid) | access_bits(a);

	if (d->w[0] & zero) {
		event_log(m, ev | EV_RESERVED, iova);
		return true;
	}
	if ((d->w[0] & DTE0_TVALID) && levels > most) {
		event_log(m, ev, iova);
		return true;
	}
	return false;
}

/* ---- the page walk ----------------------------------------------------- */

/* Return log2 of the bytes that one entry of a level n table covers. */
static unsigned span(unsigned level)
{
	return 12 + 9 * (level - 1);
}

static uint64_t entry_rights(uint64_t e)
{
	return (e & PTE_MAY_R ? MAY_READ : 0) | (e & PTE_MAY_W ? MAY_WRITE : 0);
}

/* Decode a leaf found at `level`: its size and page go to w. */
static enum walk_end leaf(uint64_t e, unsigned level, uint64_t rights,
			  struct walk *w)
{
	uint64_t page = e & VALUE_PAGE;
	unsigned shift = span(level);

	if (e & LEAF_ZERO)
		return WALK_RESERVED;
	if (FIELD_GET(PTE_NEXT, e) == 7) {
		shift = 13 + (unsigned)__builtin_ctzll(~(page >> 12));
		if (shift < span(level) || shift >= span(level + 1))
			return WALK_RESERVED;
		page &= ~GENMASK(shift - 1, 0);
	}
	if (page & (BIT(shift) - 1))
		return WALK_RESERVED;
	w->shift = (uint8_t)shift;
	w->value = page | (rights & entry_rights(e));
	return WALK_LEAF;
}

/*
 * Walk down from the level n table at w->table[n].  Records every table passed
 * in w->table; counts the reads in *count unless it is NULL.
 */
static enum walk_end descend(uint64_t iova, unsigned level, struct walk *w,
			     struct model_stats *count)
{
	for (;;) {
		pa_t table = w->table[level] & VALUE_PAGE;
		uint64_t rights = w->table[level] & MAY, e;
		unsigned next;

		w->at = table + (iova >> span(level)) % 512 * 8;
		if (!ram_read(w->at, &e))
			return WALK_NO_RAM;
		if (count) {
			count->walk_reads[level]++;
			count->walk_freed += ram_is_free(table);
		}
		if (!(e & PTE_PRESENT))
			return WALK_ABSENT;
		next = (unsigned)FIELD_GET(PTE_NEXT, e);
		if (!next || next == 7)
			return leaf(e, level, rights, w);
		if (next >= level || (e & DIRECTORY_ZERO))
			return WALK_RESERVED;
		/* For skipped levels the address bits must be zero. */
		if (iova >> span(next + 1) & (BIT(9 * (level - next - 1)) - 1))
			return WALK_ABSENT;
		w->table[next] = (e & VALUE_PAGE) | (rights & entry_rights(e));
		level = next;
	}
}

/*
 * Start at the root.  Returns the number of levels, 0 if the address lies above
 * them.
 */
static unsigned start_at_root(const uint64_t dte[4], uint64_t iova,
			      struct walk *w)
{
	unsigned levels = (unsigned)FIELD_GET(DTE0_LEVELS, dte[0]);

	*w = (struct walk){ 0 };
	if (levels > 6 || (levels < 6 && iova >> span(levels + 1)))
		return 0;
	w->table[levels] = (dte[0] & DTE0_TABLE) | MAY;
	return levels;
}

enum walk_end walk_plain(const uint64_t dte[4], uint64_t iova, struct walk *w)
{
	unsigned levels = start_at_root(dte, iova, w);

	return levels ? descend(iova, levels, w, NULL) : WALK_ABSENT;
}

/* The same with the directory cache, which caches the tables passed. */
static enum walk_end walk_cached(struct model *m, const uint64_t dte[4],
				 uint64_t iova, struct walk *w)
{
	unsigned levels = start_at_root(dte, iova, w), from = levels;
	uint16_t domain = dte_domain(dte);
	enum walk_end end;

	if (!levels)
		return WALK_ABSENT;
	m->stats.walks++;
	for (unsigned n = 1; n < levels; n++) {
		const struct cached *e =
			cache_find(&m->directories, domain, iova, span(n + 1));

		if (!e)
			continue;
		m->stats.directory_hits++;
		w->table[n] = e->value;
		from = n;
		break;
	}
	end = descend(iova, from, w, &m->stats);
	for (unsigned n = from - 1; n; n--)
		if (w->table[n])
			cache_insert(&m->directories, &m->rng, domain, iova,
				     span(n + 1), w->table[n]);
	return end;
}

/* ---- one request ------------------------------------------------------- */

/* Report an I/O page fault; logs the event unless the DTE suppresses it. */
static struct translation fault(struct model *m, struct cached_dte *d,
				uint64_t iova, enum access a, uint64_t bits)
{
	if (a == ACCESS_ATS)
		return (struct translation){ .verdict = MODEL_REQUEST };
	if ((d->w[1] & DTE1_NONE) || ((d->w[1] & DTE1_ONE) && d->faulted))
		m->stats.events_suppressed++;
	else
		event_log(m,
			  EVENT(EV_PAGE_FAULT, d->devid) | access_bits(a) |
				  EV_DOMAIN(dte_domain(d->w)) | bits,
			  iova);
	d->faulted = true;
	return (struct translation){ .verdict = MODEL_FAULT };
}

/* Check the rights of a translation that was found. */
static struct translation granted(struct model *m, struct cached_dte *d,
				  uint64_t iova, enum access a, uint64_t value,
				  unsigned shift)
{
	uint64_t rights = value & dte_rights(d->w) & MAY;

	if (value & IS_ABSENT)
		return fault(m, d, iova, a, 0);
	if ((rights & a) != a || !rights)
		return fault(m, d, iova, a, EV_PRESENT | EV_RIGHTS);
	return (struct translation){
		.verdict = MODEL_DONE,
		.pa = (value & VALUE_PAGE) | (iova & (BIT(shift) - 1)),
		.shift = shift,
		.rights = rights,
	};
}

/* Insert the result of a walk into the IOTLB, in the size that is cached. */
static void keep(struct model *m, uint16_t domain, uint64_t iova,
		 struct walk *w)
{
	uint64_t skipped = iova & (BIT(w->shift) - 1) & PAGE_MASK;

	if (m->config.split) {
		w->value += skipped;
		w->shift = PAGE_SHIFT;
	}
	cache_insert(&m->iotlb, &m->rng, domain, iova, w->shift, w->value);
}

static struct translation walk_for(struct model *m, struct cached_dte *d,
				   uint64_t iova, enum access a)
{
	uint16_t domain = dte_domain(d->w);
	struct walk w;

	switch (walk_cached(m, d->w, iova, &w)) {
	case WALK_LEAF:
		PROBE(model_fill, iova, w.value);
		keep(m, domain, iova, &w);
		return granted(m, d, iova, a, w.value, w.shift);
	case WALK_RESERVED:
		return fault(m, d, iova, a, EV_PRESENT | EV_RESERVED);
	case WALK_NO_RAM:
		event_log(m,
			  EVENT(EV_PAGE_TAB_HW, d->devid) | access_bits(a) |
				  EV_DOMAIN(domain),
			  w.at);
		return (struct translation){ .verdict = MODEL_ABORT };
	case WALK_ABSENT:
		break;
	}
	if (m->config.negative)
		cache_insert(&m->iotlb, &m->rng, domain, iova, PAGE_SHIFT,
			     IS_ABSENT);
	return fault(m, d, iova, a, 0);
}

/* Translate one page to itself. */
static struct translation identity(uint64_t iova)
{
	return (struct translation){ MODEL_DONE, iova, PAGE_SHIFT, MAY };
}

/* Mode 0: no table, only the DTE's rights. */
static struct translation untranslated(struct model *m, struct cached_dte *d,
				       uint64_t iova, enum access a)
{
	struct translation t = granted(m, d, 0, a, MAY, PAGE_SHIFT);

	t.pa = iova;
	return t;
}

/* Return whether the exclusion range lets the device pass.  48882, 3.4.1. */
static bool excluded(const struct model *m, const struct cached_dte *d,
		     uint64_t iova)
{
	uint64_t page = iova & PAGE_MASK;

	return m->exclusion & EXCLUSION_ON &&
	       page >= (m->exclusion & BASE_ADDRESS) &&
	       page <= (m->exclusion_last & BASE_ADDRESS) &&
	       (m->exclusion & EXCLUSION_ALL || d->w[1] & DTE1_EXCLUDED);
}

struct translation translate(struct model *m, uint16_t devid, uint64_t iova,
			     enum access a)
{
	struct translation abort = { .verdict = MODEL_ABORT };
	const struct cached *hit;
	struct cached_dte *d;

	if (!(m->control & CONTROL_IOMMU_EN))
		return a == ACCESS_ATS ? abort : identity(iova);
	d = dte_get(m, devid, a);
	if (!d)
		return abort;
	if (a == ACCESS_ATS &&
	    (!(d->w[0] & DTE0_VALID) || !(d->w[1] & DTE1_TLB))) {
		event_log(m, EVENT(EV_BAD_REQUEST, devid) | EV_TRANSLATION,
			  iova);
		return abort;
	}
	if (!(d->w[0] & DTE0_VALID) || excluded(m, d, iova))
		return identity(iova);
	if (dte_illegal(m, d, iova, a))
		return abort;
	if (!(d->w[0] & DTE0_TVALID))
		return fault(m, d, iova, a, 0);
	if (!(d->w[0] & DTE0_LEVELS))
		return untranslated(m, d, iova, a);
	hit = cache_lookup(&m->iotlb, dte_domain(d->w), iova);
	if (hit) {
		m->stats.hits++;
		return granted(m, d, iova, a, hit->value, hit->shift);
	}
	m->stats.misses++;
	return walk_for(m, d, iova, a);
}
