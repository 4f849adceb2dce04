/* SPDX-License-Identifier: MIT */
/*
 * model_cmd.c - commands: fetched in order, done in an order the manual allows
 *
 *   ring:   head ─► ... ─► tail     head moves when a command is fetched; that
 *   queue:  oldest ... youngest     says nothing about its effect
 *
 * A COMPLETION_WAIT is done when all commands fetched before it are done.  A
 * later command may start before it, unless its F bit is set.  Between waits
 * commands are independent, with two exceptions (48882, 2.4): page
 * invalidations wait for older DTE invalidations; device TLB invalidations wait
 * for older invalidations of DTEs and pages.  Otherwise a device could refill
 * its TLB from a cache above it that is still stale.
 *
 * An illegal command halts the ring: older ones are still done, head stays at
 * it, CmdBufRun becomes 0.  CmdBufEn 0, then 1 restarts the ring.
 */
#include "arch/clock.h"
#include "kernel/probe.h"
#include "tests/model/model_priv.h"

enum {
	OP_WAIT = 1,
	OP_DTE = 2,
	OP_PAGES = 3,
	OP_DEVICE = 4,
	OP_INTERRUPTS = 5,
	OP_PREFETCH = 6,
	OP_ANSWER = 7,
	OP_ALL = 8,
	OPS = 9,
};

#define W1_RANGE     BIT(0)
#define W1_DIRECTORY BIT(1)
#define W1_GUEST     BIT(2)
#define WAIT_STORE   BIT(0)
#define WAIT_INT     BIT(1)
#define WAIT_FLUSH   BIT(2)
#define WAIT_WHERE   GENMASK(51, 3)
#define DEVID        GENMASK(15, 0)

/* Bits that must be zero, with and without PASIDs, and the feature needed. */
static const struct form {
	uint64_t zero[2], zero_no_guest[2], feature;
} forms[OPS] = {
	[OP_WAIT] = { { GENMASK(59, 52), 0 }, { 0, 0 }, 0 },
	[OP_DTE] = { { GENMASK(59, 16), ~UINT64_C(0) }, { 0, 0 }, 0 },
	[OP_PAGES] = { { GENMASK(59, 48) | GENMASK(31, 20), GENMASK(11, 3) },
		       { GENMASK(19, 0), W1_GUEST },
		       0 },
	[OP_DEVICE] = { { 0, GENMASK(11, 6) | BIT(3) | BIT(1) },
			{ GENMASK(59, 48) | GENMASK(23, 16),
			  GENMASK(5, 4) | W1_GUEST },
			0 },
	[OP_INTERRUPTS] = { { GENMASK(59, 16), ~UINT64_C(0) }, { 0, 0 }, 0 },
	[OP_PREFETCH] = { { GENMASK(59, 52), GENMASK(11, 5) | BIT(3) | BIT(1) },
			  { GENMASK(51, 32) | GENMASK(23, 16), W1_GUEST },
			  EFR_PREFETCH },
	[OP_ANSWER] = { { GENMASK(59, 52) | GENMASK(31, 16),
			  GENMASK(63, 48) | GENMASK(43, 41) | GENMASK(31, 3) |
				  GENMASK(1, 0) },
			{ GENMASK(51, 32), W1_GUEST },
			EFR_PPR },
	[OP_ALL] = { { GENMASK(59, 0), ~UINT64_C(0) }, { 0, 0 }, EFR_IA },
};

static unsigned op_of(const struct fetched *f)
{
	return (unsigned)(f->w[0] >> 60);
}

static bool legal(const struct model *m, const struct fetched *f)
{
	const struct form *form = &forms[op_of(f) < OPS ? op_of(f) : 0];

	if (!op_of(f) || op_of(f) >= OPS ||
	    (form->feature & m->efr) != form->feature)
		return false;
	for (unsigned i = 0; i < 2; i++)
		if (f->w[i] & (form->zero[i] |
			       (m->efr & EFR_GT ? 0 : form->zero_no_guest[i])))
			return false;
	return true;
}

/* ---- fetching ---------------------------------------------------------- */

static bool may_fetch(const struct model *m)
{
	uint64_t on = CONTROL_IOMMU_EN | CONTROL_CMD_BUF_EN;

	return (m->control & on) == on && !m->cmd.stopped &&
	       ring_bytes(m->cmd.base);
}

/* CmdBufRun becomes 0 only when all fetched commands are done. */
bool cmd_running(const struct model *m)
{
	return may_fetch(m) || m->in_queue;
}

static void halt(struct model *m, unsigned event, pa_t at)
{
	PROBE(model_halt, event, at);
	m->cmd.stopped = true;
	event_log(m, EVENT(event, 0), at);
}

void cmd_fetch(struct model *m)
{
	while (may_fetch(m) && m->in_queue < QUEUE_MAX &&
	       m->cmd.head != m->cmd.tail) {
		struct fetched *f = &m->queue[m->in_queue];

		*f = (struct fetched){
			.at = (m->cmd.base & BASE_ADDRESS) + m->cmd.head,
		};
		if (!ram_read(f->at, &f->w[0]) ||
		    !ram_read(f->at + 8, &f->w[1])) {
			halt(m, EV_COMMAND_HW, f->at);
			return;
		}
		if (!legal(m, f)) {
			complain(m, "illegal command %lx %lx", f->w[0],
				 f->w[1]);
			halt(m, EV_ILLEGAL_COMMAND, f->at);
			return;
		}
		m->cmd.head = (m->cmd.head + 16) % ring_bytes(m->cmd.base);
		m->in_queue++;
		m->stats.fetched++;
	}
}

/* ---- order ------------------------------------------------------------- */

/* A bit per operation, and a bit for a COMPLETION_WAIT that no later command passes. */
#define FLUSHES BIT(OPS)

/* The older operations that a command waits for; each waits for FLUSHES too. */
static const unsigned waits_for[OPS] = {
	[OP_WAIT] = ~0u,
	[OP_PAGES] = BIT(OP_DTE) | BIT(OP_ALL),
	[OP_INTERRUPTS] = BIT(OP_DTE) | BIT(OP_ALL),
	[OP_DEVICE] = BIT(OP_DTE) | BIT(OP_PAGES) | BIT(OP_ALL),
};

static unsigned bits_of(const struct fetched *f)
{
	unsigned bits = BIT(op_of(f));

	return op_of(f) == OP_WAIT && (f->w[0] & WAIT_FLUSH) ? bits | FLUSHES
							     : bits;
}

/* 1 ms, 10 ms, ...; the only thing here that is measured in time, not steps. */
static uint64_t timeout_ns(uint64_t control)
{
	uint64_t ns = 100000;

	for (uint64_t i = FIELD_GET(CONTROL_INV_TIMEOUT, control); i; i--)
		ns *= 10;
	return ns;
}

/*
 * Return whether nothing outside the IOMMU prevents the command now.  A device
 * that does not answer holds its command until the timeout set in CONTROL,
 * forever if that is 0.
 */
static bool answered(struct model *m, struct fetched *f)
{
	if (op_of(f) == OP_ANSWER)
		return m->in_answers < ANSWERS;
	if (op_of(f) != OP_DEVICE || ats_of(m, f->w[0] & DEVID) == MODEL_ATS_ON)
		return true;
	if (!FIELD_GET(CONTROL_INV_TIMEOUT, m->control))
		return false;
	if (!f->deadline)
		f->deadline = clock_ns() + timeout_ns(m->control);
	return clock_ns() >= f->deadline;
}

/* May it be done now?  older: bits_of() of all commands fetched before it. */
static bool ready(struct model *m, struct fetched *f, unsigned older)
{
	return !(older & (waits_for[op_of(f)] | FLUSHES)) && answered(m, f);
}

bool cmd_stores_to(const struct model *m, pa_t page)
{
	for (unsigned i = 0; i < m->in_queue; i++) {
		const struct fetched *f = &m->queue[i];

		if (op_of(f) == OP_WAIT && (f->w[0] & WAIT_STORE) &&
		    (f->w[0] & WAIT_WHERE & PAGE_MASK) == page)
			return true;
	}
	return false;
}

/* ---- effect ------------------------------------------------------------ */

struct range range_of(uint64_t w1)
{
	uint64_t page = w1 >> 12;
	unsigned shift = 12;

	if (w1 & W1_RANGE)
		shift = 13 + (unsigned)__builtin_ctzll(~page);
	if (shift >= 64)
		return (struct range){ 0, 64 };
	return (struct range){ page << 12 & ~(BIT(shift) - 1), shift };
}

static void complete_wait(struct model *m, const struct fetched *f)
{
	if ((f->w[0] & WAIT_STORE) &&
	    !ram_write(f->w[0] & WAIT_WHERE, f->w[1])) {
		halt(m, EV_COMMAND_HW, f->at);
		return;
	}
	if (f->w[0] & WAIT_INT)
		status_raise(m, STATUS_COMWAIT_INT);
}

static void drop_pages(struct model *m, const struct fetched *f)
{
	uint16_t domain = (uint16_t)(f->w[0] >> 32);
	struct range r = range_of(f->w[1]);

	if (f->w[1] & W1_GUEST)
		return; /* guest translations are not modelled */
	m->stats.dropped += cache_drop(&m->iotlb, domain, r);
	if (f->w[1] & W1_DIRECTORY)
		m->stats.dropped_directories +=
			cache_drop(&m->directories, domain, r);
}

static void drop_device(struct model *m, const struct fetched *f)
{
	uint16_t devid = f->w[0] & DEVID;
	enum model_ats ats = ats_of(m, devid);

	if (ats == MODEL_ATS_NONE)
		complain(m, "device %#x has no TLB to invalidate", devid);
	if (ats == MODEL_ATS_ON)
		m->stats.dropped_device +=
			cache_drop(&m->device_tlb, devid, range_of(f->w[1]));
	else
		event_log(m, EVENT(EV_INV_TIMEOUT, devid), f->at);
}

static void drop_all(struct model *m)
{
	m->stats.dropped += cache_drop_all(&m->iotlb);
	m->stats.dropped_directories += cache_drop_all(&m->directories);
	irtes_drop_all(m);
	if (m->config.all_keeps_dtes)
		return;
	m->stats.dropped_dtes += m->dte_live;
	m->dte_live = 0;
}

static void answer(struct model *m, const struct fetched *f)
{
	struct ppr_answer a = {
		.devid = f->w[0] & DEVID,
		.tag = f->w[1] >> 32 & 0x1ff,
		.status = f->w[1] >> 44 & 0xf,
	};

	uint64_t pasid = f->w[0] >> 32 & GENMASK(19, 0);

	m->stats.answers++;
	group_close(m, a.devid, a.tag,
		    f->w[1] & W1_GUEST ? (uint32_t)(PROCESS | pasid) : 0);
	if (m->config.answer)
		m->answers[m->in_answers++] = a;
}

static void effect(struct model *m, const struct fetched *f)
{
	switch (op_of(f)) {
	case OP_WAIT:
		complete_wait(m, f);
		return;
	case OP_DTE:
		dte_drop(m, f->w[0] & DEVID);
		return;
	case OP_PAGES:
		drop_pages(m, f);
		return;
	case OP_DEVICE:
		drop_device(m, f);
		return;
	case OP_ANSWER:
		answer(m, f);
		return;
	case OP_ALL:
		drop_all(m);
		return;
	case OP_INTERRUPTS:
		irtes_drop(m, f->w[0] & DEVID);
		return;
	}
	/* A prefetch is only a hint. */
}

static void do_one(struct model *m, unsigned i)
{
	struct fetched f = m->queue[i];

	m->in_queue--;
	for (unsigned j = i; j < m->in_queue; j++)
		m->queue[j] = m->queue[j + 1];
	m->stats.commands[op_of(&f)]++;
	m->stats.early += i > 0;
	PROBE(model_done, f.w[0], f.w[1]);
	effect(m, &f);
}

bool cmd_do_first(struct model *m)
{
	if (!m->in_queue || !ready(m, &m->queue[0], 0))
		return false;
	do_one(m, 0);
	return true;
}

bool cmd_do_any(struct model *m)
{
	unsigned n = 0, older = 0, pick[QUEUE_MAX];

	for (unsigned i = 0; i < m->in_queue; i++) {
		if (ready(m, &m->queue[i], older))
			pick[n++] = i;
		older |= bits_of(&m->queue[i]);
	}
	if (!n)
		return false;
	do_one(m, pick[rng_below(&m->rng, n)]);
	return true;
}

bool cmd_at_wait(const struct model *m)
{
	return m->in_queue && op_of(&m->queue[0]) == OP_WAIT;
}
