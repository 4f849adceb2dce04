/* SPDX-License-Identifier: MIT */
/*
 * ppr_log.c - page requests into groups
 *
 *   nothing ──first request──► open ──last──► ready (ppr.c)
 *                               │ └─ not bound: INVALID, at once
 *                               └─ entries were lost, its process was unbound,
 *                                  or it is the oldest and there is no room:
 *                                  dropped
 *
 * Every group that has its last request is answered exactly once: with INVALID
 * for an unknown device or PASID, FAILURE for a reserved bit, and SUCCESS, which
 * makes the device ask again, for a group that cannot be stored.  The worst
 * request decides for its group (B53).
 *
 * An entry is parsed from a copy, and every field is checked.
 */
#include "iommu/sva/ppr_priv.h"
#include "kernel/probe.h"
#include "mm/frame/pool.h"

static struct pool groups;

void ppr_log_init(void)
{
	pool_init(&groups, "ppr group", sizeof(struct ppr_group));
}

void ppr_group_free(struct ppr_group *g)
{
	require(spin_held(&g->device->ppr->lock));
	g->device->held--;
	pool_free(&groups, g);
}

static void group_drop(struct ppr *p, struct ppr_group *g)
{
	TAILQ_REMOVE(&g->device->open, g, link);
	p->stats.dropped++;
	ppr_group_free(g);
}

void ppr_drop_open(struct ppr *p, struct ppr_device *d, uint32_t pasid)
{
	struct ppr_group *g, *next;

	require(spin_held(&p->lock));
	TAILQ_FOREACH_SAFE (g, &d->open, link, next)
		if (pasid == PPR_ANY_PASID || g->pasid == pasid)
			group_drop(p, g);
}

static struct ppr_group *open_group(struct ppr_device *d, uint16_t tag)
{
	struct ppr_group *g;

	TAILQ_FOREACH (g, &d->open, link)
		if (g->tag == tag)
			return g;
	return NULL;
}

/* ---- from the log -------------------------------------------------------- */

/* The fields of an entry. */
struct parsed {
	uint16_t devid, tag;
	bool last, malformed;
	uint32_t pasid;
	struct ppr_request request;
};

static struct parsed parse(const struct log_entry *e, bool pasids)
{
	uint64_t w = e->w[0];
	unsigned access = (w & PPR0_READ ? PROT_R : 0) |
			  (w & PPR0_WRITE ? PROT_W : 0) |
			  (w & PPR0_EXEC ? PROT_X : 0);
	struct parsed p = {
		.devid = (uint16_t)FIELD_GET(PPR0_DEVID, w),
		.tag = (uint16_t)FIELD_GET(PPR0_TAG, w),
		.last = w & PPR0_LAST,
		.malformed = w & PPR0_RESERVED,
		.pasid = PPR_NO_PASID,
		.request = { (e->w[1] & LOG1_PAGE) | access },
	};

	/* Without guest tables the answer's command has no PASID. */
	if ((w & PPR0_GN) && !pasids)
		p.malformed = true;
	else if (w & PPR0_GN)
		p.pasid = request_pasid(e);
	return p;
}

static void worsen(struct ppr_group *g, enum ppr_status status)
{
	if (status > g->status)
		g->status = status;
}

/*
 * Make a group for the request's tag; NULL: no room, the device must ask again.
 * The oldest open group is dropped if the device has PPR_DEVICE_MAX: otherwise
 * groups whose last request never comes would fill its share for ever.
 * Context: p->lock held.
 */
static struct ppr_group *group_make(struct ppr *p, struct ppr_device *d,
				    const struct parsed *r)
{
	struct ppr_group *g = TAILQ_FIRST(&d->open);

	require(spin_held(&p->lock));
	if (d->held >= PPR_DEVICE_MAX && g)
		group_drop(p, g);
	if (d->held >= PPR_DEVICE_MAX)
		return NULL;
	g = pool_alloc(&groups);
	if (!g)
		return NULL;
	g->device = d;
	g->tag = r->tag;
	g->pasid = r->pasid;
	g->status = PPR_SUCCESS;
	d->held++;
	TAILQ_INSERT_TAIL(&d->open, g, link);
	return g;
}

/* Add a request to its group.  Context: p->lock held. */
static void group_add(struct ppr *p, struct ppr_group *g,
		      const struct parsed *r)
{
	require(spin_held(&p->lock));
	if (r->malformed) {
		p->stats.malformed++;
		worsen(g, PPR_FAILURE);
	}
	if (r->pasid != g->pasid) {
		/* A group has one PASID; the answer names the last one (B51). */
		worsen(g, PPR_INVALID);
		g->pasid = r->pasid;
	}
	if (g->n == PPR_GROUP_MAX)
		p->stats.shed++; /* answered with the others, asked again */
	else
		g->request[g->n++] = r->request;
}

/*
 * Add the request to its group, and make a complete group ready.  Returns true if
 * *status must be answered at once, because no fault function will see the group.
 * Context: p->lock held.
 */
static bool request_take(struct ppr *p, const struct parsed *r,
			 enum ppr_status *status)
{
	struct ppr_device *d = ppr_device_of(p, r->devid);
	struct ppr_binding *b = d ? ppr_binding_of(d, r->pasid) : NULL;
	struct ppr_group *g;

	require(spin_held(&p->lock));
	p->stats.requests++;
	p->stats.groups += r->last;
	g = d ? open_group(d, r->tag) : NULL;
	if (!g && !b) {
		p->stats.unknown++;
		*status = r->malformed ? PPR_FAILURE : PPR_INVALID;
		return r->last;
	}
	if (!g)
		g = group_make(p, d, r);
	if (!g) {
		p->stats.shed++;
		*status = PPR_SUCCESS;
		return r->last;
	}
	group_add(p, g, r);
	if (!r->last)
		return false;
	TAILQ_REMOVE(&d->open, g, link);
	if (!b || b->dying) {
		*status = g->status > PPR_INVALID ? g->status : PPR_INVALID;
		ppr_group_free(g);
		return true;
	}
	g->binding = b; /* of the last request, as the group's PASID is */
	WRITE_ONCE(b->pending, b->pending + 1);
	TAILQ_INSERT_TAIL(&d->ready, g, link);
	atomic_fetch_add(&p->work.ready, 1);
	return false;
}

void ppr_on_request(const struct log_entry *entry, void *arg)
{
	struct ppr *p = arg;
	struct parsed r = parse(entry, p->iommu->efr & EFR_GT);
	enum ppr_status status;
	bool now;

	spin_lock(&p->lock);
	if (FIELD_GET(LOG0_TYPE, entry->w[0]) != PPR_FAULT) {
		p->stats.malformed++; /* no field has a known meaning */
		spin_unlock(&p->lock);
		return;
	}
	now = request_take(p, &r, &status);
	spin_unlock(&p->lock);
	if (now)
		ppr_answer(p, r.devid, r.pasid, r.tag, status);
	else if (r.last && atomic_load(&p->work.ready) > 1)
		iommu_wake(p->iommu); /* the first is this thread's own */
}

/* Drop all open groups: after a loss their last request may never come (B58). */
void ppr_on_lost(void *arg)
{
	struct ppr *p = arg;
	struct ppr_device *d;

	spin_lock(&p->lock);
	TAILQ_FOREACH (d, &p->devices, link)
		ppr_drop_open(p, d, PPR_ANY_PASID);
	spin_unlock(&p->lock);
}
