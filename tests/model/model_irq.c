/* SPDX-License-Identifier: MIT */
/*
 * model_irq.c - messages: from FEEx_xxxxh and data to a local APIC, or refused
 *
 *   devid ─► DTE word 2 ─► IV = 0: unchanged
 *                          fixed, arbitrated ─► IntCtl: abort, unchanged, remap
 *                          NMI, INIT, ExtINT, LINT ─► their Pass bit
 *   data 10:0 ─► cached entry, else read and cached until
 *                INVALIDATE_INTERRUPT_TABLE names the device
 *
 * 48882, 2.2.5: the entry has 32 bits, or 128 with GAEn.  RemapEn = 0, reserved
 * bits and an index beyond the table are target aborts, logged with I set.
 * A remapped interrupt takes vector, type and destination from the entry only.
 *
 * Entries are little-endian words in RAM.  Entries that are not valid are
 * cached too if config.negative is set.
 */
#include "tests/model/model_priv.h"

#define MESSAGE_BASE UINT64_C(0xfee00000)
#define MESSAGE_END  UINT64_C(0xfef00000)

/* The address and the data of a message, PCI 3.0 6.8 and SDM 11.11. */
#define ADDRESS_DEST    GENMASK(19, 12)
#define ADDRESS_LOGICAL BIT(2)
#define DATA_VECTOR     GENMASK(7, 0)
#define DATA_TYPE       GENMASK(10, 8)
#define DATA_INDEX      GENMASK(10, 0)

enum {
	TYPE_FIXED = 0,
	TYPE_ARBITRATED = 1,
	TYPE_SMI = 2,
	TYPE_NMI = 4,
	TYPE_INIT = 5,
	TYPE_EXTINT = 7,
};

/* DTE, word 2 */
#define INT_VALID   BIT(0)
#define INT_LENGTH  GENMASK(4, 1)
#define INT_QUIET   BIT(5) /* IG */
#define INT_TABLE   GENMASK(51, 6)
#define INT_ZERO    (GENMASK(55, 52) | BIT(59))
#define PASS_INIT   BIT(56)
#define PASS_EXTINT BIT(57)
#define PASS_NMI    BIT(58)
#define INT_CONTROL GENMASK(61, 60)
#define LONGEST     11u

/* A table entry: the fields of both forms, then those of each. */
#define ENTRY_ON      BIT(0)
#define ENTRY_QUIET   BIT(1) /* SupIOPF */
#define ENTRY_TYPE    GENMASK(4, 2)
#define ENTRY_LOGICAL BIT(6)
#define ENTRY_GUEST   BIT(7)
#define ENTRY_DEST    GENMASK(15, 8)
#define SHORT_VECTOR  GENMASK(23, 16)
#define SHORT_ZERO    (GENMASK(31, 24) | ENTRY_GUEST)
#define LONG_ZERO_0   (GENMASK(63, 16) | ENTRY_GUEST)
#define LONG_VECTOR   GENMASK(7, 0)
#define LONG_ZERO_1   GENMASK(63, 8)

#define EV_INTERRUPT BIT(51)

bool is_message(uint64_t iova)
{
	return iova >= MESSAGE_BASE && iova < MESSAGE_END;
}

/* ---- the cache --------------------------------------------------------- */

void irtes_drop(struct model *m, uint16_t devid)
{
	for (unsigned i = 0; i < m->irte_live;)
		if (m->irtes[i].devid == devid) {
			m->irtes[i] = m->irtes[--m->irte_live];
			m->stats.dropped_irtes++;
		} else {
			i++;
		}
}

void irtes_drop_all(struct model *m)
{
	m->stats.dropped_irtes += m->irte_live;
	m->irte_live = 0;
}

static struct cached_irte *irte_room(struct model *m)
{
	if (m->irte_live < IRTE_MAX)
		return &m->irtes[m->irte_live++];
	return &m->irtes[rng_below(&m->rng, IRTE_MAX)];
}

/* Read the entry from memory.  False: there is no such memory. */
static bool irte_read(struct model *m, const uint64_t dte[4], unsigned index,
		      struct cached_irte *e)
{
	pa_t table = dte[2] & INT_TABLE;

	if (m->control & CONTROL_GA_EN) {
		e->at = table + 16 * index;
		return ram_read(e->at, &e->w[0]) &&
		       ram_read(e->at + 8, &e->w[1]);
	}
	e->at = table + 4 * index;
	if (!ram_read(ALIGN_DOWN(e->at, 8), &e->w[0]))
		return false;
	e->w[0] = e->w[0] >> (e->at % 8 * 8) & GENMASK(31, 0);
	e->w[1] = 0;
	return true;
}

bool irte_true(struct model *m, const struct cached_irte *e)
{
	uint64_t dte[4];
	struct cached_irte is;

	return dte_read(m, e->devid, dte) && (dte[2] & INT_VALID) &&
	       FIELD_GET(INT_CONTROL, dte[2]) == 2 &&
	       irte_read(m, dte, e->index, &is) && is.at == e->at &&
	       is.w[0] == e->w[0] && is.w[1] == e->w[1];
}

bool dte_has_irtes(const struct model *m, const struct cached_dte *d, pa_t page)
{
	uint64_t entry = m->control & CONTROL_GA_EN ? 16 : 4;
	uint64_t start = d->w[2] & INT_TABLE;
	uint64_t end = start + (entry << FIELD_GET(INT_LENGTH, d->w[2]));

	return (d->w[2] & INT_VALID) && FIELD_GET(INT_CONTROL, d->w[2]) == 2 &&
	       start < page + PAGE_SIZE && end > page;
}

/* ---- refusals ---------------------------------------------------------- */

static enum model_verdict refuse(struct model *m, const struct cached_dte *d,
				 const struct model_message *msg, uint64_t bits,
				 bool quiet)
{
	m->stats.messages_refused++;
	if (quiet)
		m->stats.events_suppressed++;
	else
		event_log(m,
			  EVENT(EV_PAGE_FAULT, d->devid) | EV_INTERRUPT |
				  EV_WRITE | bits,
			  msg->address);
	return MODEL_FAULT;
}

static bool word_illegal(struct model *m, const struct cached_dte *d,
			 const struct model_message *msg)
{
	uint64_t w = d->w[2];
	bool reserved = w & INT_ZERO;

	if (!reserved && FIELD_GET(INT_CONTROL, w) != 3 &&
	    FIELD_GET(INT_LENGTH, w) <= LONGEST)
		return false;
	event_log(m,
		  EVENT(EV_ILLEGAL_DTE, d->devid) | EV_INTERRUPT | EV_WRITE |
			  (reserved ? EV_RESERVED : 0),
		  msg->address);
	return true;
}

/* ---- what arrives ------------------------------------------------------ */

static enum model_verdict as_it_is(struct model *m,
				   const struct model_message *msg,
				   struct model_interrupt *out)
{
	m->stats.messages++;
	*out = (struct model_interrupt){
		.vector = (uint8_t)FIELD_GET(DATA_VECTOR, msg->data),
		.type = (uint8_t)FIELD_GET(DATA_TYPE, msg->data),
		.logical = msg->address & ADDRESS_LOGICAL,
		.dest = (uint32_t)FIELD_GET(ADDRESS_DEST, msg->address),
	};
	return MODEL_DONE;
}

static enum model_verdict by_entry(struct model *m, struct cached_dte *d,
				   const struct model_message *msg,
				   const struct cached_irte *e,
				   struct model_interrupt *out)
{
	bool wide = m->control & CONTROL_GA_EN;
	uint64_t zero = wide ? LONG_ZERO_0 : SHORT_ZERO;
	uint64_t type = FIELD_GET(ENTRY_TYPE, e->w[0]);
	bool quiet = (d->w[2] & INT_QUIET) || (e->w[0] & ENTRY_QUIET);

	if (!(e->w[0] & ENTRY_ON))
		return refuse(m, d, msg, 0, quiet);
	if ((e->w[0] & zero) || (wide && (e->w[1] & LONG_ZERO_1)) ||
	    type > TYPE_ARBITRATED)
		return refuse(m, d, msg, EV_PRESENT | EV_RESERVED, quiet);
	m->stats.messages++;
	m->stats.remapped++;
	*out = (struct model_interrupt){
		.vector = (uint8_t)(wide ? FIELD_GET(LONG_VECTOR, e->w[1])
					 : FIELD_GET(SHORT_VECTOR, e->w[0])),
		.type = (uint8_t)type,
		.logical = e->w[0] & ENTRY_LOGICAL,
		.dest = (uint32_t)FIELD_GET(ENTRY_DEST, e->w[0]),
	};
	return MODEL_DONE;
}

static enum model_verdict remap(struct model *m, struct cached_dte *d,
				const struct model_message *msg,
				struct model_interrupt *out)
{
	unsigned index = (unsigned)FIELD_GET(DATA_INDEX, msg->data);
	struct cached_irte e = { .devid = d->devid, .index = index };

	for (unsigned i = 0; i < m->irte_live; i++)
		if (m->irtes[i].devid == d->devid && m->irtes[i].index == index)
			return by_entry(m, d, msg, &m->irtes[i], out);
	if (index >> FIELD_GET(INT_LENGTH, d->w[2]))
		return refuse(m, d, msg, 0, d->w[2] & INT_QUIET);
	if (!irte_read(m, d->w, index, &e)) {
		event_log(m, EVENT(EV_PAGE_TAB_HW, d->devid) | EV_INTERRUPT,
			  e.at);
		m->stats.messages_refused++;
		return MODEL_ABORT;
	}
	m->stats.walk_freed += ram_is_free(e.at);
	if ((e.w[0] & ENTRY_ON) || m->config.negative)
		*irte_room(m) = e;
	return by_entry(m, d, msg, &e, out);
}

/* Return the DTE's Pass bit for this type.  0: IntCtl decides. */
static uint64_t pass_bit(unsigned type)
{
	switch (type) {
	case TYPE_NMI:
		return PASS_NMI;
	case TYPE_INIT:
		return PASS_INIT;
	case TYPE_EXTINT:
		return PASS_EXTINT;
	}
	return 0;
}

static enum model_verdict judge(struct model *m, uint16_t devid,
				const struct model_message *msg,
				struct model_interrupt *out)
{
	unsigned type = (unsigned)FIELD_GET(DATA_TYPE, msg->data);
	struct cached_dte *d;

	if (!(m->control & CONTROL_IOMMU_EN))
		return as_it_is(m, msg, out);
	d = dte_get(m, devid, ACCESS_WRITE);
	if (!d) {
		m->stats.messages_refused++;
		return MODEL_ABORT;
	}
	if (!(d->w[2] & INT_VALID))
		return as_it_is(m, msg, out);
	if (word_illegal(m, d, msg)) {
		m->stats.messages_refused++;
		return MODEL_ABORT;
	}
	if (type > TYPE_ARBITRATED) {
		bool logical = msg->address & ADDRESS_LOGICAL;

		/* SMI and reserved types have no Pass bit: refused. */
		return !logical && (d->w[2] & pass_bit(type))
			       ? as_it_is(m, msg, out)
			       : refuse(m, d, msg, 0, d->w[2] & INT_QUIET);
	}
	switch (FIELD_GET(INT_CONTROL, d->w[2])) {
	case 1:
		return as_it_is(m, msg, out);
	case 2:
		return remap(m, d, msg, out);
	}
	return refuse(m, d, msg, 0, d->w[2] & INT_QUIET);
}

enum model_verdict message(struct model *m, uint16_t devid,
			   struct model_message msg,
			   struct model_interrupt *out)
{
	struct model_interrupt none;

	return judge(m, devid, &msg, out ? out : &none);
}

enum model_verdict model_message(struct model *m, uint16_t devid,
				 struct model_message msg,
				 struct model_interrupt *out)
{
	uint64_t flags = model_enter(m);
	enum model_verdict v = message(m, devid, msg, out);

	model_leave(m, flags);
	return v;
}
