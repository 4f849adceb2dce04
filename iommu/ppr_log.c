/* SPDX-License-Identifier: MIT */
/*
 * ppr_log.c - page requests into groups
 *
 *   nothing ──first request──► open ──last──► ready (ppr.c)
 *                               │ └─ nobody is bound: INVALID, at once
 *                               └─ entries were lost, its process went, or it
 *                                  is the oldest and there is no room: dropped
 *
 * Every group that has its last request is answered exactly once, whatever is
 * wrong with it: an unknown device or PASID gets INVALID, a reserved bit
 * FAILURE, and one that we cannot remember SUCCESS, which makes the device ask
 * again.  Errors stick: the worst request decides for its group (B53).
 *
 * An entry is parsed from a copy; nothing in it is believed.
 */
#include "iommu/ppr_priv.h"
#include "kernel/probe.h"
#include "mm/pool.h"

static struct pool groups;

void ppr_log_init(void)
{
	pool_init(&groups, "ppr group", sizeof(struct ppr_group));
}

void ppr_group_free(struct ppr_group *g)
{
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

/* An entry, read once. */
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
		.request = { e->w[1] & LOG1_PAGE, (enum prot)access },
	};

	/* Hardware without guest tables takes no PASID in the answer. */
	if ((w & PPR0_GN) && !pasids)
		p.malformed = true;
	else if (w & PPR0_GN)
		p.pasid = (uint32_t)(FIELD_GET(PPR0_PASID_LOW, w) |
				     FIELD_GET(PPR0_PASID_HIGH, w) << 16);
	return p;
}

static void worsen(struct ppr_group *g, enum ppr_status status)
{
	if (status > g->status)
		g->status = status;
}

/*
 * Groups that are never finished make way, or a device that forgets its last
 * requests would one day be served no more.
 *
 * Context: lock held.  NULL: no room, the device must ask again.
 */
static struct ppr_group *group_make(struct ppr *p, struct ppr_device *d,
				    const struct parsed *r)
{
	struct ppr_group *g = TAILQ_FIRST(&d->open);

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

/* Context: lock held. */
static void group_add(struct ppr *p, struct ppr_group *g,
		      const struct parsed *r)
{
	if (r->malformed) {
		p->stats.malformed++;
		worsen(g, PPR_FAILURE);
	}
	if (r->pasid != g->pasid) {
		/* A group is of one address space; who asked last is told. */
		worsen(g, PPR_INVALID);
		g->pasid = r->pasid;
	}
	if (g->n == PPR_GROUP_MAX)
		p->stats.shed++; /* answered with the others, asked again */
	else
		g->request[g->n++] = r->request;
}

/*
 * Put the request where it belongs.  Returns true if *status must be answered at
 * once, because nobody will ever work on it.  Context: lock held.
 */
static bool request_take(struct ppr *p, const struct parsed *r,
			 enum ppr_status *status)
{
	struct ppr_device *d = ppr_device_of(p, r->devid);
	struct ppr_binding *b = d ? ppr_binding_of(d, r->pasid) : NULL;
	struct ppr_group *g;

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
	g->binding = ppr_binding_of(d, g->pasid);
	if (!g->binding || g->binding->dying) {
		*status = g->status > PPR_INVALID ? g->status : PPR_INVALID;
		ppr_group_free(g);
		return true;
	}
	g->binding->pending++;
	TAILQ_INSERT_TAIL(&d->ready, g, link);
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
		p->stats.malformed++; /* nothing in it can be believed */
		spin_unlock(&p->lock);
		return;
	}
	now = request_take(p, &r, &status);
	spin_unlock(&p->lock);
	if (now)
		ppr_answer(p, r.devid, r.pasid, r.tag, status);
	else if (r.last)
		wake_all(&p->wake);
}

void ppr_refuse(struct iommu *iommu, const struct log_entry *entry)
{
	struct parsed r = parse(entry, iommu->efr & EFR_GT);
	struct command c = command_complete_ppr_request(r.devid, r.pasid, r.tag,
							PPR_INVALID);

	if (!r.last || FIELD_GET(LOG0_TYPE, entry->w[0]) != PPR_FAULT)
		return;
	if (queue_run(&iommu->queue, &c, 1))
		PROBE(ppr_lost, entry->w[0], entry->w[1]);
}

/* Requests were lost: whose last is missing will never be complete (B58). */
void ppr_on_lost(void *arg)
{
	struct ppr *p = arg;
	struct ppr_device *d;

	spin_lock(&p->lock);
	TAILQ_FOREACH (d, &p->devices, link)
		ppr_drop_open(p, d, PPR_ANY_PASID);
	spin_unlock(&p->lock);
}
