/* SPDX-License-Identifier: MIT */
/*
 * model_regs.c - the effect of a read and a write of a register
 *
 * 48882, chapter 3.4.  What the manual forbids has no effect but a complaint: a
 * base or a hardware-owned pointer written while its ring runs, a pointer
 * outside the ring, a head moved past records that were not written.
 */
#include "tests/model/model_priv.h"

#define CONTROL_TUNNEL   BIT(1)
#define CONTROL_ORDERING (GENMASK(9, 8) | BIT(11)) /* of posted writes     */
#define CONTROL_PPR_BITS \
	(CONTROL_PPR_LOG_EN | CONTROL_PPR_INT_EN | CONTROL_PPR_EN)
#define CONTROL_KNOWN                                                       \
	(CONTROL_IOMMU_EN | CONTROL_TUNNEL | CONTROL_EVENT_LOG_EN |         \
	 CONTROL_EVENT_INT_EN | CONTROL_COMWAIT_INT | CONTROL_INV_TIMEOUT | \
	 CONTROL_ORDERING | CONTROL_COHERENT | CONTROL_CMD_BUF_EN |         \
	 CONTROL_PPR_BITS)

#define STATUS_EVENTS                                                    \
	(STATUS_EVENT_OVERFLOW | STATUS_EVENT_INT | STATUS_COMWAIT_INT | \
	 STATUS_PPR_OVERFLOW | STATUS_PPR_INT)

static bool event_run_shown(const struct model *m)
{
	return event_running(m) ||
	       (m->config.runs_full && m->control & CONTROL_EVENT_LOG_EN);
}

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
	case REG_EXCL_BASE:
		return m->exclusion;
	case REG_EXCL_LIMIT:
		return m->exclusion_last;
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
		return m->status | (event_run_shown(m) ? STATUS_EVENT_RUN : 0) |
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

/* While its interrupt is pending QEMU 11.1 continues with the old base. */
static void write_event_base(struct model *m, uint64_t value)
{
	if (m->status & STATUS_EVENT_INT)
		complain(m, "event base written, interrupt pending");
	else
		write_base(m, &m->event, value, event_running(m), "event");
}

/* Write a pointer into the ring that software may write now. */
static bool write_pointer(struct model *m, const struct log *log,
			  uint64_t *pointer, uint64_t value, const char *name)
{
	uint64_t bytes = ring_bytes(log->base);

	/* Before the base is set any pointer is accepted. */
	if ((value & ~RING_POINTER) || (bytes && value >= bytes)) {
		complain(m, "%s pointer %#lx is outside the ring", name, value);
		return false;
	}
	*pointer = value;
	return true;
}

/* Write the pointer that hardware moves. */
static void write_owned(struct model *m, const struct log *log,
			uint64_t *pointer, uint64_t value, bool running,
			const char *name)
{
	if (running)
		complain(m, "%s pointer written while hardware owns it", name);
	else
		write_pointer(m, log, pointer, value, name);
}

/* Software has read the records up to this one. */
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

/*
 * Restart after LogEn 0 and 1: not by 1 alone, and not while the overflow bit
 * is set.
 */
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

static void write_exclusion(struct model *m, uint64_t *where, uint64_t value,
			    uint64_t known)
{
	if (value & ~known)
		complain(m, "exclusion range %#lx: reserved bits", value);
	else if (m->control & CONTROL_IOMMU_EN)
		complain(m, "exclusion range written while on");
	else
		*where = value;
}

static void write_control(struct model *m, uint64_t value)
{
	uint64_t was = m->control, known = CONTROL_KNOWN;

	if (!(m->efr & EFR_PPR))
		known &= ~CONTROL_PPR_BITS;
	if (m->efr & EFR_GA)
		known |= CONTROL_GA_EN;
	if ((value ^ was) & CONTROL_GA_EN && value & was & CONTROL_IOMMU_EN)
		complain(m, "GAEn written while on");
	if (value & ~known)
		complain(m, "CONTROL bits %#lx are not modelled",
			 value & ~known);
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
	case REG_EXCL_BASE:
		write_exclusion(m, &m->exclusion, value,
				BASE_ADDRESS | EXCLUSION_ON | EXCLUSION_ALL);
		return;
	case REG_EXCL_LIMIT:
		write_exclusion(m, &m->exclusion_last, value, BASE_ADDRESS);
		return;
	case REG_CMD_BASE:
		write_base(m, &m->cmd, value, cmd_running(m), "command");
		return;
	case REG_EVENT_BASE:
		write_event_base(m, value);
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
