/* SPDX-License-Identifier: MIT */
/*
 * ppr.c - from a group of page requests to its answer
 *
 *   ready ──a thread takes it──► in work ──fault function, run by run──►
 *       answered ──► free
 *
 * The threads are the IOMMU's (iommu/core/threads.c), one more than groups may be in
 * work.  A device cannot take more than its share: it has PPR_DEVICE_MAX groups at most,
 * all of those in work but one, and the devices are served in turn.
 *
 * Unbind sets `dying`, after which no fault is begun for the binding, and waits
 * until `pending`, the number of its groups that are ready or in work, is 0.
 *
 * Locks: ppr->lock for everything.  No lock is held while a fault is served or an
 * answer is queued.
 */
#include "iommu/sva/ppr_priv.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "mm/frame/pool.h"

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

	require(locks_below(RANK_PPR));
	PROBE(ppr_answer, (uint64_t)devid << 16 | tag, status);
	if (queue_run(&p->iommu->queue, &c, 1))
		return; /* the ring is broken, and was dumped */
	spin_lock(&p->lock);
	p->stats.answers[i]++;
	spin_unlock(&p->lock);
}

/* ---- groups in work ------------------------------------------------------- */

/* Choose the next ready group, NULL if none may be taken, and give the next turn to
 * another device.  Context: p->lock held. */
static struct ppr_group *group_next(struct ppr *p)
{
	struct ppr_device *d;
	struct ppr_group *g;

	require(spin_held(&p->lock));
	TAILQ_FOREACH (d, &p->devices, link) {
		if (d->working >= p->share)
			continue;
		g = TAILQ_FIRST(&d->ready);
		if (!g)
			continue;
		TAILQ_REMOVE(&p->devices, d, link);
		TAILQ_INSERT_TAIL(&p->devices, d, link);
		return g;
	}
	return NULL;
}

/* Take the next ready group into work; NULL if no group may be taken. */
static void *group_take(struct iommu_work *work)
{
	struct ppr *p = container_of(work, struct ppr, work);
	struct ppr_group *g;

	spin_lock(&p->lock);
	g = p->working < p->most ? group_next(p) : NULL;
	if (g) {
		TAILQ_REMOVE(&g->device->ready, g, link);
		g->device->working++;
		p->working++;
		atomic_fetch_sub(&work->ready, 1);
		PROBE(ppr_take, g->device->devid, g->tag);
	}
	spin_unlock(&p->lock);
	return g;
}

/*
 * Return how many requests from r on, of at most n, are a run: for pages that follow one
 * another, with the same access.  The last page of all addresses ends a run.
 */
static unsigned run_of(const struct ppr_request *r, unsigned n)
{
	unsigned i = 1;

	while (i < n && r[i].w == r[i - 1].w + PAGE_SIZE && request_va(r[i]))
		i++;
	return i;
}

/* Call the fault function for each run of the group, and answer the group. */
static void group_serve(struct iommu_work *work, void *piece)
{
	struct ppr *p = container_of(work, struct ppr, work);
	struct ppr_group *g = piece;
	struct ppr_binding *b = g->binding;
	uint16_t devid = g->device->devid;
	bool waited_for;
	unsigned n;

	for (unsigned i = 0; i < g->n && g->status == PPR_SUCCESS; i += n) {
		const struct ppr_request *r = &g->request[i];

		if (READ_ONCE(b->dying)) {
			g->status = PPR_INVALID;
			break;
		}
		n = run_of(r, g->n - i);
		PROBE(ppr_fault, request_va(*r), request_access(*r));
		g->status =
			b->fault(b->arg, request_va(*r), n, request_access(*r));
	}
	ppr_answer(p, devid, g->pasid, g->tag, g->status);
	spin_lock(&p->lock);
	g->device->working--;
	p->working--;
	WRITE_ONCE(b->pending, b->pending - 1);
	waited_for = b->dying && !b->pending;
	ppr_group_free(g);
	spin_unlock(&p->lock);
	if (waited_for)
		wake_all(&p->idle);
}

/* ---- life ---------------------------------------------------------------- */

int ppr_start(struct ppr *p, struct iommu *iommu)
{
	unsigned most =
		cpu_count() < PPR_WORKING ? cpu_count() + 1 : PPR_WORKING;
	int error;

	require(may_sleep());
	*p = (struct ppr){ .iommu = iommu,
			   .work = { .take = group_take, .run = group_serve },
			   .most = most };
	spin_init(&p->lock, RANK_PPR, "ppr");
	TAILQ_INIT(&p->devices);
	waitq_init(&p->idle);
	p->share = most - 1; /* one is left for the other devices */
	error = iommu_threads_add(iommu, most, &p->work);
	if (!error)
		iommu_set_handlers(iommu, NULL, ppr_on_request, ppr_on_lost, p);
	return error;
}

void ppr_stop(struct ppr *p)
{
	require(may_sleep());
	assert(TAILQ_EMPTY(&p->devices));
	iommu_set_handlers(p->iommu, NULL, NULL, NULL, NULL);
	iommu_settle(p->iommu); /* no handler of ours still runs */
	iommu_threads_remove(p->iommu, 1);
}

/* Make a device without bindings; NULL: no memory.  Context: p->lock held. */
static struct ppr_device *device_make(struct ppr *p, uint16_t devid)
{
	struct ppr_device *d;

	require(spin_held(&p->lock));
	d = pool_alloc(&devices);
	if (!d)
		return NULL;
	d->ppr = p;
	d->devid = devid;
	TAILQ_INIT(&d->open);
	TAILQ_INIT(&d->ready);
	LIST_INIT(&d->bindings);
	TAILQ_INSERT_TAIL(&p->devices, d, link);
	return d;
}

/* Free a device without bindings.  Context: p->lock held; no group is ready. */
static void device_drop(struct ppr *p, struct ppr_device *d)
{
	require(spin_held(&p->lock));
	assert(TAILQ_EMPTY(&d->ready) && !d->working);
	ppr_drop_open(p, d, PPR_ANY_PASID);
	assert(!d->held);
	TAILQ_REMOVE(&p->devices, d, link);
	pool_free(&devices, d);
}

int ppr_bind(struct ppr *p, uint16_t devid, uint32_t pasid, ppr_fault_fn *fault,
	     void *arg, struct ppr_binding **out)
{
	struct ppr_binding *b;
	struct ppr_device *d;
	int error = 0;

	require(locks_below(RANK_PPR));
	b = pool_alloc(&bindings);
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

	require(may_sleep());
	spin_lock(&p->lock);
	WRITE_ONCE(b->dying, true);
	spin_unlock(&p->lock);
	wait_event(&p->idle, !READ_ONCE(b->pending));
	/* The thread that set pending to 0 has released the lock when we hold it. */
	spin_lock(&p->lock);
	LIST_REMOVE(b, link);
	ppr_drop_open(p, d, b->pasid); /* not for the next process */
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
