/* SPDX-License-Identifier: MIT */
/*
 * ppr.c - from log entry to answer
 *
 * Every group that has its last request is answered exactly once, whatever is
 * wrong with it: an unknown device or PASID gets INVALID, a reserved bit
 * FAILURE, and one that we cannot remember SUCCESS, which makes the device ask
 * again.  Errors stick: the worst request decides for its group (B53).
 *
 * No device takes more than its share: it holds PPR_DEVICE_MAX groups, works on
 * all workers but one if there are several, and the queue of devices turns.
 *
 * Locks: ppr->lock for everything; none is held while a fault is served or an
 * answer is queued.
 */
#include "iommu/ppr.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/pool.h"

static struct pool devices, bindings, groups;

void ppr_init(void)
{
	pool_init(&devices, "ppr device", sizeof(struct ppr_device));
	pool_init(&bindings, "ppr binding", sizeof(struct ppr_binding));
	pool_init(&groups, "ppr group", sizeof(struct ppr_group));
}

/* ---- answers ------------------------------------------------------------ */

static void answer(struct ppr *p, uint16_t devid, uint16_t tag,
		   enum ppr_status status)
{
	struct command c = command_complete_ppr_request(devid, tag, status);
	unsigned i = status == PPR_SUCCESS ? 0 : status == PPR_INVALID ? 1 : 2;

	PROBE(ppr_answer, (uint64_t)devid << 16 | tag, status);
	if (queue_run(&p->iommu->queue, &c, 1))
		return; /* the ring is dead, and has said so */
	spin_lock(&p->lock);
	p->stats.answers[i]++;
	spin_unlock(&p->lock);
}

/* ---- finding things; context: lock held --------------------------------- */

static struct ppr_device *device_of(struct ppr *p, uint16_t devid)
{
	struct ppr_device *d;

	TAILQ_FOREACH (d, &p->devices, link)
		if (d->devid == devid)
			return d;
	return NULL;
}

static struct ppr_binding *binding_of(struct ppr_device *d, uint32_t pasid)
{
	struct ppr_binding *b;

	LIST_FOREACH (b, &d->bindings, link)
		if (b->pasid == pasid)
			return b;
	return NULL;
}

static struct ppr_group *open_group(struct ppr_device *d, uint16_t tag)
{
	struct ppr_group *g;

	TAILQ_FOREACH (g, &d->open, link)
		if (g->tag == tag)
			return g;
	return NULL;
}

static void group_free(struct ppr_group *g)
{
	g->device->held--;
	pool_free(&groups, g);
}

/* ---- from the log -------------------------------------------------------- */

/* An entry, read once. */
struct parsed {
	uint16_t devid, tag;
	bool last, malformed;
	uint32_t pasid;
	struct ppr_request request;
};

static struct parsed parse(const struct log_entry *e)
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

	if (w & PPR0_GN)
		p.pasid = (uint32_t)(FIELD_GET(PPR0_PASID_LOW, w) |
				     FIELD_GET(PPR0_PASID_HIGH, w) << 16);
	return p;
}

static void worsen(struct ppr_group *g, enum ppr_status status)
{
	if (status > g->status)
		g->status = status;
}

/* Context: lock held.  NULL: no room, the device must ask again. */
static struct ppr_group *group_make(struct ppr_device *d,
				    const struct parsed *r)
{
	struct ppr_group *g;

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
	if (r->pasid != g->pasid)
		worsen(g, PPR_INVALID); /* a group is of one address space */
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
	struct ppr_device *d = device_of(p, r->devid);
	struct ppr_binding *b = d ? binding_of(d, r->pasid) : NULL;
	struct ppr_group *g;

	p->stats.requests++;
	p->stats.groups += r->last;
	g = d ? open_group(d, r->tag) : NULL;
	if (!g && (!b || b->dying)) {
		p->stats.unknown++;
		*status = r->malformed ? PPR_FAILURE : PPR_INVALID;
		return r->last;
	}
	if (!g)
		g = group_make(d, r);
	if (!g) {
		p->stats.shed++;
		*status = PPR_SUCCESS;
		return r->last;
	}
	group_add(p, g, r);
	if (!r->last)
		return false;
	TAILQ_REMOVE(&d->open, g, link);
	g->binding = binding_of(d, g->pasid);
	if (!g->binding || g->binding->dying) {
		*status = g->status > PPR_INVALID ? g->status : PPR_INVALID;
		group_free(g);
		return true;
	}
	g->binding->pending++;
	TAILQ_INSERT_TAIL(&d->ready, g, link);
	return false;
}

static void on_request(const struct log_entry *entry, void *arg)
{
	struct ppr *p = arg;
	struct parsed r = parse(entry);
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
		answer(p, r.devid, r.tag, status);
	else if (r.last)
		wake_all(&p->wake);
}

/* Requests were lost: whose last is missing will never be complete (B58). */
static void on_lost(void *arg)
{
	struct ppr *p = arg;
	struct ppr_device *d;

	spin_lock(&p->lock);
	TAILQ_FOREACH (d, &p->devices, link) {
		struct ppr_group *g;

		while ((g = TAILQ_FIRST(&d->open))) {
			TAILQ_REMOVE(&d->open, g, link);
			group_free(g);
			p->stats.dropped++;
		}
	}
	spin_unlock(&p->lock);
}

/* ---- workers ------------------------------------------------------------- */

/* The next group in turn, taken for work; NULL if there is none. */
static struct ppr_group *group_take(struct ppr *p)
{
	unsigned share = p->n_workers > 1 ? p->n_workers - 1 : 1;
	struct ppr_group *g = NULL;
	struct ppr_device *d;

	spin_lock(&p->lock);
	TAILQ_FOREACH (d, &p->devices, link) {
		if (d->working >= share)
			continue;
		g = TAILQ_FIRST(&d->ready);
		if (!g)
			continue;
		TAILQ_REMOVE(&d->ready, g, link);
		d->working++;
		/* The next time it is somebody else's turn. */
		TAILQ_REMOVE(&p->devices, d, link);
		TAILQ_INSERT_TAIL(&p->devices, d, link);
		break;
	}
	spin_unlock(&p->lock);
	return g;
}

static void group_serve(struct ppr *p, struct ppr_group *g)
{
	struct ppr_binding *b = g->binding;
	uint16_t devid = g->device->devid;

	for (unsigned i = 0; i < g->n && g->status == PPR_SUCCESS; i++) {
		const struct ppr_request *r = &g->request[i];

		if (READ_ONCE(b->dying)) {
			worsen(g, PPR_INVALID);
			break;
		}
		PROBE(ppr_fault, r->va, r->access);
		worsen(g, b->fault(b->arg, r->va, r->access));
	}
	answer(p, devid, g->tag, g->status);
	spin_lock(&p->lock);
	g->device->working--;
	b->pending--;
	group_free(g);
	spin_unlock(&p->lock);
	wake_all(&p->wake);
}

static void worker(void *arg)
{
	struct ppr *p = arg;
	struct ppr_group *g;

	for (;;) {
		g = NULL;
		wait_event(&p->wake,
			   (g = group_take(p)) || READ_ONCE(p->stopping));
		if (!g)
			return;
		group_serve(p, g);
	}
}

/* ---- life ---------------------------------------------------------------- */

int ppr_start(struct ppr *p, struct iommu *iommu)
{
	*p = (struct ppr){ .iommu = iommu };
	spin_init(&p->lock, RANK_PPR, "ppr");
	TAILQ_INIT(&p->devices);
	waitq_init(&p->wake);
	while (p->n_workers < PPR_WORKERS && p->n_workers < cpu_count() + 1) {
		struct thread *t = thread_create("ppr", worker, p);

		if (!t) {
			ppr_stop(p);
			return err(ENOMEM);
		}
		p->workers[p->n_workers++] = t;
	}
	iommu_set_handlers(iommu, NULL, on_request, on_lost, p);
	return 0;
}

void ppr_stop(struct ppr *p)
{
	assert(TAILQ_EMPTY(&p->devices));
	iommu_set_handlers(p->iommu, NULL, NULL, NULL, NULL);
	iommu_settle(p->iommu); /* the worker of the log has left us */
	WRITE_ONCE(p->stopping, true);
	wake_all(&p->wake);
	while (p->n_workers)
		thread_join(p->workers[--p->n_workers]);
}

/* Context: lock held. */
static struct ppr_device *device_make(struct ppr *p, uint16_t devid)
{
	struct ppr_device *d = pool_alloc(&devices);

	if (!d)
		return NULL;
	d->devid = devid;
	TAILQ_INIT(&d->open);
	TAILQ_INIT(&d->ready);
	LIST_INIT(&d->bindings);
	TAILQ_INSERT_TAIL(&p->devices, d, link);
	return d;
}

/* The last binding has gone.  Context: lock held; nothing is ready. */
static void device_drop(struct ppr *p, struct ppr_device *d)
{
	struct ppr_group *g;

	assert(TAILQ_EMPTY(&d->ready) && !d->working);
	while ((g = TAILQ_FIRST(&d->open))) {
		TAILQ_REMOVE(&d->open, g, link);
		group_free(g);
	}
	assert(!d->held);
	TAILQ_REMOVE(&p->devices, d, link);
	pool_free(&devices, d);
}

int ppr_bind(struct ppr *p, uint16_t devid, uint32_t pasid, ppr_fault_fn *fault,
	     void *arg, struct ppr_binding **out)
{
	struct ppr_binding *b = pool_alloc(&bindings);
	struct ppr_device *d;
	int error = 0;

	if (!b)
		return err(ENOMEM);
	*b = (struct ppr_binding){ .pasid = pasid, .fault = fault, .arg = arg };
	spin_lock(&p->lock);
	d = device_of(p, devid);
	if (d && binding_of(d, pasid))
		error = err(EBUSY);
	else if (!d && !(d = device_make(p, devid)))
		error = err(ENOMEM);
	if (!error) {
		b->device = d;
		LIST_INSERT_HEAD(&d->bindings, b, link);
	}
	spin_unlock(&p->lock);
	if (error)
		pool_free(&bindings, b);
	else
		*out = b;
	return error;
}

void ppr_unbind(struct ppr *p, struct ppr_binding *b)
{
	struct ppr_device *d = b->device;

	spin_lock(&p->lock);
	b->dying = true;
	spin_unlock(&p->lock);
	wait_event(&p->wake, !READ_ONCE(b->pending));
	/* Whoever brought pending to 0 has left the lock when we have it. */
	spin_lock(&p->lock);
	LIST_REMOVE(b, link);
	if (LIST_EMPTY(&d->bindings))
		device_drop(p, d);
	spin_unlock(&p->lock);
	pool_free(&bindings, b);
}

struct ppr_stats ppr_stats(struct ppr *p)
{
	struct ppr_stats s;

	spin_lock(&p->lock);
	s = p->stats;
	spin_unlock(&p->lock);
	return s;
}
