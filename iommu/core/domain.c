/* SPDX-License-Identifier: MIT */
/*
 * domain.c - map, unmap, attach, each with the flush that it needs
 *
 *    unmap:   clear entries -> unhook empty tables -> queue the flush |lock
 *             wait for its completion -> free the tables              |no lock
 *
 * A hole that becomes a page is flushed only if the hardware says that it caches
 * entries that are not present (NpCache: emulators say so, QEMU too).  Every other
 * change is flushed, also a right that is gained.
 *
 * Locks: iommu->lock (attach, detach) > domain->lock (tables, members) > ring.
 */
#include "iommu/core/domain_priv.h"
#include "iommu/core/flush.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/frame/pool.h"
#include "mm/pt/pt_amdv1.h"
#include "mm/pt/pt_large.h"

static struct pool domains;

void domain_init(void)
{
	pool_init(&domains, "domain", sizeof(struct domain));
	attach_init();
}

/* ---- ids --------------------------------------------------------------- */

/* Take a free id, 0 if there is none: id 0 is the deny entry's.
 * Context: iommu->lock held to write. */
static unsigned id_take(struct iommu *iommu)
{
	require(rw_held_write(&iommu->lock));
	for (unsigned i = 1; i < DOMAIN_IDS; i++) {
		unsigned id = (iommu->id_hint + i) % DOMAIN_IDS;

		if (!id || iommu->ids[id / 64] & BIT(id % 64))
			continue;
		if (id & iommu->bad_ids)
			continue;
		iommu->ids[id / 64] |= BIT(id % 64);
		iommu->id_hint = id;
		return id;
	}
	return 0;
}

static void id_give(struct iommu *iommu, unsigned id)
{
	rw_write_lock(&iommu->lock);
	iommu->ids[id / 64] &= ~BIT(id % 64);
	rw_write_unlock(&iommu->lock);
}

/* Make a domain with an id and without a tree.  Context: may sleep. */
static struct domain *domain_make(struct iommu *iommu)
{
	struct domain *d;

	require(may_sleep());
	d = pool_alloc(&domains);
	if (!d)
		return NULL;
	d->iommu = iommu;
	spin_init(&d->lock, RANK_DOMAIN, "domain");
	LIST_INIT(&d->members);
	rw_write_lock(&iommu->lock);
	d->id = (uint16_t)id_take(iommu);
	rw_write_unlock(&iommu->lock);
	if (d->id)
		return d;
	pool_free(&domains, d);
	return NULL;
}

struct domain *domain_create(struct iommu *iommu)
{
	struct domain *d;

	require(may_sleep());
	d = domain_make(iommu);
	if (!d || !pt_init(&d->pt, &pt_amdv1, DOMAIN_LEVELS, 0,
			   pt_span(DOMAIN_LEVELS), NULL))
		return d;
	id_give(iommu, d->id);
	pool_free(&domains, d);
	return NULL;
}

struct domain *domain_create_shared(struct iommu *iommu, uint64_t *root,
				    uint64_t top)
{
	struct domain *d = domain_make(iommu);

	assert(top <= pt_span(DOMAIN_LEVELS_MAX));
	if (!d)
		return NULL;
	d->shared = true;
	/* The tree is the mm's; the format is the one that its members read. */
	d->pt = (struct pt){ .format = &pt_amdv1,
			     .root = root,
			     .levels = DOMAIN_LEVELS_MAX,
			     .top = top };
	return d;
}

/* ---- tables ------------------------------------------------------------ */

static void table_collect(struct page *table, void *arg)
{
	struct page **list = arg;

	table->mapping.next = *list;
	*list = table;
}

/* Free tables that no walk can reach any more: after the flush. */
static void tables_free(struct page *list)
{
	while (list) {
		struct page *table = list;

		list = table->mapping.next;
		table->mapping.next = NULL;
		PROBE(table_free, 0, page_pa(table));
		page_put(table);
	}
}

/* ---- mapping ----------------------------------------------------------- */

/*
 * Add a level at the top of the tree.  The new root leads to the old one, so a
 * member whose device table entry is still cached translates as before.  Addresses
 * above are used only after the entries of all members name the new root (H53).
 * Context: domain->lock held.
 */
static int grow(struct domain *d)
{
	struct attachment *a;
	int error;

	require(spin_held(&d->lock));
	error = pt_grow(&d->pt);
	if (error)
		return error;
	/* The tree is not grown twice: each entry is stored, also after an error. */
	LIST_FOREACH (a, &d->members, member) {
		int lost = iommu_set_dte(d->iommu, a->devid, domain_dte(d, a),
					 d->id, true);

		error = error ? error : lost;
	}
	return error;
}

/* Do domain_map_sg(): len is the sum of the lengths, and mixed all bits of the addresses
 * and lengths.  Inline: domain_map() is 20 instructions cheaper for it. */
static always_inline int map(struct domain *d, iova_t iova,
			     const struct segment *sg, unsigned n, uint64_t len,
			     uint64_t mixed, enum prot prot)
{
	struct flush f;
	int error;

	require(locks_below(RANK_DOMAIN));
	flush_none(&f);
	if (!len || !IS_ALIGNED(iova | mixed, PAGE_SIZE) || iova + len < iova ||
	    iova + len > pt_span(DOMAIN_LEVELS_MAX) ||
	    !(prot & (PROT_R | PROT_W)))
		return err(EINVAL);
	assert(!d->shared);
	spin_lock(&d->lock);
	/*
	 * Another thread may be waiting in domain_unmap().  Until its flush is
	 * done, a member may find the old page instead of the new one, or walk a
	 * table that is already unhooked.
	 */
	error = queue_wait(&d->iommu->queue, d->cleared);
	while (!error && iova + len > d->pt.top)
		error = grow(d);
	if (!error)
		error = n == 1 ? pt_map(&d->pt, iova, sg->pa, len, prot, true)
			       : pt_map_sg(&d->pt, iova, sg, len, prot, true);
	PROBE(domain_map, iova, sg->pa);
	if (!error && d->iommu->np_cache)
		error = flush_submit(d, iova, iova + len, true, &f);
	spin_unlock(&d->lock);
	return error ? error : flush_wait(d, &f, false);
}

int domain_map(struct domain *d, iova_t iova, pa_t pa, uint64_t len,
	       enum prot prot)
{
	struct segment all = { pa, len };

	return map(d, iova, &all, 1, len, pa | len, prot);
}

int domain_map_sg(struct domain *d, iova_t iova, const struct segment *sg,
		  unsigned n, enum prot prot)
{
	uint64_t len = 0, mixed = 0;

	for (unsigned i = 0; i < n; i++) {
		mixed |= sg[i].pa | sg[i].len;
		len += sg[i].len;
		if (!sg[i].len || len < sg[i].len)
			return err(EINVAL);
	}
	return map(d, iova, sg, n, len, mixed, prot);
}

/* Addresses to flush. */
struct span {
	iova_t start, end;
};

/*
 * Split the 2 MiB leaf that reaches across the address `at`, if there is one.  Its
 * translation may be cached as one, and a flush of a part need not drop that: all of it
 * is to be flushed then (C82).
 */
static int edge_split(struct domain *d, iova_t at, struct span *flush)
{
	iova_t start = ALIGN_DOWN(at, pt_span(1));
	uint64_t tables = d->pt.tables;
	int error;

	if (at >= d->pt.top || at == start)
		return 0;
	error = pt_split(&d->pt, at);
	if (d->pt.tables == tables)
		return error;
	if (start < flush->start)
		flush->start = start;
	if (start + pt_span(1) > flush->end)
		flush->end = start + pt_span(1); //: whole-leaf-flushed
	return 0;
}

/*
 * Split the leaves that [start, end) cuts.  Returns 0, and in *flush what is to be
 * flushed with a change of the range; -ENOMEM: then one of them may be split, and is
 * flushed.  Context: d->lock held.
 */
static int edges_split(struct domain *d, iova_t start, iova_t end,
		       struct span *flush)
{
	int error, flushed;

	require(spin_held(&d->lock));
	*flush = (struct span){ start, end };
	error = edge_split(d, start, flush);
	if (!error)
		error = edge_split(d, end, flush);
	if (!error || flush->start == start)
		return error;
	flushed = flush_locked(d, flush->start, flush->end, true);
	return flushed ? flushed : error;
}

/*
 * Clear [start, end).  Returns 0, in *flush what is to be flushed, and in *table the only
 * table with a cleared entry, NULL if there may be more; or an error of edges_split().
 * Context: d->lock held.
 */
static int clear(struct domain *d, iova_t start, iova_t end, struct span *flush,
		 struct page **table)
{
	int error;

	require(spin_held(&d->lock));
	*flush = (struct span){ start, end };
	*table = pt_unmap_one(&d->pt, start, end);
	if (*table)
		return 0;
	error = edges_split(d, start, end, flush);
	return error ? error : pt_unmap(&d->pt, start, end);
}

int domain_unmap(struct domain *d, iova_t start, iova_t end)
{
	struct page *tables = NULL, *table;
	struct span all;
	struct flush f;
	int error;

	require(locks_below(RANK_DOMAIN));
	if (start >= end || !IS_ALIGNED(start | end, PAGE_SIZE))
		return err(EINVAL);
	assert(!d->shared);
	spin_lock(&d->lock);
	if (end > d->pt.top)
		end = d->pt.top;
	if (start >= end) {
		spin_unlock(&d->lock);
		return 0; /* nothing was ever mapped there */
	}
	error = clear(d, start, end, &all, &table);
	if (!error) {
		PROBE(domain_clear, start, end);
		if (!table || !pt_live(table))
			pt_prune(&d->pt, start, end, table_collect, &tables);
		error = flush_submit(d, all.start, all.end, tables, &f);
	}
	if (!error)
		d->cleared = f.seq;
	spin_unlock(&d->lock);
	PROBE(domain_wait, start, end);
	if (!error)
		error = flush_wait(d, &f, false);
	if (!error)
		tables_free(tables);
	return error;
}

/* Give every leaf in [start, end) the rights prot.  Context: domain->lock held. */
static void protect_entries(struct domain *d, iova_t start, iova_t end,
			    enum prot prot)
{
	const struct pt_format *f = d->pt.format;
	struct pt_run run;

	require(spin_held(&d->lock));
	for (iova_t at = start; pt_next_run(&d->pt, &at, end, &run);)
		for (unsigned i = 0; i < run.count; i++) {
			uint64_t e = pte_read(&run.slots[i]);

			if (pt_kind(f, e, run.level) == PT_LEAF)
				pte_write(&run.slots[i],
					  f->leaf(pt_pa(e), prot, run.level));
		}
}

int domain_protect(struct domain *d, iova_t start, iova_t end, enum prot prot)
{
	struct span all;
	struct flush f;
	int error;

	require(locks_below(RANK_DOMAIN));
	if (start >= end || !IS_ALIGNED(start | end, PAGE_SIZE) ||
	    !(prot & (PROT_R | PROT_W)))
		return err(EINVAL);
	spin_lock(&d->lock);
	error = end > d->pt.top ? err(EINVAL)
				: edges_split(d, start, end, &all);
	if (!error) {
		protect_entries(d, start, end, prot);
		error = flush_submit(d, all.start, all.end, false, &f);
	}
	spin_unlock(&d->lock);
	return error ? error : flush_wait(d, &f, false);
}

int domain_split(struct domain *d, iova_t iova)
{
	iova_t start = ALIGN_DOWN(iova, pt_span(1));
	int error;

	require(locks_below(RANK_DOMAIN));
	spin_lock(&d->lock);
	error = iova < d->pt.top ? pt_split(&d->pt, iova) : err(EINVAL);
	if (!error)
		error = flush_locked(d, start, start + pt_span(1), true);
	spin_unlock(&d->lock);
	return error;
}

int domain_join(struct domain *d, iova_t iova)
{
	iova_t start = ALIGN_DOWN(iova, pt_span(1));
	struct page *table;
	int error;

	require(locks_below(RANK_DOMAIN));
	spin_lock(&d->lock);
	table = iova < d->pt.top ? pt_join(&d->pt, start) : NULL;
	error = table ? flush_locked(d, start, start + pt_span(1), true)
		      : err(EINVAL);
	spin_unlock(&d->lock);
	if (!error)
		page_put(table);
	return error;
}

bool domain_lookup(struct domain *d, iova_t iova, pa_t *pa, enum prot *prot)
{
	unsigned level;
	uint64_t e = 0;

	require(locks_below(RANK_DOMAIN));
	spin_lock(&d->lock);
	if (iova < d->pt.top)
		e = pte_read(pt_lookup(&d->pt, iova, 0, &level));
	spin_unlock(&d->lock);
	if (!e || pt_kind(d->pt.format, e, level) != PT_LEAF)
		return false;
	*pa = pt_pa(e) + (iova & (pt_span(level) - 1));
	*prot = d->pt.format->prot(e);
	return true;
}

/* ---- the end ----------------------------------------------------------- */

/* The last detach has flushed everything cached under the id and of the tables, so
 * the id may be used again (B55). */
void domain_destroy(struct domain *d)
{
	struct iommu *iommu = d->iommu;
	struct page *tables = NULL;
	unsigned id = d->id;
	int error;

	require(may_sleep());
	assert(LIST_EMPTY(&d->members));
	spin_lock(&d->lock);
	if (!d->shared) {
		error = pt_unmap(&d->pt, d->pt.bottom, d->pt.top);
		assert(!error);
		pt_destroy(&d->pt, table_collect, &tables);
	}
	spin_unlock(&d->lock);
	tables_free(tables);
	pool_free(&domains, d);
	id_give(iommu, id);
}
