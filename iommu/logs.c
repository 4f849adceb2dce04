/* SPDX-License-Identifier: MIT */
/*
 * logs.c - the consumer
 *
 *      head (us)              tail (IOMMU)
 *        v                      v
 *   [....eeeeeeeeeeeeeeeeeeeeeee0.......]
 *
 *   clear the interrupt bit -> read tail -> for each entry: wait until it is
 *   visible, copy, zero, advance head, handle the copy
 *
 * The order is what loses nothing: an entry that comes after the bit was
 * cleared raises a new interrupt, one that comes before is met on the way.  One
 * pass ends at the tail it began with, whatever comes meanwhile: a device that
 * floods one log must not keep us from the other.
 * The slot is given back before the entry is handled, so that a slow handler
 * does not fill the log.
 *
 * Overflow stops the log in hardware: it is switched off, the bit cleared, and
 * it is switched on again (Linux: amd_iommu_restart_log()).  What was lost must
 * be repeated by the device.
 */
#include "iommu/logs.h"
#include "arch/clock.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/pmm.h"

#define SLOT ((unsigned)sizeof(struct log_entry))
/* Parts exist whose tail runs ahead of the entry's bytes. */
#define VISIBLE_NS UINT64_C(100000000)
#define STOP_NS    UINT64_C(10000000)

const struct log_kind log_events = {
	"event log",      REG_EVENT_BASE,        REG_EVENT_HEAD,
	REG_EVENT_TAIL,   STATUS_EVENT_OVERFLOW, STATUS_EVENT_INT,
	STATUS_EVENT_RUN, CONTROL_EVENT_LOG_EN,  CONTROL_EVENT_INT_EN,
};

const struct log_kind log_requests = {
	"PPR log",      REG_PPR_BASE,        REG_PPR_HEAD,
	REG_PPR_TAIL,   STATUS_PPR_OVERFLOW, STATUS_PPR_INT,
	STATUS_PPR_RUN, CONTROL_PPR_LOG_EN,  CONTROL_PPR_INT_EN,
};

int log_start(struct iommu_log *log, const struct log_kind *kind,
	      const struct iommu_port *port, unsigned bits,
	      log_handler *handler, void *arg)
{
	unsigned size = SLOT << bits;
	unsigned order = size > PAGE_SIZE ? bits - LOG_MIN_BITS : 0;
	uint64_t *words;

	*log = (struct iommu_log){ .kind = kind,
				   .port = port,
				   .size = size,
				   .handler = handler,
				   .arg = arg };
	log->pages = pages_alloc(order);
	if (!log->pages)
		return err(ENOMEM);
	page_set_kind_block(log->pages, PAGE_IOMMU);
	log->ring = page_va(log->pages);
	words = (uint64_t *)log->ring;
	for (unsigned i = 0; i < size / sizeof(*words); i++)
		words[i] = 0;
	reg_write(port, kind->base,
		  page_pa(log->pages) | FIELD_PREP(RING_LENGTH, bits));
	reg_write(port, kind->head, 0);
	reg_write(port, kind->tail, 0);
	return 0;
}

void log_stop(struct iommu_log *log)
{
	if (log->pages)
		page_put(log->pages);
	log->pages = NULL;
}

/* The first word, once the IOMMU has stored it; 0: it does not come. */
static uint64_t visible_word(const struct log_entry *slot,
			     const struct iommu_port *port, bool patient)
{
	uint64_t w = READ_ONCE(slot->w[0]), end = 0;

	while (!FIELD_GET(LOG0_TYPE, w)) {
		if (!patient)
			return 0;
		if (!end)
			end = clock_ns() + VISIBLE_NS;
		if (clock_ns() > end)
			return 0;
		reg_read(port, REG_STATUS);
		cpu_pause();
		w = READ_ONCE(slot->w[0]);
	}
	return w;
}

/* Returns whether an entry was there. */
static bool take_one(struct iommu_log *log, unsigned head, bool patient)
{
	struct log_entry *slot = &log->ring[head / SLOT], copy;

	copy.w[0] = visible_word(slot, log->port, patient);
	copy.w[1] = READ_ONCE(slot->w[1]);
	if (log->early && copy.w[0])
		log->early(&copy, log->arg);
	preempt_disable(); /* who peeks waits for the second half */
	WRITE_ONCE(slot->w[0], 0);
	WRITE_ONCE(slot->w[1], 0);
	reg_write(log->port, log->kind->head, (head + SLOT) % log->size);
	preempt_enable();
	if (!copy.w[0]) {
		log->lost++;
		return false;
	}
	log->entries++;
	PROBE(iommu_log, copy.w[0], copy.w[1]);
	log->handler(&copy, log->arg);
	return true;
}

/*
 * Off, forget, on.  A bit that cannot be forgotten leaves the log off: to switch
 * it on is forbidden then, and would do nothing.  Context: who drains.
 */
static void restart(struct iommu_log *log)
{
	const struct log_kind *k = log->kind;
	const struct iommu_port *p = log->port;
	uint64_t end = clock_ns() + STOP_NS, control;

	while (reg_read(p, REG_STATUS) & k->run && clock_ns() < end)
		cpu_pause();
	atomic_fetch_add(&log->era, 1);
	control = reg_read(p, REG_CONTROL);
	reg_write(p, REG_CONTROL, control & ~k->log_enable);
	reg_write(p, REG_STATUS, k->overflow);
	if (reg_read(p, REG_STATUS) & k->overflow) {
		log->dead = true;
		printk("# iommu %s: the %s overflowed and does not restart\n",
		       p->name, k->name);
		return;
	}
	reg_write(p, REG_CONTROL, control | k->log_enable);
	atomic_fetch_add(&log->era, 1);
	log->restarts++;
	if (log->restarted)
		log->restarted(log->arg);
	PROBE(iommu_log_restart, k->base, log->restarts);
}

/* Where the ring's pointers are; a register that lies names a slot anyway. */
static unsigned pointer(const struct iommu_log *log, unsigned reg)
{
	return (unsigned)(reg_read(log->port, reg) & RING_POINTER) % log->size;
}

unsigned log_drain(struct iommu_log *log)
{
	const struct log_kind *k = log->kind;
	bool overflow = reg_read(log->port, REG_STATUS) & k->overflow;
	unsigned n = 0, head, tail;
	bool patient = true; /* a tail that lies costs one wait, not 256 */

	reg_write(log->port, REG_STATUS, k->interrupt);
	head = pointer(log, k->head);
	tail = pointer(log, k->tail);
	for (; head != tail; head = (head + SLOT) % log->size, n++)
		patient = take_one(log, head, patient);
	if (!overflow || log->dead)
		return n;
	restart(log);
	return n + 1;
}

/* ---- beside who drains ------------------------------------------------- */

/* How far head has come since it was there, in bytes. */
static unsigned moved(const struct iommu_log *log, unsigned head)
{
	return (pointer(log, log->kind->head) - head) % log->size;
}

bool log_peek(struct iommu_log *log, log_handler *fn)
{
	unsigned head = pointer(log, log->kind->head);
	unsigned left = (pointer(log, log->kind->tail) - head) % log->size;
	uint64_t end = clock_ns() + VISIBLE_NS;

	while (left) {
		const struct log_entry *slot = &log->ring[head / SLOT];
		struct log_entry copy = { { READ_ONCE(slot->w[0]),
					    READ_ONCE(slot->w[1]) } };
		unsigned step = SLOT;

		if (FIELD_GET(LOG0_TYPE, copy.w[0])) {
			fn(&copy, log->arg);
		} else {
			/* Not there yet, or not there any more. */
			reg_read(log->port, REG_STATUS);
			step = moved(log, head);
			if (clock_ns() > end)
				return false;
			cpu_pause();
		}
		step = step < left ? step : left;
		head = (head + step) % log->size;
		left -= step;
	}
	return true;
}

bool log_lost_since(struct iommu_log *log, unsigned era)
{
	/* The bit before the count: it is cleared after that has risen. */
	bool lost = reg_read(log->port, REG_STATUS) & log->kind->overflow;

	return lost || era % 2 || log_era(log) != era;
}
