/* SPDX-License-Identifier: MIT */
/*
 * log_ring.c - read entries out of a log, restart it after an overflow
 *
 *      head (kernel)          tail (IOMMU)
 *        v                      v
 *   [....eeeeeeeeeeeeeeeeeeeeeee0.......]
 *
 *   clear the interrupt bit -> read tail -> for some entries: wait until they are
 *   visible, copy, zero, advance head, handle the copies
 *
 * In this order no entry is missed: one that is logged after the bit was cleared
 * raises a new interrupt, one that is logged before is within the tail that is
 * read.  A pass ends at the tail with which it began, so that a device that floods
 * one log does not keep the thread from the other.
 * Slots are given back before their entries are handled, so that a slow handler
 * does not fill the log; several at once, which saves writes of the head register.
 *
 * Overflow stops the log in hardware: it is switched off, the bit cleared, and
 * it is switched on again (Linux: amd_iommu_restart_log()).  What was lost must
 * be repeated by the device.
 */
#include "iommu/hw/log_ring.h"
#include "arch/clock.h"
#include "arch/cpu.h"
#include "kernel/err.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/printk.h"
#include "mm/frame/pmm.h"

#define SLOT ((unsigned)sizeof(struct log_entry))
/* Some IOMMUs advance tail before the entry's bytes are visible.  At least so many looks
 * in port_visible_ns(): a virtual CPU may not have run in that time. */
#define VISIBLE_LOOKS 1000u
/* Entries that are copied before the first of them is handled. */
#define BATCH 16u
/* Entries that were begun before an overflow are written after this time. */
#define STOP_NS UINT64_C(100000)

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
	int error;

	require(may_sleep());
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
	/* First: while its interrupt is pending QEMU 11.1 uses the old base. */
	reg_write(port, REG_STATUS, kind->overflow | kind->interrupt);
	error = port_set_base(port, kind->base,
			      page_pa(log->pages) |
				      FIELD_PREP(RING_LENGTH, bits));
	reg_write(port, kind->head, 0);
	reg_write(port, kind->tail, 0);
	return error;
}

void log_stop(struct iommu_log *log)
{
	if (log->pages)
		page_put(log->pages);
	log->pages = NULL;
}

/* Wait for the first word of an entry; 0: it did not become visible in time. */
static uint64_t visible_word(const struct log_entry *slot,
			     const struct iommu_port *port, bool patient)
{
	uint64_t w = READ_ONCE(slot->w[0]), end = 0;
	unsigned looks = 0;

	while (!FIELD_GET(LOG0_TYPE, w)) {
		if (!patient)
			return 0;
		if (!end)
			end = clock_ns() + port_visible_ns(port);
		if (looks++ >= VISIBLE_LOOKS && clock_ns() > end)
			return 0;
		reg_read(port, REG_STATUS);
		cpu_pause();
		w = READ_ONCE(slot->w[0]);
	}
	return w;
}

static unsigned after(const struct iommu_log *log, unsigned at)
{
	return (at + SLOT) % log->size;
}

/*
 * Copy entries from log->head on, to `tail` at most.  Only for the first it waits until it
 * is visible.  Returns how many.
 */
static unsigned copy_some(struct iommu_log *log, unsigned tail, bool patient,
			  struct log_entry copies[BATCH])
{
	unsigned at = log->head, n = 0;

	do {
		const struct log_entry *slot = &log->ring[at / SLOT];
		struct log_entry *copy = &copies[n];

		copy->w[0] = visible_word(slot, log->port, patient && !n);
		if (!copy->w[0] && n)
			break;
		copy->w[1] = READ_ONCE(slot->w[1]);
		if (log->early && copy->w[0])
			log->early(copy, log->arg);
		n++;
		at = after(log, at);
	} while (at != tail && n < BATCH);
	return n;
}

/* Zero n slots from log->head on, and give them back. */
static void give_back(struct iommu_log *log, unsigned n)
{
	preempt_disable(); /* log_peek() spins between zeroing and head */
	for (; n; n--) {
		struct log_entry *slot = &log->ring[log->head / SLOT];

		WRITE_ONCE(slot->w[0], 0);
		WRITE_ONCE(slot->w[1], 0);
		log->head = after(log, log->head);
	}
	reg_write(log->port, log->kind->head, log->head);
	preempt_enable();
}

/* Take some entries out of the ring and handle them; false: the first was not visible. */
static bool take_some(struct iommu_log *log, unsigned tail, bool patient,
		      unsigned *taken)
{
	struct log_entry copies[BATCH];
	unsigned n = copy_some(log, tail, patient, copies);

	give_back(log, n);
	*taken += n;
	if (!copies[0].w[0]) {
		log->lost++;
		return false;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct log_entry *copy = &copies[i];

		WRITE_ONCE(log->entries, log->entries + 1);
		PROBE(iommu_log, copy->w[0], copy->w[1]);
		log->handler(copy, log->arg);
	}
	return true;
}

/* Read a head or tail register; any value is reduced to a slot of the ring. */
static unsigned pointer(const struct iommu_log *log, unsigned reg)
{
	return (unsigned)(reg_read(log->port, reg) & RING_POINTER) % log->size;
}

/*
 * After an overflow: true while the log may still be written, so that the caller
 * tries again later and reads the other log meanwhile.  A log whose run bit did
 * not fall in time (QEMU 11.1) is not waited for again.
 */
static bool still_runs(struct iommu_log *log)
{
	if (log->run_stays ||
	    !(reg_read(log->port, REG_STATUS) & log->kind->run))
		return false;
	if (!log->overflowed) {
		log->overflowed = clock_ns();
		return true;
	}
	log->run_stays = clock_ns() - log->overflowed > STOP_NS;
	return !log->run_stays;
}

/*
 * Switch the log off, clear the overflow bit, switch it on.  If the bit cannot be
 * cleared the log stays off: the manual forbids switching it on then.
 * Context: log_drain()'s.
 */
static void restart(struct iommu_log *log)
{
	const struct log_kind *k = log->kind;
	const struct iommu_port *p = log->port;
	uint64_t control;

	require(may_sleep());
	log->overflowed = 0;
	atomic_fetch_add(&log->generation, 1);
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
	log->head = pointer(log, k->head); /* an IOMMU may begin anew */
	atomic_fetch_add(&log->generation, 1);
	WRITE_ONCE(log->restarts, log->restarts + 1);
	if (log->restarted)
		log->restarted(log->arg);
	PROBE(iommu_log_restart, k->base, log->restarts);
}

unsigned log_drain(struct iommu_log *log, uint64_t status)
{
	const struct log_kind *k = log->kind;
	bool patient = true; /* a wrong tail costs one wait, not 256 */
	unsigned n = 0, tail;

	require(may_sleep());
	if (!log->pages) /* this IOMMU has no such log */
		return 0;
	if (status & k->interrupt)
		reg_write(log->port, REG_STATUS, k->interrupt);
	tail = pointer(log, k->tail);
	while (log->head != tail)
		patient = take_some(log, tail, patient, &n);
	if (!(status & k->overflow) || log->dead)
		return n;
	if (!still_runs(log))
		restart(log);
	return n + 1;
}

/* ---- beside the draining thread ---------------------------------------- */

/* Return how far head has moved since `head`, in bytes. */
static unsigned moved(const struct iommu_log *log, unsigned head)
{
	return (pointer(log, log->kind->head) - head) % log->size;
}

bool log_peek(struct iommu_log *log, log_handler *fn)
{
	unsigned head = pointer(log, log->kind->head);
	unsigned left = (pointer(log, log->kind->tail) - head) % log->size;
	uint64_t end = clock_ns() + port_visible_ns(log->port);

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

bool log_lost_since(struct iommu_log *log, unsigned generation)
{
	/* The bit is read first: restart() raises the count before clearing it. */
	bool lost = reg_read(log->port, REG_STATUS) & log->kind->overflow;

	return lost || generation % 2 || log_generation(log) != generation;
}
