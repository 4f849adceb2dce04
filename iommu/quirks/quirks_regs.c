/* SPDX-License-Identifier: MIT */
/*
 * quirks_regs.c - registers, interrupts and the event log
 *
 * 48882, sections 2.4, 2.5 and 3.4.  Interrupts are counted at once, without a
 * wait: QEMU sends them before the register write that causes them returns.
 */
#include "arch/clock.h"
#include "iommu/quirks/quirks_trial.h"

#define FILLERS  63
#define FLOOD_NS UINT64_C(10000000)

static uint64_t reg(struct trial *t, unsigned at)
{
	return reg_read(&t->iommu->port, at);
}

/* Send commands that change nothing until the tail is 0 again. */
static bool head_wraps(struct trial *t)
{
	struct command fill[FILLERS];
	struct command_queue *q = &t->iommu->queue;
	unsigned left = (q->size - q->tail) / sizeof(struct command);

	for (unsigned i = 0; i < FILLERS; i++)
		fill[i] = command_invalidate_devtab_entry(trial_devid(t, 0));
	while (left && !t->lost) {
		/* With the COMPLETION_WAIT that ends each batch. */
		unsigned n = left > FILLERS + 1 ? FILLERS : left - 1;

		if (queue_run(q, fill, n))
			t->lost = true;
		left -= n + 1;
	}
	return reg(t, REG_CMD_HEAD) == 0;
}

static bool cmd_run_shown(struct trial *t)
{
	return reg(t, REG_STATUS) & STATUS_CMD_RUN;
}

static bool event_run_shown(struct trial *t)
{
	return reg(t, REG_STATUS) & STATUS_EVENT_RUN;
}

static bool ppr_run_shown(struct trial *t)
{
	return reg(t, REG_STATUS) & STATUS_PPR_RUN;
}

static void complete(struct trial *t)
{
	trial_command(t, command_completion_interrupt());
}

/* Count the interrupts of a completion while its enable bit is as given. */
static unsigned completions(struct trial *t, bool enabled)
{
	const struct iommu_port *p = &t->iommu->port;
	uint64_t control = reg_read(p, REG_CONTROL);
	unsigned n;

	reg_write(p, REG_CONTROL,
		  enabled ? control | CONTROL_COMWAIT_INT
			  : control & ~CONTROL_COMWAIT_INT);
	reg_write(p, REG_STATUS, STATUS_COMWAIT_INT);
	n = trial_interrupts(t, complete);
	reg_write(p, REG_CONTROL, control);
	return n;
}

static bool comwait_interrupts(struct trial *t)
{
	return completions(t, true);
}

static bool comwait_needs_enable(struct trial *t)
{
	return completions(t, true) && !completions(t, false);
}

static bool status_clears(struct trial *t)
{
	bool set, cleared;

	completions(t, true);
	set = reg(t, REG_STATUS) & STATUS_COMWAIT_INT;
	reg_write(&t->iommu->port, REG_STATUS, STATUS_COMWAIT_INT);
	cleared = !(reg(t, REG_STATUS) & STATUS_COMWAIT_INT);
	return set && cleared;
}

static void take_event(const struct log_entry *entry, void *arg)
{
	struct trial *t = arg;

	if (!atomic_load(&t->events))
		t->event = *entry;
	atomic_fetch_add(&t->events, 1);
}

/* Unmap PLACE, and have the log read, so that the next event is the first. */
static void fault_prepare(struct trial *t)
{
	trial_poke(t, trial_slot(t->near, trial_bus(PLACE), 0), 0);
	trial_flush(t);
	iommu_settle(t->iommu);
}

static void fault(struct trial *t)
{
	trial_look(t);
}

/* Fault; true if an event is logged, and t->event is the first one. */
static bool logged(struct trial *t)
{
	struct iommu *iommu = t->iommu;
	log_handler *event = iommu->on_event, *request = iommu->on_request;
	void (*lost)(void *arg) = iommu->on_lost;
	void *arg = iommu->on_arg;

	fault_prepare(t);
	atomic_store(&t->events, 0);
	iommu_set_handlers(iommu, take_event, NULL, NULL, t);
	fault(t);
	iommu_settle(iommu);
	iommu_set_handlers(iommu, event, request, lost, arg);
	return atomic_load(&t->events);
}

static bool event_logged(struct trial *t)
{
	return logged(t) &&
	       FIELD_GET(LOG0_TYPE, t->event.w[0]) == IO_PAGE_FAULT &&
	       FIELD_GET(EVENT0_DEVID, t->event.w[0]) == trial_devid(t, 0);
}

static bool event_address(struct trial *t)
{
	return logged(t) && t->event.w[1] == trial_bus(PLACE);
}

static bool event_interrupts(struct trial *t)
{
	fault_prepare(t);
	return trial_interrupts(t, fault);
}

/* A chip that is denied reads zeros as its program, with an event for each read:
 * that fills the log, which no thread reads meanwhile.  It may have been filled by an
 * earlier row. */
static bool overflow_stops(struct trial *t)
{
	struct iommu_log *log = &t->iommu->events;
	uint64_t end;

	if (!READ_ONCE(log->restarts)) {
		trial_poke_dte(t, 0, iommu_deny(t->iommu));
		trial_flush(t);
		rw_write_lock(&t->iommu->drain);
		fault(t);
		rw_write_unlock(&t->iommu->drain);
	}
	end = clock_ns() + FLOOD_NS;
	do {
		iommu_settle(t->iommu);
	} while (!READ_ONCE(log->restarts) && clock_ns() < end);
	return log->restarts && !log->run_stays;
}

/* Move the event log to another base, empty. */
static void set_event_base(struct trial *t, uint64_t base)
{
	const struct iommu_port *p = &t->iommu->port;
	uint64_t control = reg_read(p, REG_CONTROL);

	reg_write(p, REG_CONTROL, control & ~CONTROL_EVENT_LOG_EN);
	reg_write(p, REG_EVENT_BASE, base);
	reg_write(p, REG_EVENT_HEAD, 0);
	reg_write(p, REG_EVENT_TAIL, 0);
	reg_write(p, REG_CONTROL, control);
}

/* Leave an event in the log, set another base, and see where the next event is. */
static bool base_counts_pending(struct trial *t)
{
	struct iommu_log *log = &t->iommu->events;
	uint64_t was = reg(t, REG_EVENT_BASE);
	bool counts;

	fault_prepare(t);
	rw_write_lock(&t->iommu->drain);
	fault(t);
	set_event_base(t, trial_bus(B) | FIELD_PREP(RING_LENGTH, LOG_MIN_BITS));
	fault(t);
	counts = trial_take(B);
	reg_write(&t->iommu->port, REG_STATUS,
		  STATUS_EVENT_INT | STATUS_EVENT_OVERFLOW);
	for (unsigned i = 0; i < 2; i++)
		log->ring[i] = (struct log_entry){ { 0, 0 } };
	set_event_base(t, was);
	log->head = 0; /* as the register */
	rw_write_unlock(&t->iommu->drain);
	return counts;
}

static bool ppr_tail_writable(struct trial *t)
{
	const struct iommu_port *p = &t->iommu->port;
	uint64_t was, is;

	if (!(t->iommu->efr & EFR_PPR))
		return false;
	iommu_settle(t->iommu);
	was = reg_read(p, REG_PPR_TAIL);
	reg_write(p, REG_PPR_TAIL, was ^ sizeof(struct log_entry));
	is = reg_read(p, REG_PPR_TAIL);
	reg_write(p, REG_PPR_TAIL, was);
	return is != was;
}

const struct quirk quirks_regs[] = {
	{ QUIRK(head_wraps, true,
		"the command head reads 0 after the ring's last slot") },
	{ QUIRK(cmd_run_shown, true, "STATUS shows that commands run") },
	{ QUIRK(event_run_shown, true, "STATUS shows that events are logged") },
	{ QUIRK(ppr_run_shown, true,
		"STATUS shows that page requests are logged") },
	{ QUIRK(comwait_interrupts, true,
		"COMPLETION_WAIT with i = 1 interrupts") },
	{ QUIRK(comwait_needs_enable, true,
		"COMPLETION_WAIT interrupts only with ComWaitIntEn") },
	{ QUIRK(status_clears, true,
		"an interrupt's bit in STATUS is cleared by writing 1") },
	{ QUIRK(event_logged, true,
		"a refused access is written to the event log") },
	{ QUIRK(event_address, true,
		"an event names the address that was refused") },
	{ QUIRK(event_interrupts, true, "an event interrupts") },
	{ QUIRK(overflow_stops, true,
		"an event log that overflows shows that it has stopped"),
	  .needs = "event_logged" },
	{ QUIRK(base_counts_pending, true,
		"the event log's base counts when it is set while the log's "
		"interrupt is pending"),
	  .needs = "event_logged" },
	{ QUIRK(ppr_tail_writable, false,
		"software may write the PPR log's tail") },
	{ 0 },
};
