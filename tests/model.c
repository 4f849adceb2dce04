/* SPDX-License-Identifier: MIT */
/*
 * model.c - a model's life, its lock and its time
 */
#include "tests/model.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "kernel/string.h"
#include "mm/pmm.h"
#include "tests/model_priv.h"

static SLIST_HEAD(, model) models = SLIST_HEAD_INITIALIZER(models);
static struct spinlock models_lock = SPINLOCK_INIT(RANK_MODEL, "models");

/* ---- life -------------------------------------------------------------- */

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
	p = cache_init(&m->device_tlb, p, DEVICE_MAX);
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

/* The next thing to tell: an answer, or the lowest interrupt. */
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

/* Up to and including the next COMPLETION_WAIT. */
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
	if (!m->in_window) {
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

/* Is there nothing fetched, nothing to fetch, and no record on its way? */
static bool idle(struct model *m)
{
	return !m->in_window && !m->in_late &&
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
	return (struct iommu_port){ .name = m->config.name,
				    .read = port_read,
				    .write = port_write,
				    .ctx = m };
}

bool model_any_names(pa_t page, char *words, size_t len)
{
	bool found = false;
	struct model *m;
	uint64_t flags;

	if (!READ_ONCE(SLIST_FIRST(&models)))
		return false; /* most pages are freed with no model about */
	flags = spin_lock_irq(&models_lock);
	SLIST_FOREACH (m, &models, others) {
		spin_lock_nested(&m->lock);
		found = names_frame(m, page, words, len) ||
			names_table(m, page, words, len) ||
			names_own(m, page, words, len);
		spin_unlock(&m->lock);
		if (found)
			break;
	}
	spin_unlock_irq(&models_lock, flags);
	return found;
}
