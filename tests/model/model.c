/* SPDX-License-Identifier: MIT */
/*
 * model.c - creation and destruction, the lock, time
 */
#include "tests/model/model.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/frame/pmm.h"
#include "tests/model/model_priv.h"

static SLIST_HEAD(, model) models = SLIST_HEAD_INITIALIZER(models);
static struct spinlock models_lock = SPINLOCK_INIT(RANK_MODEL, "models");

/* ---- creation ---------------------------------------------------------- */

static unsigned size_of(unsigned wanted, unsigned most)
{
	unsigned size = 1;

	if (!wanted || wanted >= most)
		return most;
	while (size * 2 <= wanted)
		size *= 2;
	return size;
}

struct model *model_create(const struct model_config *config)
{
	unsigned iotlb = size_of(config->iotlb, IOTLB_MAX);
	unsigned directories = size_of(config->directories, DIRECTORY_MAX);
	size_t bytes = sizeof(struct model) + cache_bytes(iotlb) +
		       cache_bytes(directories) + cache_bytes(DEVICE_MAX);
	unsigned order = 0;
	struct page *page;
	struct model *m;
	uint64_t flags;
	void *p;

	while (PAGE_SIZE << order < bytes)
		order++;
	page = pages_alloc(order);
	if (!page)
		return NULL;
	m = page_va(page);
	memset(m, 0, PAGE_SIZE << order);
	spin_init(&m->lock, RANK_MODEL, config->name);
	m->order = order;
	m->config = *config;
	m->efr = config->efr ? config->efr : MODEL_EFR;
	m->rng = rng_seed(config->seed);
	m->dte_size = size_of(config->dtes, DTE_MAX);
	p = cache_init(&m->iotlb, m + 1, iotlb);
	p = cache_init(&m->directories, p, directories);
	m->directories.tables = true;
	m->iotlb.whole = config->whole;
	p = cache_init(&m->device_tlb, p, DEVICE_MAX);
	m->device_tlb.whole = config->whole;
	assert((char *)p <= (char *)m + (PAGE_SIZE << order));
	flags = spin_lock_irq(&models_lock);
	SLIST_INSERT_HEAD(&models, m, others);
	spin_unlock_irq(&models_lock, flags);
	return m;
}

void model_destroy(struct model *m)
{
	uint64_t flags = spin_lock_irq(&models_lock);

	SLIST_REMOVE(&models, m, model, others);
	spin_unlock_irq(&models_lock, flags);
	page_put(page_of_va(m));
}

/* ---- the lock ---------------------------------------------------------- */

uint64_t model_enter(struct model *m)
{
	return spin_lock_irq(&m->lock);
}

/* Take the next callback to make: the lowest interrupt, else an answer. */
static bool next_call(struct model *m, struct ppr_answer *a, uint64_t *bit)
{
	*bit = m->raise & -m->raise;
	m->raise &= ~*bit;
	m->stats.interrupts += *bit != 0;
	if (*bit)
		return true;
	if (!m->in_answers)
		return false;
	*a = m->answers[0];
	m->in_answers--;
	memmove(m->answers, m->answers + 1, m->in_answers * sizeof(*a));
	return true;
}

void model_leave(struct model *m, uint64_t flags)
{
	struct ppr_answer a = { 0 };
	uint64_t bit;

	while (next_call(m, &a, &bit)) {
		spin_unlock_irq(&m->lock, flags);
		if (!bit)
			m->config.answer(m->config.ctx, a.devid, a.tag,
					 a.status);
		else if (m->config.interrupt)
			m->config.interrupt(m->config.ctx, bit);
		flags = spin_lock_irq(&m->lock);
		doorbell(m); /* there is room for answers again */
	}
	spin_unlock_irq(&m->lock, flags);
}

void complain(struct model *m, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintk(m->complaint, sizeof(m->complaint), fmt, args);
	va_end(args);
	m->complained = true;
	m->stats.complaints++;
}

/* ---- time -------------------------------------------------------------- */

static void do_all(struct model *m)
{
	do
		cmd_fetch(m);
	while (cmd_do_first(m));
}

/* Do everything up to and including the next COMPLETION_WAIT. */
static void do_segment(struct model *m)
{
	bool last;

	do {
		last = cmd_at_wait(m);
		if (!cmd_do_first(m))
			return;
		cmd_fetch(m);
	} while (!last);
}

void step(struct model *m)
{
	m->stats.steps++;
	late_arrive(m, false);
	if (m->config.mode == MODEL_STOPPED)
		return;
	if (m->config.mode == MODEL_IMMEDIATE) {
		do_all(m);
		return;
	}
	cmd_fetch(m);
	if (!m->in_queue) {
		m->waited = 0;
		return;
	}
	if (m->waited < m->config.delay) {
		m->waited++;
		return;
	}
	m->waited = 0;
	if (m->config.mode == MODEL_DELAYED)
		do_segment(m);
	else
		cmd_do_any(m);
}

void doorbell(struct model *m)
{
	if (m->config.mode == MODEL_IMMEDIATE)
		do_all(m);
}

void model_set_mode(struct model *m, enum model_mode mode, unsigned delay)
{
	uint64_t flags = model_enter(m);

	m->config.mode = mode;
	m->config.delay = delay;
	m->waited = 0;
	doorbell(m);
	model_leave(m, flags);
}

void model_step(struct model *m, unsigned n)
{
	for (; n; n--) {
		uint64_t flags = model_enter(m);

		step(m);
		model_leave(m, flags);
	}
}

/*
 * Return whether nothing is fetched, nothing can be fetched, and no record is
 * late.
 */
static bool idle(struct model *m)
{
	return !m->in_queue && !m->in_late &&
	       (!cmd_running(m) || m->cmd.head == m->cmd.tail);
}

bool model_drain(struct model *m, unsigned limit)
{
	for (;;) {
		uint64_t flags = model_enter(m);
		bool done = idle(m);

		if (!done && limit)
			step(m);
		model_leave(m, flags);
		if (done || !limit--)
			return done;
	}
}

void model_set_log_delay(struct model *m, unsigned delay)
{
	uint64_t flags = model_enter(m);

	m->log_delay = delay;
	if (!delay)
		late_arrive(m, true);
	model_leave(m, flags);
}

void model_log_event(struct model *m, uint64_t w0, uint64_t w1)
{
	uint64_t flags = model_enter(m);

	event_log(m, w0, w1);
	model_leave(m, flags);
}

/* ---- the port ---------------------------------------------------------- */

static uint64_t port_read(void *ctx, unsigned reg)
{
	struct model *m = ctx;
	uint64_t flags = model_enter(m), value = regs_read(m, reg);

	model_leave(m, flags);
	return value;
}

static void port_write(void *ctx, unsigned reg, uint64_t value)
{
	struct model *m = ctx;
	uint64_t flags = model_enter(m);

	regs_write(m, reg, value);
	model_leave(m, flags);
}

struct iommu_port model_port(struct model *m)
{
	/* It is late by steps, not by time: waiting for nothing should be short. */
	return (struct iommu_port){ .name = m->config.name,
				    .read = port_read,
				    .write = port_write,
				    .ctx = m,
				    .visible_ns = IOMMU_VISIBLE_NS / 10 };
}

bool model_any_names(pa_t page, char *text, size_t len)
{
	bool found = false;
	struct model *m;
	uint64_t flags;

	if (!READ_ONCE(SLIST_FIRST(&models)))
		return false; /* most pages are freed while there is no model */
	flags = spin_lock_irq(&models_lock);
	SLIST_FOREACH (m, &models, others) {
		spin_lock_nested(&m->lock);
		found = names_frame(m, page, text, len) ||
			names_table(m, page, text, len) ||
			names_irte(m, page, text, len) ||
			names_own(m, page, text, len);
		spin_unlock(&m->lock);
		if (found)
			break;
	}
	spin_unlock_irq(&models_lock, flags);
	return found;
}
