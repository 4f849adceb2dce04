/* SPDX-License-Identifier: MIT */
/*
 * model_regs.c - what a read and a write of a register do
 *
 * 48882, chapter 3.4.  What the manual forbids is not done and remembered as a
 * complaint: a base or a hardware-owned pointer changed while its ring runs, a
 * pointer outside the ring, a head moved over records that are not there.
 */
#include "tests/model_priv.h"

#define CONTROL_HT_TUNNEL BIT(1)
#define CONTROL_ORDERING  (GENMASK(9, 8) | BIT(11)) /* of posted writes     */
#define CONTROL_PPR_BITS \
	(CONTROL_PPR_LOG_EN | CONTROL_PPR_INT_EN | CONTROL_PPR_EN)
#define CONTROL_KNOWN                                                       \
	(CONTROL_IOMMU_EN | CONTROL_HT_TUNNEL | CONTROL_EVENT_LOG_EN |      \
	 CONTROL_EVENT_INT_EN | CONTROL_COMWAIT_INT | CONTROL_INV_TIMEOUT | \
	 CONTROL_ORDERING | CONTROL_COHERENT | CONTROL_CMD_BUF_EN |         \
	 CONTROL_PPR_BITS)

#define STATUS_EVENTS                                                    \
	(STATUS_EVENT_OVERFLOW | STATUS_EVENT_INT | STATUS_COMWAIT_INT | \
	 STATUS_PPR_OVERFLOW | STATUS_PPR_INT)

uint64_t regs_read(struct model *m, unsigned reg)
{
	switch (reg) {
	case REG_DEV_TABLE_BASE:
		return m->dev_table;
	case REG_CMD_BASE:
		return m->cmd.base;
	case REG_EVENT_BASE:
		return m->event.base;
	case REG_CONTROL:
		return m->control;
	case REG_EFR:
		return m->efr;
	case REG_PPR_BASE:
		return m->ppr.base;
	case REG_CMD_HEAD:
		return m->cmd.head;
	case REG_CMD_TAIL:
		return m->cmd.tail;
	case REG_EVENT_HEAD:
		return m->event.head;
	case REG_EVENT_TAIL:
		return m->event.tail;
	case REG_STATUS:
		step(m);
		return m->status | (event_running(m) ? STATUS_EVENT_RUN : 0) |
		       (cmd_running(m) ? STATUS_CMD_RUN : 0) |
		       (ppr_running(m) ? STATUS_PPR_RUN : 0);
	case REG_PPR_HEAD:
		return m->ppr.head;
	case REG_PPR_TAIL:
		return m->ppr.tail;
	}
	complain(m, "read of register %#x, which is not there", reg);
	return 0;
}

static void write_base(struct model *m, struct log *log, uint64_t value,
		       bool running, const char *name)
{
	if (running)
		complain(m, "%s base written while it runs", name);
	else if (value & ~(BASE_ADDRESS | RING_LENGTH))
		complain(m, "%s base %#lx: reserved bits", name, value);
	else if (!ring_bytes(value))
		complain(m, "%s base %#lx: illegal length", name, value);
	else
		log->base = value;
}

/* A pointer into the ring, from whoever may write it now. */
static bool write_pointer(struct model *m, const struct log *log,
			  uint64_t *pointer, uint64_t value, const char *name)
{
	uint64_t bytes = ring_bytes(log->base);

	/* Before the base is set any pointer may be. */
	if ((value & ~RING_POINTER) || (bytes && value >= bytes)) {
		complain(m, "%s pointer %#lx is outside the ring", name, value);
		return false;
	}
	*pointer = value;
	return true;
}

/* The pointer that hardware moves. */
static void write_owned(struct model *m, const struct log *log,
			uint64_t *pointer, uint64_t value, bool running,
			const char *name)
{
	if (running)
		complain(m, "%s pointer written while hardware owns it", name);
	else
		write_pointer(m, log, pointer, value, name);
}

/* Software has read the records up to here. */
static void write_log_head(struct model *m, struct log *log, uint64_t value,
			   bool running, const char *name)
{
	uint64_t bytes = ring_bytes(log->base);

	if (running && value < bytes &&
	    (value - log->head) % bytes > (log->tail - log->head) % bytes) {
		complain(m, "%s head %#lx skips what was not written", name,
			 value);
		return;
	}
	write_pointer(m, log, &log->head, value, name);
}

/* On again after 0 and 1: not by 1 alone, and not while still overflowed. */
static void restart(struct model *m, struct log *log, uint64_t was,
		    uint64_t enable, uint64_t overflow)
{
	if (!(m->control & enable) || (was & enable))
		return;
	if (overflow && (m->status & overflow)) {
		complain(m, "log enabled with the overflow bit still set");
		return;
	}
	log->stopped = false;
}

static void write_control(struct model *m, uint64_t value)
{
	uint64_t was = m->control, known = CONTROL_KNOWN;

	if (!(m->efr & EFR_PPR))
		known &= ~CONTROL_PPR_BITS;
	if (value & ~known)
		complain(m, "CONTROL bits %#lx are not ours", value & ~known);
	m->control = value & known;
	restart(m, &m->cmd, was, CONTROL_CMD_BUF_EN, 0);
	restart(m, &m->event, was, CONTROL_EVENT_LOG_EN, STATUS_EVENT_OVERFLOW);
	restart(m, &m->ppr, was, CONTROL_PPR_LOG_EN, STATUS_PPR_OVERFLOW);
	for (uint64_t s = m->status & STATUS_EVENTS; s; s &= s - 1)
		if (may_interrupt(m->control, s & -s) &&
		    !may_interrupt(was, s & -s))
			m->raise |= s & -s;
	doorbell(m);
}

void regs_write(struct model *m, unsigned reg, uint64_t value)
{
	switch (reg) {
	case REG_DEV_TABLE_BASE:
		if (m->control & CONTROL_IOMMU_EN)
			complain(m, "device table base written while on");
		else
			m->dev_table = value & (BASE_ADDRESS | DEV_TABLE_SIZE);
		return;
	case REG_CMD_BASE:
		write_base(m, &m->cmd, value, cmd_running(m), "command");
		return;
	case REG_EVENT_BASE:
		write_base(m, &m->event, value, event_running(m), "event");
		return;
	case REG_PPR_BASE:
		write_base(m, &m->ppr, value, ppr_running(m), "ppr");
		return;
	case REG_CONTROL:
		write_control(m, value);
		return;
	case REG_CMD_HEAD:
		write_owned(m, &m->cmd, &m->cmd.head, value, cmd_running(m),
			    "command head");
		return;
	case REG_CMD_TAIL:
		if (write_pointer(m, &m->cmd, &m->cmd.tail, value,
				  "command tail"))
			doorbell(m);
		return;
	case REG_EVENT_HEAD:
		write_log_head(m, &m->event, value, event_running(m), "event");
		return;
	case REG_EVENT_TAIL:
		write_owned(m, &m->event, &m->event.tail, value,
			    event_running(m), "event tail");
		return;
	case REG_STATUS:
		m->status &= ~(value & STATUS_EVENTS);
		return;
	case REG_PPR_HEAD:
		write_log_head(m, &m->ppr, value, ppr_running(m), "ppr");
		return;
	case REG_PPR_TAIL:
		write_owned(m, &m->ppr, &m->ppr.tail, value, ppr_running(m),
			    "ppr tail");
		return;
	}
	complain(m, "write of register %#x, which takes none", reg);
}
