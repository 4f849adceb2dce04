/* SPDX-License-Identifier: MIT */
/*
 * ppr.c - from a group of page requests to its answer
 *
 *   ready ──a worker takes it──► in work ──fault function, page by page──►
 *       answered ──► free
 *
 * No device takes more than its share: it holds PPR_DEVICE_MAX groups, works on
 * all workers but one if there are several, and the queue of devices turns.
 *
 * Who is bound is told to go by `dying`: no fault is begun after it, and unbind
 * waits for `pending`, the groups that were whole before.
 *
 * Locks: ppr->lock for everything; none is held while a fault is served or an
 * answer is queued.
 */
#include "iommu/ppr_priv.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/pool.h"

static struct pool devices, bindings;

void ppr_init(void)
{
	pool_init(&devices, "ppr device", sizeof(struct ppr_device));
	pool_init(&bindings, "ppr binding", sizeof(struct ppr_binding));
	ppr_log_init();
}

/* ---- answers ------------------------------------------------------------ */

void ppr_answer(struct ppr *p, uint16_t devid, uint32_t pasid, uint16_t tag,
		enum ppr_status status)
{
	struct command c =
		command_complete_ppr_request(devid, pasid, tag, status);
	unsigned i = status == PPR_SUCCESS ? 0 : status == PPR_INVALID ? 1 : 2;

	PROBE(ppr_answer, (uint64_t)devid << 16 | tag, status);
	if (queue_run(&p->iommu->queue, &c, 1))
		return; /* the ring is dead, and has said so */
	spin_lock(&p->lock);
	p->stats.answers[i]++;
	spin_unlock(&p->lock);
}

/* ---- finding things; context: lock held --------------------------------- */

struct ppr_device *ppr_device_of(struct ppr *p, uint16_t devid)
{
	struct ppr_device *d;

	TAILQ_FOREACH (d, &p->devices, link)
		if (d->devid == devid)
			return d;
	return NULL;
}

struct ppr_binding *ppr_binding_of(struct ppr_device *d, uint32_t pasid)
{
	struct ppr_binding *b;

	LIST_FOREACH (b, &d->bindings, link)
		if (b->pasid == pasid)
			return b;
	return NULL;
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
		PROBE(ppr_take, d->devid, g->tag);
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
			g->status = PPR_INVALID;
			break;
		}
		PROBE(ppr_fault, r->va, r->access);
		g->status = b->fault(b->arg, r->va, r->access);
	}
	ppr_answer(p, devid, g->pasid, g->tag, g->status);
	spin_lock(&p->lock);
	g->device->working--;
	b->pending--;
	ppr_group_free(g);
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
	iommu_set_handlers(iommu, NULL, ppr_on_request, ppr_on_lost, p);
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
	assert(TAILQ_EMPTY(&d->ready) && !d->working);
	ppr_drop_open(p, d, PPR_ANY_PASID);
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
	d = ppr_device_of(p, devid);
	if (d && ppr_binding_of(d, pasid))
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
	ppr_drop_open(p, d, b->pasid); /* not for who is next */
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
