/* SPDX-License-Identifier: MIT */
/*
 * model_log.c - records in the two logs, status bits, interrupts
 *
 *        head (software)      tail (hardware)
 *          v                    v
 *   ... | read | unread | unread | free | ...      full: tail + 1 == head
 *
 * A record that finds the ring full is lost, sets the overflow bit and stops
 * the log.  The log runs again after the enable bit was 0 and then 1 while the
 * overflow bit is clear (48882, 2.5 and 2.6, "restart").
 *
 * A status bit interrupts when it becomes set, or when its interrupt is enabled
 * while it is set.  There is no further interrupt until software clears it.
 */
#include "kernel/probe.h"
#include "tests/model/model_priv.h"

#define RECORD 16u

uint64_t ring_bytes(uint64_t base)
{
	uint64_t log2 = FIELD_GET(RING_LENGTH, base);

	return log2 >= 8 && log2 <= 15 ? RECORD << log2 : 0;
}

bool may_interrupt(uint64_t control, uint64_t status_bit)
{
	switch (status_bit) {
	case STATUS_EVENT_OVERFLOW:
	case STATUS_EVENT_INT:
		return control & CONTROL_EVENT_INT_EN;
	case STATUS_COMWAIT_INT:
		return control & CONTROL_COMWAIT_INT;
	case STATUS_PPR_OVERFLOW:
	case STATUS_PPR_INT:
		return control & CONTROL_PPR_INT_EN;
	}
	return false;
}

void status_raise(struct model *m, uint64_t bit)
{
	if (m->status & bit)
		return;
	m->status |= bit;
	if (may_interrupt(m->control, bit))
		m->raise |= bit;
}

bool event_running(const struct model *m)
{
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_EVENT_LOG_EN;

	return (m->control & on) == on && !m->event.stopped &&
	       ring_bytes(m->event.base);
}

bool ppr_running(const struct model *m)
{
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_PPR_LOG_EN;

	return (m->control & on) == on && !m->ppr.stopped &&
	       ring_bytes(m->ppr.base);
}

/* Write the word with the type last: a nonzero type marks a complete record. */
static void put(pa_t at, const uint64_t w[2])
{
	ram_write(at + 8, w[1]);
	ram_write(at, w[0]);
}

void late_arrive(struct model *m, bool all)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->in_late; i++)
		if (all || m->late[i].due <= m->stats.steps)
			put(m->late[i].at, m->late[i].w);
		else
			m->late[kept++] = m->late[i];
	m->in_late = kept;
}

/* Append to a running log.  False: the log was full and is now stopped. */
static bool append(struct model *m, struct log *log, uint64_t w0, uint64_t w1)
{
	struct late_record r = { .at = (log->base & BASE_ADDRESS) + log->tail,
				 .w = { w0, w1 },
				 .due = m->stats.steps + m->log_delay };
	uint64_t next = (log->tail + RECORD) % ring_bytes(log->base);

	if (next == log->head) {
		log->stopped = true;
		return false;
	}
	if (!ram_at(r.at))
		complain(m, "log record at %#lx, where no memory is", r.at);
	if (m->in_late == LATE)
		late_arrive(m, true);
	if (m->log_delay)
		m->late[m->in_late++] = r;
	else
		put(r.at, r.w);
	log->tail = next;
	return true;
}

void event_log(struct model *m, uint64_t w0, uint64_t w1)
{
	PROBE(model_event, w0, w1);
	if (!event_running(m)) {
		m->stats.events_lost++;
		return;
	}
	if (!append(m, &m->event, w0, w1)) {
		m->stats.events_lost++;
		status_raise(m, STATUS_EVENT_OVERFLOW);
		return;
	}
	m->stats.events[w0 >> 60]++;
	status_raise(m, STATUS_EVENT_INT);
}

bool ppr_log(struct model *m, uint64_t w0, uint64_t w1)
{
	PROBE(model_ppr, w0, w1);
	if (!ppr_running(m)) {
		m->stats.pprs_lost++;
		return false;
	}
	if (!append(m, &m->ppr, w0, w1)) {
		m->stats.pprs_lost++;
		status_raise(m, STATUS_PPR_OVERFLOW);
		return false;
	}
	m->stats.pprs++;
	status_raise(m, STATUS_PPR_INT);
	return true;
}
