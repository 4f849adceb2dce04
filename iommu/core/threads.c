/* SPDX-License-Identifier: MIT */
/*
 * threads.c - the threads of an IOMMU: they read its logs, and do what that brings
 *
 *   interrupt ── kick ──► one of them wakes
 *                           │ reads both logs: one thread at a time
 *                           │ does a piece of work: all threads but one
 *                           ▼
 *                         finds nothing: sleeps
 *
 * All are alike, and each looks for the logs first.  So an entry is handled, and what
 * it brings is done, by the thread that the interrupt has woken; and since one thread
 * is never at work (struct iommu_work), no work keeps the logs from being read.
 *
 * No work waits without a thread: one that has found something to do wakes another if
 * there is more.  A wake-up that reaches a thread which is about to do something else
 * is passed on in this way.
 */
#include "iommu/core/iommu.h"
#include "kernel/err.h"
#include "kernel/panic.h"
#include "kernel/probe.h"

/* ---- entries ----------------------------------------------------------- */

void iommu_handle_event(const struct log_entry *entry, void *arg)
{
	struct iommu *iommu = arg;
	log_handler *fn = READ_ONCE(iommu->on_event);

	PROBE(iommu_event, entry->w[0], entry->w[1]);
	if (fn)
		fn(entry, READ_ONCE(iommu->on_arg));
}

/*
 * No handler is set: a request that wants an answer is INVALID.  An IOMMU without
 * guest tables takes no PASID in the answer.
 */
static void request_refuse(struct iommu *iommu, const struct log_entry *entry)
{
	uint64_t w = entry->w[0];
	struct command c = command_complete_ppr_request(
		(uint16_t)FIELD_GET(PPR0_DEVID, w),
		iommu->efr & EFR_GT ? request_pasid(entry) : PPR_NO_PASID,
		(uint16_t)FIELD_GET(PPR0_TAG, w), PPR_INVALID);

	if (!(w & PPR0_LAST) || FIELD_GET(LOG0_TYPE, w) != PPR_FAULT)
		return;
	if (queue_run(&iommu->queue, &c, 1))
		PROBE(ppr_lost, entry->w[0], entry->w[1]);
}

void iommu_handle_request(const struct log_entry *entry, void *arg)
{
	struct iommu *iommu = arg;
	log_handler *fn = READ_ONCE(iommu->on_request);

	if (fn)
		fn(entry, READ_ONCE(iommu->on_arg));
	else
		request_refuse(iommu, entry);
}

void iommu_requests_lost(void *arg)
{
	struct iommu *iommu = arg;
	void (*fn)(void *arg) = READ_ONCE(iommu->on_lost);

	if (fn)
		fn(READ_ONCE(iommu->on_arg));
}

void iommu_set_handlers(struct iommu *iommu, log_handler *event,
			log_handler *request, void (*lost)(void *arg),
			void *arg)
{
	/* A thread may call them at once: their argument first. */
	if (arg)
		WRITE_ONCE(iommu->on_arg, arg);
	barrier();
	WRITE_ONCE(iommu->on_event, event);
	WRITE_ONCE(iommu->on_request, request);
	WRITE_ONCE(iommu->on_lost, lost);
}

/* ---- reading ----------------------------------------------------------- */

#define LOGS_PENDING                                                 \
	(STATUS_EVENT_INT | STATUS_EVENT_OVERFLOW | STATUS_PPR_INT | \
	 STATUS_PPR_OVERFLOW)

static bool to_be_read(struct iommu *iommu)
{
	return atomic_load(&iommu->kicks) != atomic_load(&iommu->drained);
}

/* Become the one that reads the logs, if they are to be read. */
static bool read_begin(struct iommu *iommu)
{
	return to_be_read(iommu) && !atomic_exchange(&iommu->reading, true);
}

/* Read each log once: neither starves the other.  Returns whether to go on. */
static bool read_once(struct iommu *iommu)
{
	uint64_t status;
	unsigned n;

	rw_write_lock(&iommu->drain);
	status = reg_read(&iommu->port, REG_STATUS);
	n = log_drain(&iommu->events, status);
	n += log_drain(&iommu->requests, status);
	rw_write_unlock(&iommu->drain);
	return n && atomic_load(&iommu->n_threads);
}

/*
 * Read the logs until STATUS says that they are empty.  An IOMMU may set a bit again
 * while it is being cleared, and not interrupt (Linux: erratum 1312).
 */
static void read_logs(struct iommu *iommu)
{
	bool more;

	do {
		unsigned seen = atomic_load(&iommu->kicks);

		more = read_once(iommu);
		atomic_store(&iommu->drained, seen);
		if (atomic_load(&iommu->settling))
			wake_all(&iommu->settled);
	} while (more && reg_read(&iommu->port, REG_STATUS) & LOGS_PENDING);
	atomic_store(&iommu->reading, false);
}

void iommu_wake(struct iommu *iommu)
{
	wake_one(&iommu->wake);
}

void iommu_kick(struct iommu *iommu)
{
	atomic_fetch_add(&iommu->kicks, 1);
	iommu_wake(iommu);
}

void iommu_settle(struct iommu *iommu)
{
	unsigned mine;

	require(may_sleep());
	/* First: the thread that sets `drained` after this sees it. */
	atomic_fetch_add(&iommu->settling, 1);
	mine = atomic_fetch_add(&iommu->kicks, 1) + 1;
	wake_one(&iommu->wake);
	wait_event(&iommu->settled,
		   (int)(atomic_load(&iommu->drained) - mine) >= 0);
	atomic_fetch_sub(&iommu->settling, 1);
}

/* ---- threads ----------------------------------------------------------- */

/* What a thread has found to do. */
struct found {
	bool read;
	struct iommu_work *work;
	void *piece;
};

static bool is_to_end(const struct iommu_thread *t)
{
	return (unsigned)(t - t->iommu->threads) >=
	       atomic_load(&t->iommu->n_threads);
}

/* Find something to do, or the end.  Context: about to sleep. */
static bool find(struct iommu_thread *t, struct found *f)
{
	struct iommu *iommu = t->iommu;

	if (is_to_end(t))
		return true;
	f->read = read_begin(iommu);
	if (f->read)
		return true;
	f->work = READ_ONCE(iommu->work);
	if (f->work && atomic_load(&f->work->ready))
		f->piece = f->work->take(f->work);
	return f->piece;
}

/* Wake another thread if there is something to do that this one does not do. */
static void pass_on(struct iommu *iommu)
{
	struct iommu_work *work = READ_ONCE(iommu->work);

	if ((to_be_read(iommu) && !atomic_load(&iommu->reading)) ||
	    (work && atomic_load(&work->ready)))
		wake_one(&iommu->wake);
}

static void iommu_thread(void *arg)
{
	struct iommu_thread *t = arg;

	for (;;) {
		struct found f = { 0 };

		if (!find(t, &f)) /* what it has just read, mostly */
			wait_event(&t->iommu->wake, find(t, &f));
		if (!f.read && !f.piece)
			return;
		pass_on(t->iommu);
		if (f.read)
			read_logs(t->iommu);
		else
			f.work->run(f.work, f.piece);
	}
}

void iommu_threads_init(struct iommu *iommu)
{
	waitq_init(&iommu->wake);
	waitq_init(&iommu->settled);
}

int iommu_threads_add(struct iommu *iommu, unsigned n, struct iommu_work *work)
{
	unsigned first = atomic_load(&iommu->n_threads);

	require(may_sleep());
	assert(first + n <= IOMMU_THREADS && !iommu->work);
	for (unsigned i = first; i < first + n; i++) {
		struct iommu_thread *t = &iommu->threads[i];

		t->iommu = iommu;
		atomic_store(&iommu->n_threads, i + 1);
		t->thread = thread_create("iommu", iommu_thread, t);
		if (!t->thread) {
			atomic_store(&iommu->n_threads, i);
			iommu_threads_remove(iommu, first);
			return err(ENOMEM);
		}
	}
	WRITE_ONCE(iommu->work, work);
	return 0;
}

void iommu_threads_remove(struct iommu *iommu, unsigned left)
{
	unsigned n = atomic_load(&iommu->n_threads);

	require(may_sleep());
	assert(left <= 1);
	WRITE_ONCE(iommu->work, NULL);
	atomic_store(&iommu->n_threads, left);
	wake_all(&iommu->wake);
	while (n > left) {
		thread_join(iommu->threads[--n].thread);
		WRITE_ONCE(iommu->threads[n].thread, NULL);
	}
	if (!left)
		return;
	wake_all(&iommu->wake); /* what a thread did not pass on at its end */
	iommu_settle(iommu);    /* the others have left the work's functions */
}

bool iommu_is_thread(const struct iommu *iommu, const struct thread *thread)
{
	for (unsigned i = 0; i < IOMMU_THREADS; i++)
		if (READ_ONCE(iommu->threads[i].thread) == thread)
			return true;
	return false;
}
